"""A revocation feed: nothing can be left out of it, nobody without the role makes one, and it is of one log."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from placet.attest.envelope import Envelope, parse_envelope
from placet.attest.keys import Signer, new_signer
from placet.attest.predicates import Kind, Role, spec_of
from placet.attest.statement import Subject, parse_statement
from placet.attest.trust import sign_record
from placet.domain.digests import canonical_json, digest_bytes
from placet.domain.errors import NotAuthorizedError
from placet.domain.records import FeedPart, FeedStatement, LedgerHead
from placet.ledger.audit.feeds import Counted
from placet.office import LOG_KEY, Office, TrustDesk, migrate_ledger
from placet.release import desk as release_desk
from placet.review import desk as review_desk
from placet.verify.layout import BundledRecord, Feed, dump_feed, parse_feed
from placet.verify.verifier import VerificationError, VerifiedRelease, verify_bundle
from tests.support import offices
from tests.support.offices import Released, released_office, signer_named
from tests.support.postgres import new_database, server
from tests.support.tampering import logged, resign
from tests.support.tampering import replace as replace_row


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


def _verify(made: Released, feed: bytes, **options: Any) -> VerifiedRelease:
    options.setdefault("now", made.sample.clock.now)
    pin = made.office.root.versions[0].pin
    return verify_bundle(made.bundle, pin, revocations=feed, **options)


def _refused(made: Released, feed: bytes, reason: str, **options: Any) -> None:
    with pytest.raises(VerificationError, match=reason) as caught:
        _verify(made, feed, **options)
    assert caught.value.step == "revocation"
    assert caught.value.hint


def _revoke(made: Released, name: bytes) -> None:
    target = digest_bytes(name)
    review_desk.revoke(made.office, target, "adapter", "x", "it leaks", made.sample.signers["ben"])


def _told(feed: Feed) -> FeedStatement:
    payload = parse_envelope(feed.statement.envelope).payload
    return FeedStatement.from_json(parse_statement(payload).predicate)


def _signed(told: FeedStatement, signer: Signer) -> Envelope:
    return sign_record(Kind.FEED, told, (Subject("revocations", told.revocations.digest),), signer)


# --- nothing more and nothing less -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Released, bytes]:
    """An office in which everything happened three times that a feed holds, and its feed. Not to be added to."""
    made = released_office(tmp_path_factory.mktemp("busy") / "office")
    for number in range(3):
        _revoke(made, b"%d" % number)
        if number:
            TrustDesk(made.office).change_root(made.office.root.current.keys, 1)
            offices.release(made.sample, made.walk.ref, f"channel-{number}")
    return made, release_desk.export_revocations(made.office)


@pytest.fixture
def busy(template: tuple[Released, bytes], tmp_path: Path) -> Released:
    """A copy of that office."""
    made, _ = template
    return replace(made, sample=offices.copy_office(made.sample, tmp_path / "busy"))


def _kept(part: str, feed: dict[str, Any]) -> list[Any]:
    """Return the items of a part of a feed, as the file has them."""
    if part in ("releases", "roots"):
        return list(feed[part])
    kind = spec_of(Kind.ROLES if part == "roles" else Kind.REVOCATION).predicate_type
    return [item for item in feed["records"] if _type(item) == kind]


def _type(item: dict[str, Any]) -> str:
    return parse_statement(parse_envelope(base64.b64decode(item["envelope"])).payload).predicate_type


def _without(part: str, feed: dict[str, Any], item: Any) -> bytes:
    name = part if part in ("releases", "roots") else "records"
    return canonical_json({**feed, name: [other for other in feed[name] if other != item]})


@pytest.mark.parametrize(
    ("part", "what", "count"),
    [
        ("roles", "roles statements", 8),
        ("roots", "versions of the root", 3),
        ("revocations", "revocations", 3),
        ("releases", "releases", 3),
    ],
)
def test_a_feed_from_which_something_was_left_out_is_refused(
    template: tuple[Released, bytes], part: str, what: str, count: int
) -> None:
    made, whole = template
    assert _verify(made, whole).revocations_checked
    feed = json.loads(whole)
    items = _kept(part, feed)
    assert len(items) == count
    for gone in (items[0], items[count // 2], items[-1]):
        reason = f"the feed holds {count - 1} {what}, not the {count} that its own statement counts"
        _refused(made, _without(part, feed, gone), reason)


@pytest.mark.parametrize("part", ["roles", "revocations"])
def test_a_feed_into_which_something_was_put_is_refused(
    template: tuple[Released, bytes], busy: Released, part: str
) -> None:
    older = json.loads(template[1])
    _revoke(busy, b"new")
    offices.add_person(busy.sample, "cleo", Role.APPROVER)
    last = _kept(part, json.loads(release_desk.export_revocations(busy.office)))[-1]

    added = canonical_json({**older, "records": [*older["records"], last]})

    _refused(busy, added, "or was logged after its own statement")


def test_a_record_that_does_not_belong_in_a_feed_is_refused(made: Released) -> None:
    feed = parse_feed(release_desk.export_revocations(made.office))
    size = feed.statement.index + 1
    entry = made.office.store.entries(made.released.index, made.released.index + 1)[0]
    (proof,) = made.office.store.inclusion_proofs([entry.index], size)
    more = replace(feed, records=(*feed.records, BundledRecord(entry.index, entry.envelope, proof)))

    _refused(made, dump_feed(more), "of a kind that no feed holds")


def test_a_revocation_in_the_place_of_another_is_refused(
    template: tuple[Released, bytes], busy: Released
) -> None:
    feed = parse_feed(template[1])
    last = next(item for item in feed.records[::-1] if item.index not in _roles(busy))
    _revoke(busy, b"harmless")
    entry = busy.office.store.entries(busy.office.store.size() - 1)[0]
    records = (replace(item, envelope=entry.envelope) if item == last else item for item in feed.records)

    _refused(
        busy,
        dump_feed(replace(feed, records=tuple(records))),
        "the feed's revocations are not the ones that its own statement names",
    )


def _roles(made: Released) -> set[int]:
    predicate_type = spec_of(Kind.ROLES).predicate_type
    return {entry.index for entry in made.office.store.find(predicate_type=predicate_type)}


@pytest.mark.parametrize("what", ["records", "releases"])
def test_a_feed_in_another_order_or_with_an_item_twice_is_refused(
    template: tuple[Released, bytes], what: str
) -> None:
    made, feed = template[0], json.loads(template[1])

    for items in (feed[what][::-1], [*feed[what], feed[what][-1]]):
        _refused(made, canonical_json({**feed, what: items}), "not in the order of the log")


@pytest.mark.parametrize("part", ["statement", "checkpoint", "releases"])
def test_a_part_of_an_older_feed_is_refused(
    template: tuple[Released, bytes], busy: Released, part: str
) -> None:
    older = json.loads(template[1])
    _revoke(busy, b"one")
    offices.release(busy.sample, busy.walk.ref, "another")
    feed = json.loads(release_desk.export_revocations(busy.office))
    reason = {
        "statement": "was logged after its own statement",
        "checkpoint": "is not in a log of|is not in the log of the checkpoint",
        "releases": "holds 3 releases, not the 4",
    }[part]

    _refused(busy, canonical_json({**feed, part: older[part]}), reason)


def test_nobody_hides_that_an_approver_left(tmp_path: Path) -> None:
    """Whoever brings the feed to the serving machine cuts the roles statement that says so off its end."""
    sample = offices.make_office(tmp_path / "office", key_files=False)
    rule = offices.RULE.model_copy(update={"lapses_on": ("approver_left",)})
    strict = Released(sample, *offices.walk_to_release(sample, rule=rule))
    TrustDesk(sample.office).end_grants(sample.signers["ada"].public.key_id)
    feed = parse_feed(release_desk.export_revocations(sample.office))
    _refused(strict, dump_feed(feed), "the approval of ada lapsed")

    cut = replace(feed, records=feed.records[:-1])

    _refused(strict, dump_feed(cut), "holds 6 roles statements, not the 7")


def test_nobody_hides_the_newest_root_and_what_was_signed_under_it(made: Released) -> None:
    TrustDesk(made.office).change_root(made.office.root.current.keys, 1)
    TrustDesk(made.office).end_grants(made.sample.signers["ada"].public.key_id)
    feed = parse_feed(release_desk.export_revocations(made.office))

    cut = replace(feed, records=feed.records[:6], roots=feed.roots[:1])

    _refused(made, dump_feed(cut), "holds 6 roles statements, not the 8")


# --- who signs it ------------------------------------------------------------------------------------------


def test_nobody_without_the_role_makes_a_feed(made: Released) -> None:
    size = made.office.store.size()

    with pytest.raises(NotAuthorizedError, match="sam may not sign as evaluator or releaser"):
        release_desk.export_revocations(made.office, signer_named("sam"))

    assert made.office.store.size() == size


def test_a_feed_logged_past_the_desk_by_somebody_without_the_role_is_refused(made: Released) -> None:
    feed = parse_feed(release_desk.export_revocations(made.office))
    told = _told(feed).model_copy(update={"issued_at": made.sample.clock.advance(days=1)})
    forged = _forged(made.office, feed, told, signer_named("sam"))

    _refused(made, forged, "sam may not sign as evaluator or releaser")


def _forged(office: Office, feed: Feed, told: FeedStatement, signer: Signer) -> bytes:
    """Return the feed with another statement, logged past every check: what whoever has the log's key can do."""
    index = logged(office, _signed(told, signer))
    size, note = office.store.checkpoint_notes(index)[0]

    def anew(item: BundledRecord) -> BundledRecord:
        envelope = office.store.entries(item.index, item.index + 1)[0].envelope
        return BundledRecord(item.index, envelope, office.store.inclusion_proofs([item.index], size)[0])

    releases = tuple(
        replace(item, proof=office.store.inclusion_proofs([item.index], size)[0]) for item in feed.releases
    )
    (statement,) = (anew(BundledRecord(index, b"", ())),)
    return dump_feed(Feed(note, tuple(map(anew, feed.records)), releases, feed.roots, statement))


