"""Can the gates show what they ask on the samples they get? Said before anything runs.

Guarantees: with ``underpowered: refuse`` no plan is made in which a required gate could not pass, or would rarely
pass for an adapter as good as the policy's author expects; with ``mark`` the same is said and planning goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from placet.domain.errors import UsageError
from placet.policy.gates.ceiling import CeilingGate
from placet.policy.gates.floor import FloorGate
from placet.policy.gates.model import Gate
from placet.policy.gates.not_worse import NotWorseGate
from placet.policy.schema import Policy
from placet.stats.planning import (
    detectable_margin,
    documents_for_not_worse,
    least_successes,
    most_successes,
    not_worse_power,
)


@dataclass(frozen=True, slots=True)
class SampleNote:
    """What a gate can show on its sample.

    Attributes:
        gate: The gate's id.
        n: Documents it gets.
        adequate: Whether that is enough.
        text: A sentence for people.
    """

    gate: str
    n: int
    adequate: bool
    text: str


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


def review_samples(policy: Policy, sizes: Mapping[str, int]) -> tuple[SampleNote, ...]:
    """Return a note for each statistical gate on samples of `sizes` documents.

    Assumes 0/1 metrics, for which the answer is exact.

    Raises:
        UsageError: The policy says ``underpowered: refuse`` and a required gate's sample is not adequate.
    """
    notes = []
    for gate in policy.gates:
        note = _note(gate, sizes)
        if note is None:
            continue
        if not note.adequate and gate.required and policy.underpowered == "refuse":
            raise UsageError(f"gate {gate.id}: {note.text}", hint="raise `samples`, or ask less of the gate")
        notes.append(note)
    return tuple(notes)


def _note(gate: Gate, sizes: Mapping[str, int]) -> SampleNote | None:
    if isinstance(gate, FloorGate):
        n = sizes[gate.suite]
        needed = least_successes(n, gate.threshold, gate.alpha)
        return SampleNote(
            gate.id, n, needed is not None, _limit_text(n, needed, "at least", "floor", gate.threshold)
        )
    if isinstance(gate, CeilingGate):
        n = sizes[gate.suite]
        allowed = most_successes(n, gate.threshold, gate.alpha)
        return SampleNote(
            gate.id, n, allowed is not None, _limit_text(n, allowed, "at most", "ceiling", gate.threshold)
        )
    if isinstance(gate, NotWorseGate):
        return _not_worse_note(gate, sizes[gate.suite])
    return None


def _limit_text(n: int, count: int | None, relation: str, word: str, threshold: float) -> str:
    if count is None:
        return f"no result on {n} documents can show the {word} of {threshold:g}"
    return f"{relation} {count} of {n} documents must count to show the {word} of {threshold:g}"


def _not_worse_note(gate: NotWorseGate, n: int) -> SampleNote:
    guess = gate.planning
    chance = not_worse_power(n, gate.margin, guess.discordance, guess.difference, gate.alpha)
    text = (
        f"on {n} documents an adapter that differs from the base on {guess.discordance:g} of them, with a true "
        f"difference of {guess.difference:g}, passes the margin of {gate.margin:g} with probability {chance:.2f}"
    )
    adequate = chance >= guess.power
    if not adequate:
        more = documents_for_not_worse(
            gate.margin, guess.discordance, guess.difference, gate.alpha, guess.power
        )
        least = detectable_margin(n, guess.discordance, guess.difference, gate.alpha, guess.power)
        text += f", below {guess.power:g}"
        text += f"; it takes about {more} documents" if more is not None else ""
        text += f", or a margin of {least:g}" if least is not None else ""
    return SampleNote(gate.id, n, adequate, text)
