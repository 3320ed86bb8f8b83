"""A bundle verifies as it was released and in no other way, offline, with nothing but the verifier."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.attest.envelope import parse_envelope
from placet.attest.predicates import Kind, Role
from placet.attest.statement import Subject, parse_statement
from placet.attest.trust import sign_record
from placet.domain.digests import Digest, canonical_json, digest_bytes
from placet.domain.errors import Error, IntegrityError, RefusedError, StorageError, UsageError
from placet.domain.records import (
    Decision,
    Outcome,
    Release,
    ReviewDecision,
)
from placet.ledger.checkpoint import sign_checkpoint
from placet.ledger.merkle import inclusion_proof, tree_root
from placet.office import LOG_KEY, TrustDesk
from placet.release import desk as release_desk
from placet.review import desk as review_desk
from placet.verify.layout import parse_feed
from placet.verify.verifier import VerificationError, VerifiedRelease, verify_bundle
from tests.support import offices
from tests.support.offices import Released, released_office, signer_named

STEPS = ("trust root", "checkpoint", "records", "files", "evidence", "approval", "revocation")
ADAPTER_FILES = ("README.md", "adapter_config.json", "adapter_model.safetensors")
RECORD_FILES = ("1.root.json", "checkpoint.txt", "model.sig", "records.json")


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


def _verify(made: Released, **options: Any) -> VerifiedRelease:
    options.setdefault("now", made.sample.clock.now)
    return verify_bundle(made.bundle, options.pop("pin", made.office.root.pin), **options)


def _refused(made: Released, step: str | None, reason: str = ".", **options: Any) -> None:
    with pytest.raises(IntegrityError, match=reason) as caught:
        _verify(made, **options)
    assert caught.value.hint
    if step is not None:
        assert isinstance(caught.value, VerificationError)
        assert caught.value.step == step, caught.value
        assert caught.value.passed == STEPS[: STEPS.index(step)]


def _records(bundle: Path) -> list[dict[str, Any]]:
    return list(json.loads((bundle / "placet" / "records.json").read_bytes()))


def _write_records(bundle: Path, records: list[dict[str, Any]]) -> None:
    (bundle / "placet" / "records.json").write_bytes(canonical_json(records))


def _kind(record: dict[str, Any]) -> str:
    payload = parse_envelope(base64.b64decode(record["envelope"])).payload
    return parse_statement(payload).predicate_type.removeprefix("https://").split("/")[-2]


def _rebuild(made: Released, *, add: tuple[int, ...] = (), drop: tuple[int, ...] = ()) -> None:
    """Put the bundle's records together anew under the newest checkpoint, as a hostile office can."""
    stored = made.office.store.snapshot()
    leaves = [entry.leaf for entry in stored.entries]
    indices = {record["index"] for record in _records(made.bundle)} | set(add)
    records = [
        {
            "index": index,
            "envelope": base64.b64encode(stored.entries[index].envelope).decode(),
            "proof": [item.hex() for item in inclusion_proof(leaves, index)],
        }
        for index in sorted(indices - set(drop))
    ]
    _write_records(made.bundle, records)
    (made.bundle / "placet" / "checkpoint.txt").write_text(stored.checkpoints[-1][1])


# --- what verifies -----------------------------------------------------------------------------------------


def test_a_bundle_verifies_step_by_step(made: Released) -> None:
    verified = _verify(made)

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
    _verify(made)

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
                _verify(made)
            assert caught.value.hint
    path.write_bytes(data)
    _verify(made)


@pytest.mark.parametrize("file", [f"placet/{name}" for name in RECORD_FILES])
@pytest.mark.parametrize("extra", [b"\n", b" ", b"\0", b"\xef\xbb\xbf"])
def test_white_space_around_a_record_file_is_refused(made: Released, file: str, extra: bytes) -> None:
    path = made.bundle / file
    data = path.read_bytes()
    for altered in (data + extra, extra + data):
        path.write_bytes(altered)
        _refused(made, None)


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

    _refused(made, None, "is not part of the release|is not a plain file")


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
        _verify(made)
    assert isinstance(caught.value, IntegrityError) or (
        file == "placet" and isinstance(caught.value, UsageError)
    )
    assert caught.value.hint