def test_a_releaser_may_make_a_feed_as_well(made: Released) -> None:
    feed = release_desk.export_revocations(made.office, signer_named("rhea"))

    assert _verify(made, feed).revocations_checked


def test_a_key_whose_grant_has_ended_makes_no_feed_however_it_is_dated(made: Released) -> None:
    """The thief takes the state from before the revocation, states none, and dates it today."""
    before = parse_feed(release_desk.export_revocations(made.office))
    _revoke(made, b"x")
    review_desk.revoke(made.office, made.walk.ref.id, "adapter", "x", "it leaks", made.sample.signers["ada"])
    TrustDesk(made.office).end_grants(signer_named("rhea").public.key_id)
    later = made.sample.clock.advance(days=30)
    _refused(made, release_desk.export_revocations(made.office), "was revoked by ada", now=later)
    told = _told(before).model_copy(update={"issued_at": later})
    forged = replace(before.statement, envelope=_signed(told, signer_named("rhea")).raw)

    _refused(
        made, dump_feed(replace(before, statement=forged)), "is not in the log of the checkpoint", now=later
    )
    with pytest.raises(
        NotAuthorizedError, match="rhea may not sign as evaluator or releaser at ledger index"
    ):
        made.office.append([_signed(told, signer_named("rhea"))])
    # With the log's key as well it is in the log, for everybody to see.
    _forged(made.office, before, told, signer_named("rhea"))
    assert {finding.id for finding in made.office.audit().findings} == {"unauthorized-signer"}


