"""The release desk: what it releases, to which channel, and what is left where it cannot."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from placet.domain.errors import IntegrityError, RefusedError, StorageError, UsageError
from placet.domain.records import (
    Decision,
    Release,
)
from placet.release import desk as release_desk
from placet.review import desk as review_desk
from placet.verify.verifier import verify_bundle
from tests.support import offices
from tests.support.bundles import (
    put_together_anew,
    require_refused,
    verify_made,
)
from tests.support.offices import Released, released_office


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


# --- the release desk --------------------------------------------------------------------------------------


def test_releasing_again_gives_the_release_there_is_and_mends_its_bundle(made: Released) -> None:
    (made.bundle / "adapter" / "README.md").write_bytes(b"damaged")

    released, bundle = offices.release(made.sample, made.walk.ref)

    assert released.id == made.released.id
    assert bundle == made.bundle
    verify_made(made)
    shutil.rmtree(made.bundle)
    offices.release(made.sample, made.walk.ref)
    verify_made(made)


def test_another_channel_is_another_release(made: Released) -> None:
    released, bundle = offices.release(made.sample, made.walk.ref, "production")

    assert released.id != made.released.id
    assert bundle.parent.name == "production"
    assert isinstance(released.record, Release)


def test_after_the_approvals_lapsed_new_ones_make_a_new_release(made: Released) -> None:
    made.sample.clock.advance(days=offices.RULE.valid_days)
    with pytest.raises(RefusedError, match="it expired at"):
        offices.release(made.sample, made.walk.ref)
    offices.approve(made.sample, made.walk.ref, "ada", "still fine")
    offices.approve(made.sample, made.walk.ref, "ben", "still fine")

    released, _ = offices.release(made.sample, made.walk.ref)

    assert released.id != made.released.id
    assert verify_made(made).release == released.record


@pytest.mark.parametrize("channel", ["", "a/b", "..", "a b", "-", "a\0"])
def test_a_channel_needs_a_plain_name(made: Released, channel: str) -> None:
    with pytest.raises(UsageError, match="cannot name a channel"):
        offices.release(made.sample, made.walk.ref, channel)


def test_a_label_cannot_lead_a_bundle_out_of_its_channel(tmp_path: Path) -> None:
    sample = offices.make_office(tmp_path / "office", key_files=False)

    _, _, bundle = offices.walk_to_release(sample, "../../escaped")

    assert bundle.resolve().parent == (sample.office.home / "releases" / "staging").resolve()
    assert not bundle.name.startswith(".")


@pytest.mark.parametrize("label", ["", ".", "..", "/abs", "a/b", "a\nb", "a\0b", "x" * 300, "\u202egood"])
def test_any_label_makes_a_plain_folder_name(made: Released, label: str) -> None:
    name = release_desk._folder_name(made.walk.ref.model_copy(update={"label": label}))

    assert name == Path(name).name
    assert not name.startswith(".")
    assert name.isprintable()
    assert len(name) < 100


def test_only_a_releaser_releases(made: Released) -> None:
    with pytest.raises(IntegrityError, match="the key of ada may not sign as releaser"):
        offices.release(made.sample, made.walk.ref, "production", "ada")


def test_a_full_disk_leaves_no_bundle_and_the_release_can_be_repeated(
    made: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "records.json":
            real(path, data[:100])
            raise OSError(28, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        offices.release(made.sample, made.walk.ref, "production")
    assert "the release is on record" in caught.value.hint
    assert list((made.office.home / "releases" / "production").iterdir()) == []
    monkeypatch.undo()
    records = len(made.office.store.entries())

    _, bundle = offices.release(made.sample, made.walk.ref, "production")

    assert len(made.office.store.entries()) == records
    verify_bundle(bundle, made.office.root.pin, now=made.sample.clock.now)


def test_a_damaged_blob_is_not_released(made: Released) -> None:
    path = made.office.blobs.path(made.walk.adapter.files[2].sha256)
    path.chmod(0o644)
    path.write_bytes(b"poisoned")

    with pytest.raises(IntegrityError, match="no longer holds the bytes"):
        offices.release(made.sample, made.walk.ref, "production")
    assert list((made.office.home / "releases" / "production").iterdir()) == []


def test_a_bundle_of_a_waived_gate_verifies_with_its_waivers_and_not_without(made: Released) -> None:
    sample = made.sample
    gates = [offices.passing_gate(), offices.inconclusive_gate()]
    walk = offices.decide_again(made, Decision.NEEDS_REVIEW, gates=gates, approved_by=("ada", "ben"))
    with pytest.raises(RefusedError, match="0 of 2 waivers for inconclusive gate general"):
        offices.release(sample, walk.ref)
    for person in ("ada", "ben"):
        review_desk.waive(sample.office, walk.ref.id, "general", "small sample", 30, sample.signers[person])

    released, bundle = offices.release(sample, walk.ref)

    made = Released(sample, walk, released, bundle)
    assert len(released.record.waivers) == 2
    verify_made(made)
    require_refused(made, "approval", "0 of 2 waivers", now=_later(sample, days=30))
    waiver = sample.office.store.find(record_id=released.record.waivers[0])[0]
    put_together_anew(made, drop=(waiver.index,))
    require_refused(made, "approval", "1 of 2 waivers")


def _later(sample: offices.SampleOffice, **by: float) -> datetime:
    return sample.clock.now + timedelta(**by)