@pytest.mark.parametrize("folder", ["evil", "deep/er", ".hidden", "adapter"])
def test_an_empty_folder_beside_the_released_files_is_refused(made: Released, folder: str) -> None:
    (made.bundle / "adapter" / folder).mkdir(parents=True)

    _refused(made, "files", f"'{folder}' is an empty folder, which is not part of the release")


def test_two_files_in_each_others_place_are_refused(made: Released) -> None:
    one, two = (made.bundle / "adapter" / name for name in ADAPTER_FILES[:2])
    data = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(data)

    _refused(made, "files", "is not the file that was released")


def test_a_renamed_file_is_refused(made: Released) -> None:
    (made.bundle / "adapter" / "README.md").rename(made.bundle / "adapter" / "readme.md")

    _refused(made, "files", "readme.md is not part of the release")


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

    _refused(made, None, "is larger than")


# --- trust -------------------------------------------------------------------------------------------------


def test_another_pin_is_refused(made: Released) -> None:
    _refused(made, "trust root", "not the pinned", pin=digest_bytes(b"another office"))


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

    _refused(made, None)


def test_a_whole_bundle_of_another_office_verifies_only_under_that_offices_pin(
    made: Released, other: tuple[offices.SampleOffice, Path]
) -> None:
    sample, bundle = other

    verify_bundle(bundle, sample.office.root.pin, now=sample.clock.now)
    with pytest.raises(VerificationError, match="not the pinned"):
        verify_bundle(bundle, made.office.root.pin, now=sample.clock.now)


def test_a_roles_statement_left_out_of_the_middle_is_noticed(made: Released) -> None:
    roles = [record for record in _records(made.bundle) if _kind(record) == "roles"]
    assert len(roles) == 6
    for gone in roles[:-1]:
        _write_records(made.bundle, [r for r in _records(made.bundle) if r != gone])
        _refused(made, "trust root", "roles (version|statements before version)")
        _rebuild(made, add=tuple(record["index"] for record in roles))
    _verify(made)


def test_roles_logged_since_do_not_spoil_a_bundle(made: Released) -> None:
    offices.add_person(made.sample, "cleo", Role.APPROVER)
    TrustDesk(made.office).end_grants(signer_named("ada").public.key_id)
    size = len(made.office.store.entries())
    _rebuild(made, add=(size - 2, size - 1))

    assert _verify(made).approvers == ("ada", "ben")


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
    _rebuild(made, add=(size - 2, size - 1))
    _verify(made)
    leaves = [*(entry.leaf for entry in made.office.store.entries()), bytes(32)]
    note = sign_checkpoint(made.office.settings.origin, size + 1, tree_root(leaves), retired).note
    (made.bundle / "placet" / "checkpoint.txt").write_text(note)

    _refused(made, "checkpoint", f"signed a checkpoint of size {size + 1}, but it held the role")


def test_a_checkpoint_of_the_log_before_the_release_does_not_do(made: Released) -> None:
    for size, note in made.office.store.checkpoint_notes():
        if size <= made.released.index:
            (made.bundle / "placet" / "checkpoint.txt").write_text(note)
            _refused(made, "records")


# --- records -----------------------------------------------------------------------------------------------


def test_no_record_can_be_left_out_and_the_rest_say_something_else(made: Released) -> None:
    whole, records = _verify(made), _records(made.bundle)
    still = set()
    for gone in range(len(records)):
        _write_records(made.bundle, records[:gone] + records[gone + 1 :])
        try:
            verified = _verify(made)
        except IntegrityError:
            continue
        still.add(_kind(records[gone]))
        assert (verified.release, verified.approvers) == (whole.release, whole.approvers)
    # The base's own registration is for people to look up; everything else is needed.
    assert still == {"base"}


def test_no_two_records_can_be_left_out(made: Released) -> None:
    records = _records(made.bundle)
    needed = [record for record in records if _kind(record) != "base"]
    for gone in range(len(needed) - 1):
        _write_records(made.bundle, [r for r in needed if r not in needed[gone : gone + 2]])
        _refused(made, None)


