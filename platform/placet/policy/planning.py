"""Can the gates show what they ask on the samples they get? Said before anything runs.

Guarantees: with ``underpowered: refuse`` no plan is made in which a required gate could not pass, or would rarely
pass for an adapter as good as the policy's author expects; with ``mark`` the same is said and planning goes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from placet.domain.errors import UsageError
from placet.policy.gates.better import BetterGate
from placet.policy.gates.ceiling import CeilingGate
from placet.policy.gates.floor import FloorGate
from placet.policy.gates.not_worse import NotWorseGate
from placet.policy.model import Gate, StatisticalGate, SuiteGate
from placet.policy.schema import DEFAULT_CHUNK, Policy
from placet.stats.planning import (
    detectable_margin,
    detectable_rate,
    documents_for_not_worse,
    least_successes,
    most_successes,
    not_worse_power,
)
from placet.stats.sequential import Claim, Kind, SequentialDesign

if TYPE_CHECKING:
    from placet.stats.simulation import Forecast

_POWER = 0.8
"""With which probability an adapter as good as expected should pass a gate whose policy names no power."""

_FORECASTS = 400
"""Runs simulated for a forecast: the expected number of documents is then within a few percent."""


@dataclass(frozen=True, slots=True)
class SampleNote:
    """What a gate can show on its sample.

    Attributes:
        gate: The gate's id.
        n: Documents it gets.
        adequate: Whether that is enough.
        text: A sentence for people.
        detectable: The smallest margin that the sample shows with the power asked for; None if it is not about one.
    """

    gate: str
    n: int
    adequate: bool
    text: str
    detectable: float | None = None


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


def review_samples(
    policy: Policy, sizes: Mapping[str, int], documents: Mapping[str, int] | None = None
) -> tuple[SampleNote, ...]:
    """Return a note for each statistical gate on samples of `sizes` documents.

    Assumes 0/1 metrics, for which the answer is exact. `documents` says how many each suite has, where it is more.

    Raises:
        UsageError: The policy says ``underpowered: refuse`` and a required gate's sample is not adequate.
    """
    notes = []
    for gate in policy.gates:
        note = _note(policy, gate, sizes, documents or sizes)
        if note is None:
            continue
        if not note.adequate and gate.required and policy.underpowered == "refuse":
            raise UsageError(f"gate {gate.id}: {note.text}", hint="raise `samples`, or ask less of the gate")
        notes.append(note)
    return tuple(notes)


def expected_documents(policy: Policy, suite: str, documents: int) -> int:
    """Return how many documents of `suite` are expected to be run, of `documents` that it has.

    For a sequential suite, on average over adapters as good as the gates' `planning` says; for a gate that asks for a
    mean, of which no guess is written, over adapters that a fixed sample would just show. All that are drawn, if it is
    not sequential, or nothing can be shown.
    """
    drawn = policy.samples_of(suite) or documents
    if policy.suites[suite].mode == "fixed":
        return drawn
    most = 0
    for gate in policy.gates_on(suite):
        forecast = _forecast(policy, gate, documents)
        if forecast is None:
            return drawn
        most = max(most, math.ceil(forecast[0].mean))
    chunk = policy.suites[suite].chunk or DEFAULT_CHUNK
    return min(drawn, math.ceil(most / chunk) * chunk)


def _forecast(policy: Policy, gate: Gate, documents: int) -> tuple[Forecast, str] | None:
    """Return what a sequential gate is expected to take, and of which adapter, in words."""
    from placet.stats.simulation import forecast_mean, forecast_not_worse

    if isinstance(gate, NotWorseGate | BetterGate):
        guess = gate.planning
        limit = gate.margin if isinstance(gate, NotWorseGate) else 0.0
        design = replace(
            _design(policy, gate, Kind.NOT_WORSE, limit, documents),
            expected=guess.difference,
            discordance=guess.discordance,
        )
        found = forecast_not_worse(design, guess.difference, guess.discordance, runs=_FORECASTS)
        return found, (
            f"an adapter that differs on {guess.discordance:g} of the documents, with a true difference of "
            f"{guess.difference:g},"
        )
    if isinstance(gate, FloorGate | CeilingGate) and 0.0 <= gate.threshold <= 1.0:
        rate = _just_shown(gate, policy.samples_of(gate.suite) or documents)
        if rate is None:
            return None
        kind = Kind.FLOOR if isinstance(gate, FloorGate) else Kind.CEILING
        design = _design(policy, gate, kind, gate.threshold, documents)
        found = forecast_mean(design, rate, runs=_FORECASTS)
        return (
            found,
            f"an adapter with a true mean of {rate:g}, which as many fixed documents would just show,",
        )
    return None


def _design(
    policy: Policy, gate: StatisticalGate, kind: Kind, limit: float, documents: int
) -> SequentialDesign:
    return SequentialDesign(
        kind,
        limit,
        documents=documents,
        planned=policy.samples_of(gate.suite),
        alpha=gate.alpha,
        claim=Claim(policy.suites[gate.suite].claim or "population"),
    )


def _just_shown(gate: FloorGate | CeilingGate, n: int) -> float | None:
    """Return the true mean nearest to the limit that `n` fixed documents show with a power of 0.8; None if none."""
    if isinstance(gate, FloorGate):
        return detectable_rate(n, gate.threshold, gate.alpha)
    rate = detectable_rate(n, 1.0 - gate.threshold, gate.alpha)
    return None if rate is None else round(1.0 - rate, 4)


def _note(
    policy: Policy, gate: Gate, sizes: Mapping[str, int], documents: Mapping[str, int]
) -> SampleNote | None:
    if not isinstance(gate, SuiteGate):
        return None
    n = sizes[gate.suite]
    if policy.suites[gate.suite].mode == "sequential":
        return _sequential_note(policy, gate, n, documents.get(gate.suite, n))
    if isinstance(gate, FloorGate):
        needed = least_successes(n, gate.threshold, gate.alpha)
        return _limit_note(gate, n, needed, "at least", "floor")
    if isinstance(gate, CeilingGate):
        allowed = most_successes(n, gate.threshold, gate.alpha)
        return _limit_note(gate, n, allowed, "at most", "ceiling")
    if isinstance(gate, NotWorseGate):
        return _difference_note(gate, -gate.margin, n)
    if isinstance(gate, BetterGate):
        return _difference_note(gate, gate.by, n)
    return None


def _sequential_note(policy: Policy, gate: SuiteGate, n: int, documents: int) -> SampleNote | None:
    found = _forecast(policy, gate, documents)
    if found is None:
        return None
    forecast, who = found
    text = (
        f"{who} is expected to need {forecast.mean:.0f} of {n}, in nine runs of ten at most "
        f"{forecast.ninth_decile:.0f}, and passes with probability {forecast.passes:.2f}"
    )
    power = gate.planning.power if isinstance(gate, NotWorseGate | BetterGate) else _POWER
    adequate = forecast.passes >= power
    return SampleNote(gate.id, n, adequate, text if adequate else f"{text}, below {power:g}")


def _limit_note(
    gate: FloorGate | CeilingGate, n: int, count: int | None, relation: str, word: str
) -> SampleNote:
    if count is None:
        text = f"no result on {n} documents can show the {word} of {gate.threshold:g}"
        return SampleNote(gate.id, n, False, text)
    text = f"{relation} {count} of {n} documents must count to show the {word} of {gate.threshold:g}"
    rate = _just_shown(gate, n)
    if rate is not None:
        text += f"; a true rate of {rate:g} does so with probability {_POWER:g}"
    return SampleNote(gate.id, n, True, text)


def _difference_note(gate: NotWorseGate | BetterGate, limit: float, n: int) -> SampleNote:
    guess = gate.planning
    chance = not_worse_power(n, -limit, guess.discordance, guess.difference, gate.alpha)
    what = f"the margin of {-limit:g}" if limit <= 0.0 else f"the gain of {limit:g} asked for"
    other = "the base" if gate.than == "base" else gate.than
    text = (
        f"on {n} documents an adapter that differs from {other} on {guess.discordance:g} of them, with a true "
        f"difference of {guess.difference:g}, passes {what} with probability {chance:.2f}"
    )
    least = detectable_margin(n, guess.discordance, guess.difference, gate.alpha, guess.power)
    adequate = chance >= guess.power
    if not adequate:
        more = documents_for_not_worse(-limit, guess.discordance, guess.difference, gate.alpha, guess.power)
        text += f", below {guess.power:g}"
        text += f"; it takes about {more} documents" if more is not None else ""
        text += f", or a margin of {least:g}" if least is not None and limit <= 0.0 else ""
    return SampleNote(gate.id, n, adequate, text, least if limit <= 0.0 else None)
