"""A bundle verifies as it was released and in no other way, offline, with nothing but the verifier."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from placet.attest.predicates import Kind, Role
from placet.attest.statement import Subject
from placet.attest.trust import sign_record
from placet.domain.digests import Digest, canonical_json, digest_bytes
from placet.domain.errors import Error, IntegrityError, UsageError
from placet.ledger.checkpoint import sign_checkpoint
from placet.ledger.merkle import tree_root
from placet.office import LOG_KEY, TrustDesk
from placet.release import desk as release_desk
from placet.review import desk as review_desk
from placet.verify.layout import parse_feed
from placet.verify.verifier import VerificationError, verify_bundle
from tests.support import offices
from tests.support.bundles import (
    ADAPTER_FILES,
    RECORD_FILES,
    STEPS,
    kind_of,
    put_together_anew,
    records_in,
    require_refused,
    verify_made,
    write_records,
)
from tests.support.offices import Released, released_office, signer_named


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


# --- what verifies -----------------------------------------------------------------------------------------


def test_a_bundle_verifies_step_by_step(made: Released) -> None:
    verified = verify_made(made)

    assert tuple(name for name, _ in verified.steps) == STEPS
    assert all(told for _, told in verified.steps)
    assert verified.release == made.released.record
    assert verified.release.channel == "staging"
    assert verified.approvers == ("ada", "ben")
    assert verified.office == made.office.root.office
    assert not verified.revocations_checked
    assert "no revocation feed" in verified.steps[-1][1]


def test_a_bundle_holds_the_adapters_files_and_four_of_ours_and_nothing_else(made: Released) -> None:
    found = sorted(p.relative_to(made.bundle).as_posix() for p in made.bundle.rglob("*") if p.is_file())

    assert found == [
        *(f"adapter/{name}" for name in ADAPTER_FILES),
        *(f"placet/{name}" for name in RECORD_FILES),
    ]
    for name in ADAPTER_FILES:
        assert (made.bundle / "adapter" / name).read_bytes() == made.walk.adapter.contents[name]


def test_a_bundle_may_be_moved_and_its_name_means_nothing(made: Released, tmp_path: Path) -> None:
    moved = made.bundle.rename(tmp_path / "elsewhere")

    assert verify_bundle(moved, made.office.root.pin, now=made.sample.clock.now).approvers == ("ada", "ben")


_OFFLINE = """
import builtins, socket, sys
from datetime import datetime, timezone
from pathlib import Path

def refuse(*_, **__):
    raise AssertionError("the verifier tried to use the network")

socket.socket = socket.create_connection = socket.getaddrinfo = refuse
from placet.verify.verifier import verify_bundle