def test_a_record_there_twice_is_refused(made: Released) -> None:
    records = _records(made.bundle)
    _write_records(made.bundle, [*records, records[-1]])

    _refused(made, None, "twice|where there must be one|roles version")


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
    records = _records(made.bundle)
    change(records)
    _write_records(made.bundle, records)

    _refused(made, None)


@pytest.mark.parametrize(
    "text", ["null", "5", "{}", '"x"', "[null]", "[[]]", '[{"index":1e999}]', "[" * 5000]
)
def test_records_that_are_no_records_are_refused(made: Released, text: str) -> None:
    (made.bundle / "placet" / "records.json").write_text(text)

    _refused(made, None)


def test_a_measurement_swapped_for_another_one_is_refused(made: Released) -> None:
    own = made.walk.measurements[1]
    better = offices.add_measurement(made.sample, "support-desk", made.walk.plan, [1.0] * 120)
    _rebuild(made, add=(better.index,), drop=(own.index,))

    _refused(made, "evidence", "evidence .* of the verdict is missing")


# --- approvals ---------------------------------------------------------------------------------------------


def test_an_approval_lapses_and_with_it_the_bundle(made: Released) -> None:
    approved_at = made.sample.clock.now
    valid = timedelta(days=offices.RULE.valid_days)

    _verify(made, now=approved_at + valid - timedelta(hours=1))
    _refused(made, "approval", "it expired at", now=approved_at + valid)


def test_a_clock_set_back_before_the_approval_is_refused(made: Released) -> None:
    _refused(made, "approval", "which is still to come", now=offices.START)


def test_a_rejection_put_beside_the_approvals_blocks(made: Released) -> None:
    offices.add_person(made.sample, "cleo", Role.APPROVER)
    rejection = offices.reject(made.sample, made.walk.ref, "cleo")
    _rebuild(made, add=(rejection.index - 1, rejection.index))

    _refused(made, "approval", "cleo rejected it")


def test_approvals_that_the_release_does_not_name_do_not_count(made: Released) -> None:
    case = review_desk.load_case(made.office.reader(), made.walk.ref.id)
    unapproved = _force(made, reviews=())

    with pytest.raises(VerificationError, match="does not rest on the review of ada"):
        _bundle(made, unapproved, named=tuple(item.id for item in case.reviews))


def _force(made: Released, **changed: Any) -> Any:
    """Log a release past the desk, with the releaser's real key, as a hostile releaser can."""
    record = made.released.record.model_copy(update={"released_at": made.sample.clock.now, **changed})
    made.sample.clock.advance(minutes=1)
    subjects = made.released.statement.subjects
    return made.sample.record(Kind.RELEASE, record, subjects, made.sample.signers["rhea"])


def _bundle(made: Released, released: Any, *, named: tuple[Digest, ...] = (), **case: Any) -> Path:
    """Build the bundle of `released` with the desk's own builder, which ends in the verifier."""
    found = review_desk.load_case(made.office.reader(), made.walk.ref.id)
    target = made.office.home / "forced"
    real = release_desk._records

    def records(office: Any, of: Any, release: Any, size: int) -> bytes:
        if not named:
            return real(office, of, release, size)
        claims = replace(release, record=release.record.model_copy(update={"reviews": named}))
        return real(office, of, claims, size)

    release_desk._records = records  # type: ignore[assignment]
    try:
        release_desk.build_bundle(made.office, replace(found, **case), released, target)
    finally:
        release_desk._records = real
    return target


def test_a_release_without_approvals_is_refused(made: Released) -> None:
    with pytest.raises(VerificationError, match="0 of 2 approvals") as caught:
        _bundle(made, _force(made, reviews=()))
    assert caught.value.step == "approval"
    assert not (made.office.home / "forced").exists()


def test_a_release_with_one_approval_is_refused(made: Released) -> None:
    with pytest.raises(VerificationError, match="1 of 2 approvals"):
        _bundle(made, _force(made, reviews=made.released.record.reviews[:1]))


