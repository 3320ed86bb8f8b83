"""Do the reviews and waivers of a verdict add up to an approval? Pure; used before release and by the verifier.

A person counts once, by the newest decision and whatever way the name is spelled; a key counts once. Whoever trained
or submitted the adapter does not count where the policy separates them, and neither does their key. A decision covers
exactly the adapter, base, policy, verdict and evidence it names, until it expires, and for no longer than the policy
allows. A standing rejection blocks. A denial cannot be approved, nor a verdict that rests on no gate, and an
inconclusive gate needs its own waivers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from placet.attest.predicates import Training
from placet.attest.trust import Verified
from placet.domain.digests import Digest
from placet.domain.names import person_key, same_person
from placet.domain.records import (
    Decision,
    GateResult,
    Outcome,
    Review,
    ReviewDecision,
    Submission,
    Verdict,
    Waiver,
)


@dataclass(frozen=True, slots=True)
class Approval:
    """Whether a verdict is approved, by whom, and if not, what is missing."""

    approved: bool
    approvers: tuple[str, ...]
    reviews: tuple[Verified[Review], ...]
    waivers: tuple[Verified[Waiver], ...]
    missing: tuple[str, ...]


def weigh_approval(
    verdict: Verified[Verdict],
    reviews: Sequence[Verified[Review]],
    waivers: Sequence[Verified[Waiver]],
    *,
    submission: Verified[Submission],
    trainings: Sequence[Verified[Training]],
    now: datetime,
    resubmissions: Sequence[Verified[Submission]] = (),
) -> Approval:
    """Return whether `verdict` is approved at `now`.

    Args:
        verdict: The verdict that would be released.
        reviews: Reviews, of this or of other verdicts; those of others are not counted.
        waivers: Waivers, likewise.
        submission: Who submitted it.
        trainings: Who trained it, and what it was continued from.
        now: The moment at which expiry is judged.
        resubmissions: Other submissions of the same weights: whoever made one does not count either.
    """
    rule = verdict.record.review
    missing: list[str] = []
    if verdict.record.decision is Decision.DENY:
        missing.append(
            "the verdict is DENY: no approval can release it; mend the adapter and submit it again"
        )
    if not any(gate.required for gate in verdict.record.gates):
        missing.append("the verdict rests on no required gate")
    barred = _barred(rule.separate_from, (submission, *resubmissions), trainings)
    standing = _newest_by_person(r for r in reviews if r.record.verdict == verdict.id)
    approving: list[Verified[Review]] = []
    uncounted: list[str] = []
    for review in standing:
        problem = _review_problem(review, verdict, barred, now)
        if review.record.decision is ReviewDecision.REJECT:
            missing.append(f"{review.person} rejected it: {review.record.comment}")
        elif problem:
            uncounted.append(f"the approval of {review.person} does not count: {problem}")
        else:
            approving.append(review)
    approving = list(_distinct_keys(approving))
    if len(approving) < rule.approvals:
        missing.extend(uncounted)
        missing.append(
            f"{len(approving)} of {rule.approvals} approvals by different people"
            + (f" (not {', '.join(sorted(barred.people))})" if barred.people else "")
        )
    used: list[Verified[Waiver]] = []
    for gate in verdict.record.gates:
        if gate.required and gate.outcome is Outcome.INCONCLUSIVE:
            counted, problem = _waivers_for(gate, verdict, waivers, barred, now)
            used.extend(counted)
            if problem:
                missing.append(problem)
        elif (
            gate.required
            and gate.outcome is not Outcome.PASS
            and verdict.record.decision is not Decision.DENY
        ):
            missing.append(f"gate {gate.gate} is {gate.outcome}, which no approval covers")
    return Approval(
        approved=not missing,
        approvers=tuple(review.person for review in approving),
        reviews=tuple(approving),
        waivers=tuple(used),
        missing=tuple(missing),
    )


def barred_people(
    verdict: Verdict,
    submission: Verified[Submission],
    trainings: Sequence[Verified[Training]],
    resubmissions: Sequence[Verified[Submission]] = (),
) -> dict[str, str]:
    """Return the people who may not approve `verdict`, each with the reason."""
    return _barred(verdict.review.separate_from, (submission, *resubmissions), trainings).people


def barred_reason(barred: Mapping[str, str], person: str) -> str:
    """Return why `person`, however the name is spelled, is among those of :func:`barred_people`; empty if not."""
    return next((reason for name, reason in barred.items() if same_person(name, person)), "")


@dataclass(frozen=True, slots=True)
class _Barred:
    """Who had a part in the adapter and may not decide about it: people with the reason, and their keys."""

    people: dict[str, str]
    keys: frozenset[Digest]

    def reason(self, decision: Verified[Review] | Verified[Waiver]) -> str:
        if why := barred_reason(self.people, decision.person):
            return f"that person {why}"
        return "its key trained or submitted it" if decision.key_id in self.keys else ""


def _barred(
    separate_from: tuple[str, ...],
    submissions: Sequence[Verified[Submission]],
    trainings: Sequence[Verified[Training]],
) -> _Barred:
    people: dict[str, str] = {}
    keys: set[Digest] = set()
    if "submitter" in separate_from:
        people.update((item.person, "submitted it") for item in submissions)
        keys.update(item.key_id for item in submissions)
    if "trainer" in separate_from:
        people.update((item.person, "trained it") for item in trainings)
        keys.update(item.key_id for item in trainings)
    return _Barred(people, frozenset(keys))


def _newest_by_person(reviews: Iterable[Verified[Review]]) -> tuple[Verified[Review], ...]:
    newest: dict[str, Verified[Review]] = {}
    for review in sorted(reviews, key=lambda item: item.index):
        newest[person_key(review.person)] = review
    return tuple(newest.values())


def _review_problem(
    review: Verified[Review], verdict: Verified[Verdict], barred: _Barred, now: datetime
) -> str:
    record, wanted = review.record, verdict.record
    if reason := barred.reason(review):
        return reason
    if (record.adapter, record.base, record.policy) != (wanted.adapter, wanted.base, wanted.policy):
        return "it names other bytes, another base or another policy"
    if set(record.evidence) != set(wanted.evidence):
        return "it does not name the verdict's evidence"
    if not verdict.index < record.head.size <= review.index:
        return "the ledger state it names is not one in which the verdict could be seen"
    term = (record.reviewed_at, record.expires_at)
    return _wrong_name(review, record.reviewer) or _wrong_term(*term, wanted, now)


def _wrong_name(decision: Verified[Review] | Verified[Waiver], named: str) -> str:
    return "" if named == decision.person else f"it names {named}, whose key did not sign it"


def _wrong_term(start: datetime, end: datetime, verdict: Verdict, now: datetime) -> str:
    if start > now:
        return f"it is dated {start:%Y-%m-%d %H:%M} UTC, which is still to come"
    if end > start + timedelta(days=verdict.review.valid_days):
        return f"it runs for longer than the {verdict.review.valid_days} days of the policy"
    if now >= end:
        return f"it expired at {end:%Y-%m-%d %H:%M} UTC"
    return ""


def _distinct_keys(reviews: Iterable[Verified[Review]]) -> Iterable[Verified[Review]]:
    seen: set[str] = set()
    for review in reviews:
        if review.key_id not in seen:
            seen.add(review.key_id)
            yield review


def _waivers_for(
    gate: GateResult,
    verdict: Verified[Verdict],
    waivers: Sequence[Verified[Waiver]],
    barred: _Barred,
    now: datetime,
) -> tuple[tuple[Verified[Waiver], ...], str]:
    if not gate.waivable:
        return (), f"gate {gate.gate} is inconclusive and its policy allows no waiver"
    people: dict[str, Verified[Waiver]] = {}
    keys: set[str] = set()
    for waiver in waivers:
        record, wanted = waiver.record, verdict.record
        if record.verdict != verdict.id or record.gate != gate.gate:
            continue
        if (record.adapter, record.policy) != (wanted.adapter, wanted.policy):
            continue
        if barred.reason(waiver) or waiver.key_id in keys or _wrong_name(waiver, record.reviewer):
            continue
        if _wrong_term(record.waived_at, record.expires_at, wanted, now):
            continue
        keys.add(waiver.key_id)
        people.setdefault(person_key(waiver.person), waiver)
    if len(people) < gate.waivers_needed:
        return (), f"{len(people)} of {gate.waivers_needed} waivers for inconclusive gate {gate.gate}"
    return tuple(people.values()), ""
