"""Can the gates show what they ask on the samples they get? Said before anything runs.

Sequential gates are `placet.policy.forecasts`, gates on groups `placet.policy.group_plans`.

Guarantees: with ``underpowered: refuse`` no plan is made in which a required gate could not pass, or would rarely
pass for an adapter as good as the policy's author expects; with ``mark`` the same is said and planning goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from placet.domain.errors import UsageError
from placet.domain.records import PlannedSuite
from placet.policy.forecasts import sequential_note
from placet.policy.gates.better import BetterGate
from placet.policy.gates.ceiling import CeilingGate
from placet.policy.gates.floor import FloorGate
from placet.policy.gates.not_worse import NotWorseGate
from placet.policy.gates.subgroups import SubgroupsGate
from placet.policy.group_plans import group_note
from placet.policy.model import Gate, SuiteGate
from placet.policy.notes import POWER, SampleNote
from placet.policy.schema import Policy
from placet.stats.planning import (
    detectable_gain,
    detectable_margin,
    detectable_rate,
    documents_for_not_worse,
    least_successes,
    most_successes,
    planned_power,
)

GroupSizes = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Suite → column → value → how many planned documents have it."""


def sample_sizes(policy: Policy, documents: Mapping[str, int]) -> dict[str, int]:
    """Return how many documents of each suite a plan under `policy` runs.

    Args:
        policy: The policy.
        documents: Suite id → number of documents it has.

    Raises:
        UsageError: A suite of the policy is not known, is empty, or has fewer documents than the policy draws.
    """
    sizes = {}
    for suite in policy.suites:
        if suite not in documents:
            known = ", ".join(sorted(documents)) or "none"
            raise UsageError(
                f"policy {policy.id} needs suite {suite}, which is not known", hint=f"known: {known}"
            )
        asked, has = policy.samples_of(suite), documents[suite]
        if has < 1 or (asked is not None and asked > has):
            raise UsageError(
                f"policy {policy.id} draws {asked or 'all'} documents of {suite}, which has {has}",
                hint="lower `samples`, or write `samples: all`",
            )
        sizes[suite] = has if asked is None else asked
    return sizes


def group_sizes(suites: Iterable[PlannedSuite]) -> GroupSizes:
    """Return how many documents each group of planned suites gets."""
    return {
        item.suite.id: {
            column: {name: len(members) for name, members in parts.items()}
            for column, parts in (item.groups or {}).items()
        }
        for item in suites
    }


def review_samples(
    policy: Policy,
    sizes: Mapping[str, int],
    documents: Mapping[str, int] | None = None,
    groups: GroupSizes | None = None,
) -> tuple[SampleNote, ...]:
    """Return a note for each statistical gate on samples of `sizes` documents.

    Assumes 0/1 metrics, for which the answer is exact, of documents that stand for themselves, scored without error.

    Args:
        policy: The policy.
        sizes: Suite → planned documents.
        documents: Suite → documents it has, where it is more.
        groups: How many planned documents are in which group, for gates on groups.

    Raises:
        UsageError: The policy says ``underpowered: refuse`` and a required gate's sample is not adequate.
    """
    notes = []
    for gate in policy.gates:
        note = _note(policy, gate, sizes, documents or sizes, groups or {})
        if note is None:
            continue
        if not note.adequate and gate.required and policy.underpowered == "refuse":
            raise UsageError(f"gate {gate.id}: {note.text}", hint="raise `samples`, or ask less of the gate")
        notes.append(note)
    return tuple(notes)


def _note(
    policy: Policy,
    gate: Gate,
    sizes: Mapping[str, int],
    documents: Mapping[str, int],
    groups: GroupSizes,
) -> SampleNote | None:
    if not isinstance(gate, SuiteGate):
        return None
    n = sizes[gate.suite]
    if policy.suites[gate.suite].mode == "sequential":
        return sequential_note(policy, gate, documents.get(gate.suite, n))
    if isinstance(gate, FloorGate):
        needed = least_successes(n, gate.threshold, gate.alpha)
        return _limit_note(gate, n, needed, "at least", "floor")
    if isinstance(gate, CeilingGate):
        allowed = most_successes(n, gate.threshold, gate.alpha)
        return _limit_note(gate, n, allowed, "at most", "ceiling")
    if isinstance(gate, NotWorseGate | BetterGate):
        return _difference_note(gate, n)
    if isinstance(gate, SubgroupsGate):
        return group_note(gate, groups.get(gate.suite, {}).get(gate.by), n)
    return None


def _limit_note(
    gate: FloorGate | CeilingGate, n: int, count: int | None, relation: str, word: str
) -> SampleNote:
    if count is None:
        text = f"no result on {n} documents can show the {word} of {gate.threshold:g}"
        return SampleNote(gate.id, n, False, text, None, "mean")
    text = f"{relation} {count} of {n} documents must count to show the {word} of {gate.threshold:g}"
    return SampleNote(gate.id, n, True, text, _least_mean(gate, n), "mean")


def _least_mean(gate: FloorGate | CeilingGate, n: int) -> float | None:
    """Return the true mean nearest to the limit that `n` fixed documents show with a power of 0.8; None if none."""
    if isinstance(gate, FloorGate):
        return detectable_rate(n, gate.threshold, gate.alpha, POWER)
    rate = detectable_rate(n, round(1.0 - gate.threshold, 6), gate.alpha, POWER)
    return None if rate is None else round(1.0 - rate, 4)


def _difference_note(gate: NotWorseGate | BetterGate, n: int) -> SampleNote:
    guess, share = gate.planning, gate.planning.discordance
    other = "the base" if gate.than == "base" else gate.than
    margin = gate.margin if isinstance(gate, NotWorseGate) else -gate.by
    what = (
        f"the margin of {margin:g}"
        if isinstance(gate, NotWorseGate)
        else f"the gain of {gate.by:g} asked for"
    )
    measures = "margin" if margin > 0.0 else "gain"
    if measures == "margin":
        least = detectable_margin(n, share, guess.difference, gate.alpha, guess.power)
    else:  # what is asked for is a gain, so what can be shown is a gain too
        least = detectable_gain(n, -margin, share, gate.alpha, guess.power)
    chance = planned_power(n, margin, share, guess.difference, gate.alpha)
    text = (
        f"on {n} documents an adapter that differs from {other} on {share:g} of them, with a true "
        f"difference of {guess.difference:g}, passes {what} with probability {chance:.2f}"
    )
    adequate = chance >= guess.power
    if not adequate:
        more = documents_for_not_worse(margin, share, guess.difference, gate.alpha, guess.power)
        text += f", below {guess.power:g}"
        text += f"; it takes about {more} documents" if more is not None else ""
        text += f", or a margin of {least:g}" if least is not None and measures == "margin" else ""
    return SampleNote(gate.id, n, adequate, text, least, measures)