def test_an_old_feed_shows_how_old_it_is(made: Released) -> None:
    made.sample.clock.advance(days=3)
    feed = release_desk.export_revocations(made.office)
    index = made.office.store.size() - 1
    made.sample.clock.advance(days=4)

    verified = _verify(made, feed)

    assert "0 revocations of the feed of 2026-03-05" in verified.steps[-1][1]
    assert f"anything after the feed's state: {index} records, 2026-03-05" in verified.unknown[1]


def test_a_feed_is_of_the_moment_at_which_it_was_logged_not_of_when_it_was_begun(
    made: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, calls = Office.append_as_seen, []

    def late(office: Office, *arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:  # somebody else revokes between looking and logging
            monkeypatch.setattr(Office, "append_as_seen", append)
            _revoke(made, b"meanwhile")
            monkeypatch.setattr(Office, "append_as_seen", late)
        return append(office, *arguments, **options)

    monkeypatch.setattr(Office, "append_as_seen", late)
    feed = parse_feed(release_desk.export_revocations(made.office))

    assert len(calls) == 2
    assert _told(feed).revocations.count == 1
    assert "not among the 1 revocations" in _verify(made, dump_feed(feed)).steps[-1][1]
    assert made.office.audit().whole


def test_a_feed_verifies_after_the_logs_key_was_changed(made: Released) -> None:
    feed = release_desk.export_revocations(made.office)
    new = new_signer()
    made.office.keys.add("log-2", new, offices.PASSPHRASE)
    TrustDesk(made.office).rotate_key(made.office.signer(LOG_KEY).public.key_id, new.public)

    assert _verify(made, feed).revocations_checked
    assert _verify(made, release_desk.export_revocations(made.office)).revocations_checked


def test_a_feed_of_a_log_in_postgresql_counts_what_another_machine_logged(
    made: Released, tmp_path: Path
) -> None:
    with server() as address:
        office = made.sample.office = migrate_ledger(made.office, new_database(address))
        other = offices.copy_office(made.sample, tmp_path / "other")
        feed = release_desk.export_revocations(office)
        _revoke(replace(made, sample=other), b"seen elsewhere")
        newer = release_desk.export_revocations(office)

        assert "not among the 0 revocations" in _verify(made, feed).steps[-1][1]
        assert "not among the 1 revocations" in _verify(made, newer).steps[-1][1]
        assert office.audit().whole


# --- one log -----------------------------------------------------------------------------------------------


def test_a_feed_of_a_fork_with_other_roles_is_refused(tmp_path: Path) -> None:
    # One office tells two stories: a copy of it from before the release went another way.
    sample = offices.make_office(tmp_path / "fork", key_files=False)
    fork = offices.copy_office(sample, tmp_path / "other")
    _, _, bundle = offices.walk_to_release(sample)
    offices.add_person(sample, "cleo", Role.APPROVER)
    offices.release(sample, sample.office.reader().find(Kind.VERDICT, offices.Verdict)[0].record.adapter)
    offices.add_person(fork, "mallory", Role.APPROVER)
    for number in range(30):
        offices.add_base(fork, f"base {number}")
    feed = release_desk.export_revocations(fork.office)

    with pytest.raises(VerificationError, match="tell different stories"):
        verify_bundle(bundle, sample.office.root.pin, now=sample.clock.now, revocations=feed)


@pytest.mark.parametrize("honest_releases", [False, True])
def test_a_release_made_on_a_fork_with_the_same_roles_is_refused(
    made: Released, tmp_path: Path, honest_releases: bool
) -> None:
    fork = offices.copy_office(made.sample, tmp_path / "fork")
    split = Released(fork, *offices.walk_to_release(fork, "secret"))
    if honest_releases:  # at the same place of the log, so that there is a release to be taken for this one
        offices.walk_to_release(made.sample, "honest")
    for number in range(30):
        offices.add_base(made.sample, f"base {number}")
    feed = release_desk.export_revocations(made.office)

    _refused(
        split, feed, f"record {split.released.index} in its bundle, is not in the log that the feed speaks of"
    )
    assert _verify(split, release_desk.export_revocations(fork.office)).revocations_checked


def test_the_same_release_after_other_records_is_refused(tmp_path: Path) -> None:
    """The operator exchanges a record that no bundle holds and signs the log again: the release itself is the same."""
    sample = offices.make_office(tmp_path / "office")
    gone = offices.add_base(sample, "what was there")
    walk, released, bundle = offices.walk_to_release(sample)
    honest = release_desk.export_revocations(sample.office)
    fork = offices.copy_office(sample, tmp_path / "fork")
    other = gone.record.model_copy(update={"architecture": "AnotherModel"})
    envelope = sign_record(Kind.BASE, other, gone.statement.subjects, sample.evaluator)
    replace_row(fork.office, gone.index, envelope.raw, record_id=envelope.record_id)
    resign(fork.office)
    fork.office.store.rebuild()
    moved = fork.office.home / bundle.relative_to(sample.office.home)
    case = review_desk.load_case(fork.office.reader(), walk.ref.id)
    release_desk.build_bundle(fork.office, case, released, moved)
    split = Released(fork, walk, released, moved)

    _refused(
        split, honest, f"the records before the release, record {released.index}, are not those in the log"
    )
    assert _verify(split, release_desk.export_revocations(fork.office)).revocations_checked


def test_a_bundle_built_again_after_the_feed_was_made_is_newer_than_it(made: Released) -> None:
    feed = release_desk.export_revocations(made.office)
    offices.add_base(made.sample, "later")
    bundle = offices.release(made.sample, made.walk.ref, "another")[1]

    _refused(replace(made, bundle=bundle), feed, "the revocation feed is older than the release")


# --- the audit ---------------------------------------------------------------------------------------------


def test_honest_feeds_are_counted_by_the_audit(busy: Released) -> None:
    for number in range(3):
        release_desk.export_revocations(busy.office)
        _revoke(busy, b"more %d" % number)

    report = busy.office.audit()

    assert report.whole, report.findings
    assert "4 revocation feeds: each counts all that was logged before it" in report.checked


def _fewer(part: FeedPart) -> FeedPart:
    return FeedPart(count=part.count - 1, digest=digest_bytes(b"of the others"))


def _others(part: FeedPart) -> FeedPart:
    return FeedPart(count=part.count, digest=digest_bytes(b"of others"))


@pytest.mark.parametrize("change", [_fewer, _others])
@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("roles", "roles statements"),
        ("roots", "versions of the root"),
        ("revocations", "revocations"),
        ("releases", "releases"),
    ],
)
def test_a_feed_that_leaves_something_out_is_found_in_the_log(
    busy: Released, part: str, what: str, change: Callable[[FeedPart], FeedPart]
) -> None:
    told = _told(parse_feed(release_desk.export_revocations(busy.office)))
    kept = busy.office.store.latest_checkpoint() or ""
    since = (
        kept if change is _others else ""
    )  # what stood before is counted where only what is new is audited, too
    stated = getattr(told, part)
    false = told.model_copy(update={part: change(stated), "head": busy.office.reader().head()})
    index = busy.office.append([_signed(false, busy.sample.evaluator)])[0].index

    report = busy.office.audit(since=since)

    (finding,) = report.findings
    assert (finding.id, finding.index) == ("false-feed", index)
    counts = f"counts {change(stated).count} {what} where {stated.count} stood before it"
    assert counts in finding.message
    assert ("names others" in finding.message) == (change is _others)