def test_a_release_naming_one_approval_twice_is_refused(made: Released) -> None:
    with pytest.raises(VerificationError, match="1 of 2 approvals"):
        _bundle(made, _force(made, reviews=made.released.record.reviews[:1] * 2))


def test_an_old_approval_does_not_cover_changed_bytes(made: Released) -> None:
    changed = offices.make_adapter(made.sample, "desk-good", seed="poisoned")
    assert changed.ref.id != made.walk.ref.id
    submission = offices.add_submission(made.sample, changed, made.walk.base)
    released = _force(made, adapter=changed.ref, files=changed.files)

    with pytest.raises(VerificationError, match=r"different bytes|other weights") as caught:
        _bundle(made, released, submission=submission)
    assert caught.value.step == "evidence"


def test_bytes_swapped_between_evaluation_and_release_are_refused(made: Released) -> None:
    changed = offices.make_adapter(made.sample, "desk-good", seed="poisoned")
    released = _force(made, files=changed.files)
    submission = replace(
        made.walk.submission, record=made.walk.submission.record.model_copy(update={"files": changed.files})
    )

    with pytest.raises(VerificationError, match="do not make the adapter") as caught:
        _bundle(made, released, submission=submission)
    assert caught.value.step == "files"


def test_a_release_naming_a_file_twice_is_refused(made: Released) -> None:
    files = made.released.record.files

    with pytest.raises(VerificationError, match="names a file twice"):
        _bundle(made, _force(made, files=(*files, files[0])))


def test_a_release_on_another_base_or_policy_than_the_verdicts_is_refused(made: Released) -> None:
    base = made.walk.base.model_copy(update={"id": digest_bytes(b"another base")})
    for change in ({"base": base}, {"policy": offices.policy_ref(version="2")}):
        with pytest.raises(VerificationError, match="different bytes, base or policy"):
            _bundle(made, _force(made, **change))


def test_a_release_by_somebody_without_the_role_is_refused(made: Released) -> None:
    record = made.released.record.model_copy(update={"channel": "production"})
    envelope = sign_record(Kind.RELEASE, record, made.released.statement.subjects, signer_named("sam"))
    entry = made.office.store.append([envelope], made.office.signer(LOG_KEY))[0]
    _rebuild(made, add=(entry.index,), drop=(made.released.index,))

    _refused(made, "records", "the key of sam may not sign as releaser")


# --- verdicts of a hostile evaluator -----------------------------------------------------------------------


def _decided(made: Released, change: dict[str, Any]) -> Released:
    """Let the evaluator log a second verdict, changed as `change` says, and ada and ben approve it."""
    return replace(made, walk=offices.decide_again(made, approved_by=("ada", "ben"), **change))


def _not_released(made: Released, reason: str) -> None:
    with pytest.raises((VerificationError, RefusedError), match=reason):
        offices.release(made.sample, made.walk.ref, "production")
    folder = made.office.home / "releases" / "production"
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_verdict_without_gates_is_not_released(made: Released) -> None:
    _not_released(_decided(made, {"gates": ()}), "rests on no required gate")


def test_a_verdict_whose_gates_failed_is_not_released(made: Released) -> None:
    failed = offices.passing_gate().model_copy(update={"outcome": Outcome.FAIL})

    _not_released(_decided(made, {"gates": (failed,)}), "is FAIL, which no approval covers")


def test_a_verdict_citing_what_is_not_its_evidence_is_not_released(made: Released) -> None:
    gate = offices.passing_gate(evidence=[digest_bytes(b"elsewhere")])

    _not_released(_decided(made, {"gates": (gate,)}), "a gate cites what is not among")


def test_a_verdict_on_measurements_of_other_weights_is_not_released(made: Released) -> None:
    sample, walk = made.sample, made.walk
    better = offices.make_adapter(sample, "better")
    plan = offices.add_plan(sample, better.ref, walk.base, suites=["support-desk"])
    measured = offices.add_measurement(sample, "support-desk", plan, [1.0] * 120)
    change = {"evidence": tuple(sorted((*walk.verdict.record.evidence, measured.id)))}

    _not_released(_decided(made, change), "of support-desk, is of other weights")