verified = verify_bundle(Path(sys.argv[1]), sys.argv[2], now=datetime.fromisoformat(sys.argv[3]))
heavy = {"torch", "duckdb", "pandas", "numpy", "pyarrow", "transformers", "peft", "lm_eval", "streamlit", "scipy"}
loaded = sorted(heavy & set(sys.modules))
assert not loaded, loaded
print(*verified.approvers)
"""


def test_the_verifier_needs_no_network_no_database_and_no_model_library(
    made: Released, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", _OFFLINE, str(made.bundle), made.office.root.pin]
    command.append(made.sample.clock.now.isoformat())

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ada", "ben"]


def test_verifying_changes_nothing_in_the_bundle_or_the_office(made: Released) -> None:
    def state() -> dict[str, tuple[int, bytes]]:
        files = (p for p in made.office.home.rglob("*") if p.is_file())
        return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}

    before = state()
    verify_made(made)

    assert state() == before


# --- files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file", [*(f"adapter/{name}" for name in ADAPTER_FILES), *(f"placet/{name}" for name in RECORD_FILES)]
)
def test_no_flipped_byte_anywhere_verifies(made: Released, file: str) -> None:
    path = made.bundle / file
    data = path.read_bytes()
    # An adapter's file is only hashed; ours are parsed, and there every place could tell another story.
    places, flips = (8, (0x01,)) if file.startswith("adapter") else (24, (0x01, 0x20))
    positions = {
        *range(0, len(data), max(1, len(data) // places)),
        *range(3),
        *range(len(data) - 3, len(data)),
    }
    for position in sorted(positions):
        for flip in flips:
            altered = bytearray(data)
            altered[position] ^= flip
            path.write_bytes(altered)
            with pytest.raises(Error) as caught:
                verify_made(made)
            assert caught.value.hint
    path.write_bytes(data)
    verify_made(made)


@pytest.mark.parametrize("file", [f"placet/{name}" for name in RECORD_FILES])
@pytest.mark.parametrize("extra", [b"\n", b" ", b"\0", b"\xef\xbb\xbf"])
def test_white_space_around_a_record_file_is_refused(made: Released, file: str, extra: bytes) -> None:
    path = made.bundle / file
    data = path.read_bytes()
    for altered in (data + extra, extra + data):
        path.write_bytes(altered)
        require_refused(made, None)


@pytest.mark.parametrize("place", ["", "adapter", "placet", "adapter/deep"])
@pytest.mark.parametrize("how", ["file", "link", "pipe", "folder link", "odd name"])
def test_anything_more_in_the_bundle_is_refused(made: Released, place: str, how: str, tmp_path: Path) -> None:
    (made.bundle / place).mkdir(exist_ok=True)
    extra = made.bundle / place / "extra"
    if how == "file":
        extra.write_bytes(b"x")
    elif how == "odd name":
        os.close(os.open(os.fsencode(extra) + b"\xff", os.O_CREAT | os.O_WRONLY))
    elif how == "link":
        extra.symlink_to(made.bundle / "adapter" / "README.md")
    elif how == "folder link":
        extra.symlink_to(tmp_path)
    else:
        os.mkfifo(extra)

    require_refused(made, None, "is not part of the release|is not a plain file")


@pytest.mark.parametrize(
    "file",
    [
        "adapter",
        "placet",
        *(f"adapter/{name}" for name in ADAPTER_FILES),
        *(f"placet/{name}" for name in RECORD_FILES),
    ],
)
@pytest.mark.parametrize("instead", ["nothing", "link", "pipe", "folder", "empty"])
def test_anything_less_or_of_another_kind_is_refused(
    made: Released, file: str, instead: str, tmp_path: Path
) -> None:
    path, aside = made.bundle / file, tmp_path / "aside"
    path.rename(aside)
    if instead == "link":
        path.symlink_to(aside)
    elif instead == "pipe":
        os.mkfifo(path)
    elif instead == "folder":
        path.mkdir()
    elif instead == "empty":
        path.touch()

    with pytest.raises(Error) as caught:
        verify_made(made)
    assert isinstance(caught.value, IntegrityError) or (
        file == "placet" and isinstance(caught.value, UsageError)
    )
    assert caught.value.hint


@pytest.mark.parametrize("folder", ["evil", "deep/er", ".hidden", "adapter"])
def test_an_empty_folder_beside_the_released_files_is_refused(made: Released, folder: str) -> None:
    (made.bundle / "adapter" / folder).mkdir(parents=True)

    require_refused(made, "files", f"'{folder}' is an empty folder, which is not part of the release")


def test_two_files_in_each_others_place_are_refused(made: Released) -> None:
    one, two = (made.bundle / "adapter" / name for name in ADAPTER_FILES[:2])
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)

    require_refused(made, "files", "is not the file that was released")


def test_a_renamed_file_is_refused(made: Released) -> None:
    (made.bundle / "adapter" / "README.md").rename(made.bundle / "adapter" / "readme.md")

    require_refused(made, "files", "readme.md is not part of the release")


def test_an_unreadable_or_missing_bundle_is_said(made: Released, tmp_path: Path) -> None:
    for path in (
        tmp_path / "nothing",
        tmp_path,
        made.bundle / "placet" / "1.root.json",
        made.bundle / "adapter",
    ):
        with pytest.raises(UsageError, match="no bundle at"):
            verify_bundle(path, made.office.root.pin, now=made.sample.clock.now)


def test_a_huge_file_in_a_record_files_place_is_refused_unread(made: Released) -> None:
    with (made.bundle / "placet" / "1.root.json").open("wb") as stream:
        stream.truncate(1 << 40)

    require_refused(made, None, "is larger than")


# --- trust -------------------------------------------------------------------------------------------------


def test_another_pin_is_refused(made: Released) -> None:
    require_refused(made, "trust root", "not the pinned", pin=digest_bytes(b"another office"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> tuple[offices.SampleOffice, Path]:
    """The bundle of another office of the same name and people, with keys of its own for root and log."""
    sample = offices.make_office(tmp_path_factory.mktemp("other") / "office", key_files=False)
    return sample, offices.walk_to_release(sample)[2]


@pytest.mark.parametrize("parts", [*((name,) for name in RECORD_FILES), RECORD_FILES[1:]])
def test_parts_of_another_offices_bundle_are_refused(
    made: Released, other: tuple[offices.SampleOffice, Path], parts: tuple[str, ...]
) -> None:
    for name in parts:
        shutil.copy(other[1] / "placet" / name, made.bundle / "placet" / name)

    require_refused(made, None)


def test_a_whole_bundle_of_another_office_verifies_only_under_that_offices_pin(
    made: Released, other: tuple[offices.SampleOffice, Path]
) -> None:
    sample, bundle = other

    verify_bundle(bundle, sample.office.root.pin, now=sample.clock.now)
    with pytest.raises(VerificationError, match="not the pinned"):
        verify_bundle(bundle, made.office.root.pin, now=sample.clock.now)


def test_a_roles_statement_left_out_of_the_middle_is_noticed(made: Released) -> None:
    roles = [record for record in records_in(made.bundle) if kind_of(record) == "roles"]
    assert len(roles) == 6
    for gone in roles[:-1]:
        write_records(made.bundle, [r for r in records_in(made.bundle) if r != gone])
        require_refused(made, "trust root", "roles (version|statements before version)")
        put_together_anew(made, add=tuple(record["index"] for record in roles))
    verify_made(made)


def test_roles_logged_since_do_not_spoil_a_bundle(made: Released) -> None:
    offices.add_person(made.sample, "cleo", Role.APPROVER)
    TrustDesk(made.office).end_grants(signer_named("ada").public.key_id)
    size = len(made.office.store.entries())
    put_together_anew(made, add=(size - 2, size - 1))

    assert verify_made(made).approvers == ("ada", "ben")


def test_a_review_by_a_key_that_was_not_an_approvers_yet_is_refused(made: Released) -> None:
    walk = offices.decide_again(made, approved_by=("ada",))
    review = review_desk.load_case(made.office.reader(), walk.ref.id).reviews[-1].record
    early = review.model_copy(update={"reviewer": "cleo", "comment": "not an approver yet"})
    envelope = sign_record(Kind.REVIEW, early, (Subject("x", walk.ref.id),), signer_named("cleo"))
    made.office.store.append([envelope], made.office.signer(LOG_KEY))
    offices.add_person(made.sample, "cleo", Role.APPROVER)

    with pytest.raises(IntegrityError, match="cleo may not sign as approver at ledger index"):
        offices.release(made.sample, walk.ref)
    assert "unauthorized-signer" in {finding.id for finding in made.office.audit().findings}


def test_a_checkpoint_by_a_retired_log_key_is_refused(made: Released) -> None:
    retired = made.office.signer(LOG_KEY)
    TrustDesk(made.office).grant(signer_named("log 2").public, "sample office: log 2", (Role.LOG,))
    TrustDesk(made.office).end_grants(retired.public.key_id)
    size = len(made.office.store.entries())
    put_together_anew(made, add=(size - 2, size - 1))
    verify_made(made)
    leaves = [*(entry.leaf for entry in made.office.store.entries()), bytes(32)]
    note = sign_checkpoint(made.office.settings.origin, size + 1, tree_root(leaves), retired).note
    (made.bundle / "placet" / "checkpoint.txt").write_text(note)

    require_refused(made, "checkpoint", f"signed a checkpoint of size {size + 1}, but it held the role")


def test_a_checkpoint_of_the_log_before_the_release_does_not_do(made: Released) -> None:
    for size, note in made.office.store.checkpoint_notes():
        if size <= made.released.index:
            (made.bundle / "placet" / "checkpoint.txt").write_text(note)
            require_refused(made, "records")


# --- records -----------------------------------------------------------------------------------------------


def test_no_record_can_be_left_out_and_the_rest_say_something_else(made: Released) -> None:
    whole, records = verify_made(made), records_in(made.bundle)
    still = set()
    for gone in range(len(records)):
        write_records(made.bundle, records[:gone] + records[gone + 1 :])
        try:
            verified = verify_made(made)
        except IntegrityError:
            continue
        still.add(kind_of(records[gone]))
        assert (verified.release, verified.approvers) == (whole.release, whole.approvers)
    # The base's own registration is for people to look up; everything else is needed.
    assert still == {"base"}


def test_no_two_records_can_be_left_out(made: Released) -> None:
    records = records_in(made.bundle)
    needed = [record for record in records if kind_of(record) != "base"]
    for gone in range(len(needed) - 1):
        write_records(made.bundle, [r for r in needed if r not in needed[gone : gone + 2]])
        require_refused(made, None)


def test_a_record_there_twice_is_refused(made: Released) -> None:
    records = records_in(made.bundle)
    write_records(made.bundle, [*records, records[-1]])

    require_refused(made, None, "twice|where there must be one|roles version")


def _swap(records: list[dict[str, Any]], field: str) -> None:
    records[3][field], records[8][field] = records[8][field], records[3][field]


@pytest.mark.parametrize(
    "change",
    [
        lambda records: _swap(records, "index"),
        lambda records: _swap(records, "proof"),
        lambda records: _swap(records, "envelope"),
        lambda records: records[8].update(proof=[]),
        lambda records: records[8].update(proof=records[8]["proof"][:-1]),
        lambda records: records[8].update(proof=[*records[8]["proof"], "00" * 32]),
        lambda records: records[8].update(index=10_000),
        lambda records: records[8].update(index=-1),
        lambda records: records[8].update(index=str(records[8]["index"])),
        lambda records: records[8].update(index=True),
        lambda records: records[8].update(index=None),
        lambda records: records[8].update(proof="00" * 32),
        lambda records: records[8].update(proof=[p.upper() for p in records[8]["proof"]]),
        lambda records: records[8].update(proof=[p[:2] + " " + p[2:] for p in records[8]["proof"]]),
        lambda records: records[8].update(envelope=""),
        lambda records: records[8].update(extra=1),
        lambda records: records[8].pop("proof"),
        lambda records: records.clear(),
        lambda records: records.append(5),
    ],
    ids=range(19),
)
def test_altered_records_are_refused(made: Released, change: Callable[[list[Any]], Any]) -> None:
    records = records_in(made.bundle)
    change(records)
    write_records(made.bundle, records)

    require_refused(made, None)


@pytest.mark.parametrize(
    "text", ["null", "5", "{}", '"x"', "[null]", "[[]]", '[{"index":1e999}]', "[" * 5000]
)
def test_records_that_are_no_records_are_refused(made: Released, text: str) -> None:
    (made.bundle / "placet" / "records.json").write_text(text)

    require_refused(made, None)


def test_a_measurement_swapped_for_another_one_is_refused(made: Released) -> None:
    own = made.walk.measurements[1]
    better = offices.add_measurement(made.sample, "support-desk", made.walk.plan, [1.0] * 120)
    put_together_anew(made, add=(better.index,), drop=(own.index,))

    require_refused(made, "evidence", "evidence .* of the verdict is missing")


# --- revocation --------------------------------------------------------------------------------------------


def _revoke(made: Released, target: Digest, kind: str = "adapter", person: str = "ben") -> bytes:
    review_desk.revoke(made.office, target, kind, "x", "it leaks", made.sample.signers[person])
    return release_desk.export_revocations(made.office)


def test_a_feed_that_takes_back_something_else_lets_it_pass_and_says_what_it_went_by(made: Released) -> None:
    empty = verify_made(made, revocations=release_desk.export_revocations(made.office))
    assert "not among the 0 revocations of the feed of 2026-03-02" in empty.steps[-1][1]
    size = made.office.store.size()
    feed = _revoke(made, digest_bytes(b"another adapter"))

    verified = verify_made(made, revocations=feed)

    assert verified.revocations_checked
    assert "not among the 1 revocations of the feed of 2026-03-02" in verified.steps[-1][1]
    left_out, state, others = verified.unknown
    assert "leaves out a plan or a run" in left_out
    assert f"anything after the feed's state: {size + 1} records, 2026-03-02" in state
    assert "whether others are shown this log, too" in others


@pytest.mark.parametrize(
    "what", ["adapter", "weights", "base", "verdict", "measurement", "training", "review"]
)
def test_a_revocation_of_any_part_stops_the_release(made: Released, what: str) -> None:
    target, kind = {
        "adapter": (made.walk.ref.id, "adapter"),
        "weights": (made.walk.ref.weights_id, "adapter"),
        "base": (made.walk.base.id, "base"),
        "verdict": (made.walk.verdict.id, "record"),
        "measurement": (made.walk.measurements[0].id, "record"),
        "training": (made.walk.training.id, "record"),
        "review": (made.released.record.reviews[0], "record"),
    }[what]

    require_refused(
        made, "revocation", "was revoked by ben: it leaks", revocations=_revoke(made, target, kind)
    )


def test_a_revocation_by_somebody_who_joined_since_counts(made: Released) -> None:
    offices.add_person(made.sample, "cleo", Role.RELEASER)

    require_refused(
        made, "revocation", "was revoked by cleo", revocations=_revoke(made, made.walk.ref.id, person="cleo")
    )


def test_an_unrelated_revocation_by_somebody_who_joined_since_spoils_nothing(made: Released) -> None:
    offices.add_person(made.sample, "cleo", Role.RELEASER)

    assert verify_made(made, revocations=_revoke(made, digest_bytes(b"x"), person="cleo")).revocations_checked


def test_a_feed_older_than_the_release_is_refused(made: Released) -> None:
    old = release_desk.export_revocations(made.office)
    offices.add_person(made.sample, "cleo", Role.RELEASER)
    size = len(made.office.store.entries())
    put_together_anew(made, add=(size - 1,))

    require_refused(made, "revocation", "feed is older than the release", revocations=old)


def test_a_feed_of_another_office_is_refused(
    made: Released, other: tuple[offices.SampleOffice, Path]
) -> None:
    feed = release_desk.export_revocations(other[0].office)

    require_refused(made, "revocation", "not the pinned", revocations=feed)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b'{"checkpoint":"","records":[]}'])
def test_what_is_no_feed_is_refused(made: Released, data: bytes) -> None:
    require_refused(made, None, revocations=data)


def test_no_flipped_byte_of_a_feed_verifies(made: Released) -> None:
    feed = _revoke(made, digest_bytes(b"x"))
    assert len(parse_feed(feed).records) == 7
    for position in range(0, len(feed), max(1, len(feed) // 60)):
        altered = bytearray(feed)
        altered[position] ^= 0x01
        require_refused(made, None, revocations=bytes(altered))


def test_an_invented_revocation_is_refused(made: Released) -> None:
    value = json.loads(_revoke(made, digest_bytes(b"x")))
    value["records"][-1]["index"] -= 1

    require_refused(made, "revocation", revocations=canonical_json(value))