def test_a_feed_of_before_a_revocation_that_is_logged_after_it_is_found(made: Released) -> None:
    """A thief with the evaluator's key and the log's signs a picture of an older state."""
    told = _told(parse_feed(release_desk.export_revocations(made.office)))
    _revoke(made, b"x")
    index = made.office.append(
        [
            _signed(
                told.model_copy(update={"issued_at": offices.START + timedelta(days=9)}),
                made.sample.evaluator,
            )
        ]
    )[0].index

    (finding,) = made.office.audit().findings
    assert (finding.id, finding.index) == ("false-feed", index)
    assert "counts 0 revocations where 1 stood before it" in finding.message


def test_a_feed_signed_over_another_history_is_found(made: Released) -> None:
    told = _told(parse_feed(release_desk.export_revocations(made.office)))
    elsewhere = told.model_copy(update={"head": LedgerHead(size=told.head.size, root="00" * 32)})
    made.office.append([_signed(elsewhere, made.sample.evaluator)])

    (finding,) = made.office.audit().findings
    assert finding.id == "foreign-head"
    assert "(feed by Sample office: evaluator)" in finding.message


def test_a_root_that_nobody_follows_is_not_counted_in_feeds(busy: Released) -> None:
    from placet.attest.predicates import RootChange

    change = RootChange(office=busy.office.root.office, version=4, file="{}")
    forged = sign_record(
        Kind.ROOT, change, (Subject("trust-root", digest_bytes(b"{}")),), busy.sample.evaluator
    )
    busy.office.append([forged])
    feed = release_desk.export_revocations(busy.office)

    assert _told(parse_feed(feed)).roots.count == 3
    assert {finding.id for finding in busy.office.audit().findings} == {"foreign-root"}
    assert _verify(busy, feed).revocations_checked


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_what_is_counted_as_it_grows_is_what_a_feed_says_of_the_whole(count: int) -> None:
    leaves = [bytes([number]) * 32 for number in range(count)]
    counted = Counted()
    for leaf in leaves:
        counted.part()
        counted.add(leaf)

    assert counted.part() == FeedPart.of([leaf.hex() for leaf in leaves])