def test_a_verdict_on_a_measurement_on_another_base_is_not_released(made: Released) -> None:
    sample, walk = made.sample, made.walk
    other = offices.add_base(sample, "other-base").record.ref
    plan = offices.add_plan(sample, walk.ref, other, suites=["support-desk"])
    measured = offices.add_measurement(sample, "support-desk", plan, [1.0] * 120)
    change = {
        "evidence": tuple(sorted((*walk.verdict.record.evidence, plan.id, measured.id))),
        "plans_on_weights": (walk.plan.id, plan.id),
    }

    _not_released(_decided(made, change), "a measurement is on another base")


def test_a_verdict_on_a_measurement_made_before_its_plan_is_not_released(made: Released) -> None:
    sample, walk = made.sample, made.walk
    late = walk.plan.record.model_copy(update={"planned_at": sample.clock.now})
    envelope = sign_record(Kind.PLAN, late, walk.plan.statement.subjects, sample.evaluator)
    measured = walk.measurements[1].record.model_copy(update={"plan": envelope.record_id})
    logged = sample.record(Kind.EVALUATION, measured, walk.measurements[1].statement.subjects)
    sample.office.append([envelope])
    change = {
        "evidence": tuple(sorted((*walk.verdict.record.evidence, envelope.record_id, logged.id))),
        "plans_on_weights": (walk.plan.id, envelope.record_id),
    }

    _not_released(_decided(made, change), "a measurement was logged before its plan")


def test_a_verdict_under_the_plan_of_another_adapter_is_not_released(made: Released) -> None:
    sample, walk = made.sample, made.walk
    other = offices.make_adapter(sample, "other")
    plan = offices.add_plan(sample, other.ref, walk.base, suites=["support-desk"])
    change = {"plan": plan.id, "plans_on_weights": (walk.plan.id, plan.id)}

    _not_released(_decided(made, change), "the plan is for other bytes")


def test_a_verdict_that_leaves_out_its_own_plan_is_not_released(made: Released) -> None:
    _not_released(_decided(made, {"plans_on_weights": ()}), "leaves its own plan out of account")


def test_a_verdict_on_evidence_that_was_logged_after_it_is_not_released(made: Released) -> None:
    better = made.walk.measurements[1].record.model_copy(update={"mean": 1.0})
    subjects = made.walk.measurements[1].statement.subjects
    envelope = sign_record(Kind.EVALUATION, better, subjects, made.sample.evaluator)
    evidence = tuple(sorted((*made.walk.verdict.record.evidence, envelope.record_id)))
    decided = _decided(made, {"evidence": evidence})
    made.office.append([envelope])

    _not_released(decided, "evidence was logged after the verdict")


def test_files_that_intake_refuses_by_now_are_not_released(made: Released) -> None:
    offices.add_intake(made.sample, made.walk.adapter, made.walk.base, skipped=("finite",))

    _not_released(made, "intake refused these files since, or did not finish")


def test_files_examined_again_are_released_on_the_intake_that_was_judged(made: Released) -> None:
    offices.add_intake(made.sample, made.walk.adapter, made.walk.base)

    _, bundle = offices.release(made.sample, made.walk.ref, "production")

    held = [record["index"] for record in _records(bundle) if _kind(record) == "intake"]
    assert held == [made.walk.intake.index]


def test_an_intake_that_did_not_finish_or_saw_other_files_does_not_verify(made: Released) -> None:
    unfinished = offices.add_intake(made.sample, made.walk.adapter, made.walk.base, skipped=("finite",))
    other = replace(offices.make_adapter(made.sample, "other"), ref=made.walk.ref)
    seen = offices.add_intake(made.sample, other, made.walk.base).record
    elsewhere = made.sample.record(Kind.INTAKE, seen, (Subject("claimed", made.walk.ref.id),))
    rest = tuple(record for record in made.walk.verdict.record.evidence if record != made.walk.intake.id)
    for intake, reason in ((unfinished, "did not finish with them"), (elsewhere, "name different files")):
        evidence = tuple(sorted((*rest, intake.id)))
        walk = _decided(made, {"evidence": evidence}).walk
        released = _force(made, verdict=walk.verdict.id, reviews=_newest_reviews(made))
        with pytest.raises(VerificationError, match=reason) as caught:
            _bundle(made, released)
        assert caught.value.step == "evidence"


def _newest_reviews(made: Released) -> tuple[Digest, ...]:
    return tuple(
        item.id for item in review_desk.load_case(made.office.reader(), made.walk.ref.id).reviews[-2:]
    )


def test_a_submission_of_other_weights_in_the_bundle_is_refused(made: Released) -> None:
    other = offices.make_adapter(made.sample, "other")
    submission = offices.add_submission(made.sample, other, made.walk.base)
    _rebuild(made, add=(submission.index,))

    _refused(made, "evidence", "a submission of other weights")


def test_a_second_measurement_under_a_later_plan_does_not_spoil_the_first(made: Released) -> None:
    # The policy changed, so that everything was planned again: the older runs stay among the evidence.
    sample, walk = made.sample, made.walk
    plan = offices.add_plan(sample, walk.ref, walk.base, suites=["support-desk", "canaries"])
    desk = offices.add_measurement(sample, "support-desk", plan, [1.0] * 120)
    measured = offices.add_measurement(sample, "canaries", plan, [0.0] * 12)
    change = {
        "plan": plan.id,
        "evidence": tuple(sorted((*walk.verdict.record.evidence, plan.id, desk.id, measured.id))),
        "plans_on_weights": (walk.plan.id, plan.id),
    }

    made = _decided(made, change)
    released, bundle = offices.release(made.sample, made.walk.ref)

    verified = verify_bundle(bundle, made.office.root.pin, now=made.sample.clock.now)
    assert verified.release == released.record
    assert made.office.audit().whole


def test_a_denied_adapter_is_not_released_even_with_signed_approvals(made: Released) -> None:
    sample = made.sample
    failed = offices.passing_gate().model_copy(update={"outcome": Outcome.FAIL})
    walk = offices.decide_again(made, Decision.DENY, gates=[failed])
    for person in ("ada", "ben"):
        rejected = offices.reject(sample, walk.ref, person)
        approval = rejected.record.model_copy(
            update={"decision": ReviewDecision.APPROVE, "head": sample.office.reader().head()}
        )
        sample.record(Kind.REVIEW, approval, rejected.statement.subjects, sample.signers[person])

    with pytest.raises(RefusedError, match="the verdict is DENY"):
        offices.release(sample, walk.ref)


# --- approvers who left ------------------------------------------------------------------------------------


@pytest.fixture
def strict(tmp_path: Path) -> Released:
    """A release under a policy whose approvals end when an approver leaves."""
    sample = offices.make_office(tmp_path / "office")
    rule = offices.RULE.model_copy(update={"lapses_on": ("approver_left",)})
    walk, released, bundle = offices.walk_to_release(sample, rule=rule)
    return Released(sample, walk, released, bundle)


def _leaves(made: Released, person: str) -> None:
    TrustDesk(made.office).end_grants(made.sample.signers[person].public.key_id)
    made.sample.clock.advance(minutes=1)


def test_a_feed_shows_that_an_approver_left(strict: Released) -> None:
    _verify(strict, revocations=release_desk.export_revocations(strict.office))
    _leaves(strict, "ben")
    _verify(strict)  # the bundle alone cannot know
    feed = release_desk.export_revocations(strict.office)

    _refused(strict, "revocation", "the approval of ben lapsed", revocations=feed)
    _verify(strict, now=None, revocations=feed)  # as of the release, ben was there


def test_a_bundle_made_since_shows_that_an_approver_left(strict: Released) -> None:
    _leaves(strict, "ben")
    _rebuild(strict, add=(strict.office.reader().head().size - 1,))

    _refused(strict, "approval", "the approval of ben lapsed")
    _verify(strict, now=None)


def test_a_bundle_released_after_an_approver_left_never_verifies(strict: Released) -> None:
    _leaves(strict, "ben")
    late = _force(strict)

    with pytest.raises(VerificationError, match="the approval of ben lapsed") as caught:
        _bundle(strict, late)
    assert caught.value.step == "approval"


def test_who_leaves_ends_nothing_where_the_policy_does_not_say_so(made: Released) -> None:
    _leaves(made, "ben")

    assert _verify(made, revocations=release_desk.export_revocations(made.office)).approvers == ("ada", "ben")


# --- revocation --------------------------------------------------------------------------------------------


def _revoke(made: Released, target: Digest, kind: str = "adapter", person: str = "ben") -> bytes:
    review_desk.revoke(made.office, target, kind, "x", "it leaks", made.sample.signers[person])
    return release_desk.export_revocations(made.office)


def test_a_feed_that_takes_back_something_else_lets_it_pass_and_says_what_it_went_by(made: Released) -> None:
    empty = _verify(made, revocations=release_desk.export_revocations(made.office))
    assert "not among the 0 revocations of the feed of 2026-03-02" in empty.steps[-1][1]
    size = made.office.store.size()
    feed = _revoke(made, digest_bytes(b"another adapter"))

    verified = _verify(made, revocations=feed)

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

    _refused(made, "revocation", "was revoked by ben: it leaks", revocations=_revoke(made, target, kind))


def test_a_revocation_by_somebody_who_joined_since_counts(made: Released) -> None:
    offices.add_person(made.sample, "cleo", Role.RELEASER)

    _refused(
        made, "revocation", "was revoked by cleo", revocations=_revoke(made, made.walk.ref.id, person="cleo")
    )


def test_an_unrelated_revocation_by_somebody_who_joined_since_spoils_nothing(made: Released) -> None:
    offices.add_person(made.sample, "cleo", Role.RELEASER)

    assert _verify(made, revocations=_revoke(made, digest_bytes(b"x"), person="cleo")).revocations_checked


def test_a_feed_older_than_the_release_is_refused(made: Released) -> None:
    old = release_desk.export_revocations(made.office)
    offices.add_person(made.sample, "cleo", Role.RELEASER)
    size = len(made.office.store.entries())
    _rebuild(made, add=(size - 1,))

    _refused(made, "revocation", "feed is older than the release", revocations=old)


def test_a_feed_of_another_office_is_refused(
    made: Released, other: tuple[offices.SampleOffice, Path]
) -> None:
    feed = release_desk.export_revocations(other[0].office)

    _refused(made, "revocation", "not the pinned", revocations=feed)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b'{"checkpoint":"","records":[]}'])
def test_what_is_no_feed_is_refused(made: Released, data: bytes) -> None:
    _refused(made, None, revocations=data)


def test_no_flipped_byte_of_a_feed_verifies(made: Released) -> None:
    feed = _revoke(made, digest_bytes(b"x"))
    assert len(parse_feed(feed).records) == 7
    for position in range(0, len(feed), max(1, len(feed) // 60)):
        altered = bytearray(feed)
        altered[position] ^= 0x01
        _refused(made, None, revocations=bytes(altered))


def test_an_invented_revocation_is_refused(made: Released) -> None:
    value = json.loads(_revoke(made, digest_bytes(b"x")))
    value["records"][-1]["index"] -= 1

    _refused(made, "revocation", revocations=canonical_json(value))


# --- the release desk --------------------------------------------------------------------------------------


def test_releasing_again_gives_the_release_there_is_and_mends_its_bundle(made: Released) -> None:
    (made.bundle / "adapter" / "README.md").write_bytes(b"damaged")

    released, bundle = offices.release(made.sample, made.walk.ref)

    assert released.id == made.released.id
    assert bundle == made.bundle
    _verify(made)
    shutil.rmtree(made.bundle)
    offices.release(made.sample, made.walk.ref)
    _verify(made)


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
    assert _verify(made).release == released.record


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
    _verify(made)
    _refused(made, "approval", "0 of 2 waivers", now=_later(sample, days=30))
    waiver = sample.office.store.find(record_id=released.record.waivers[0])[0]
    _rebuild(made, drop=(waiver.index,))
    _refused(made, "approval", "1 of 2 waivers")


def _later(sample: offices.SampleOffice, **by: float) -> datetime:
    return sample.clock.now + timedelta(**by)
