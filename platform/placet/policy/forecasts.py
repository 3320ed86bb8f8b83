"""Sequential gates before they run: how many documents they are expected to take, and what they can show with all.

Guarantees: probabilities are about adapters drawn as for a fixed sample (`placet.stats.planning`), so that the notes on
fixed and on sequential gates compare. Of a benchmark that may be run as a whole they are summed
(`placet.stats.census`), else simulated by the test itself with a fixed seed (`placet.stats.simulation`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from placet.policy.gates.better import BetterGate
from placet.policy.gates.ceiling import CeilingGate
from placet.policy.gates.floor import FloorGate
from placet.policy.gates.not_worse import NotWorseGate
from placet.policy.model import Gate, SuiteGate
from placet.policy.notes import POWER, SampleNote
from placet.policy.schema import DEFAULT_CHUNK, Policy
from placet.stats.census import (
    documents_for_known,
    known_gain,
    known_margin,
    known_power,
    known_rate,
    known_rate_power,
)
from placet.stats.planning import detectable_rate, documents_for_not_worse
from placet.stats.sequential import Claim, Kind, SequentialDesign

if TYPE_CHECKING:
    from placet.stats.simulation import Forecast

_RUNS = 400
"""Runs simulated for a forecast: the expected number of documents is then within a few percent."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """The adapter that a gate's author expects, in words, and what its runs are expected to take."""

    who: str
    forecast: Forecast
    passes: float


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
        design = _design(policy, gate, documents)
        expected = None if design is None else _expected(gate, design)
        if expected is None:
            return drawn
        most = max(most, math.ceil(expected.forecast.mean))
    chunk = policy.suites[suite].chunk or DEFAULT_CHUNK
    return min(drawn, math.ceil(most / chunk) * chunk)


def sequential_note(policy: Policy, gate: SuiteGate, documents: int) -> SampleNote | None:
    """Return what a gate can show on a sequential suite of `documents`; None if it is no test of 0/1 values."""
    design = _design(policy, gate, documents)
    if design is None:
        return None
    n, expected = design.most, _expected(gate, design)
    comparing = isinstance(gate, NotWorseGate | BetterGate)
    power = gate.planning.power if isinstance(gate, NotWorseGate | BetterGate) else POWER
    measures = ("margin" if design.limit > 0.0 else "gain") if design.kind is Kind.NOT_WORSE else "mean"
    if expected is None:
        text = f"no result on {n} documents can show the {design.kind} of {design.limit:g}, whenever it stops"
        return SampleNote(gate.id, n, False, text, None, measures)
    forecast = expected.forecast
    text = (
        f"{expected.who} is expected to need {forecast.mean:.0f} of {n}, in nine runs of ten at most "
        f"{forecast.ninth_decile:.0f}, and passes with probability {expected.passes:.2f}"
    )
    least = _least(gate, design, power)
    adequate = expected.passes >= power
    if not adequate:
        text += f", below {power:g}" + (_remedy(gate, design, least) if comparing else "")
    return SampleNote(gate.id, n, adequate, text, least, measures)


def _design(policy: Policy, gate: Gate, documents: int) -> SequentialDesign | None:
    """Return the test that a gate makes of a sequential suite; None if it makes none of 0/1 values."""
    if isinstance(gate, NotWorseGate | BetterGate):
        kind, limit = Kind.NOT_WORSE, gate.margin if isinstance(gate, NotWorseGate) else 0.0
    elif isinstance(gate, FloorGate | CeilingGate) and 0.0 <= gate.threshold <= 1.0:
        kind, limit = Kind.FLOOR if isinstance(gate, FloorGate) else Kind.CEILING, gate.threshold
    else:
        return None
    design = SequentialDesign(
        kind,
        limit,
        documents=documents,
        planned=policy.samples_of(gate.suite),
        alpha=gate.alpha,
        claim=Claim(policy.suites[gate.suite].claim or "population"),
    )
    if isinstance(gate, NotWorseGate | BetterGate):
        return replace(design, expected=gate.planning.difference, discordance=gate.planning.discordance)
    return design


def _expected(gate: Gate, design: SequentialDesign) -> _Expected | None:
    from placet.stats.simulation import forecast_mean, forecast_not_worse

    if isinstance(gate, NotWorseGate | BetterGate):
        guess = gate.planning
        found = forecast_not_worse(design, guess.difference, guess.discordance, runs=_RUNS, drawn=True)
        who = (
            f"an adapter that differs on {guess.discordance:g} of the documents, with a true difference of "
            f"{guess.difference:g},"
        )
        passes = found.passes
        if _whole(design):
            passes = known_power(design.documents, design.limit, guess.discordance, guess.difference)
        return _Expected(who, found, passes)
    rate, why = _rate_expected(design)
    if rate is None:
        return None
    found = forecast_mean(design, rate, runs=_RUNS, drawn=True)
    passes = _known_rate_power(design, rate) if _whole(design) else found.passes
    return _Expected(f"an adapter with a true mean of {rate:g}, {why},", found, passes)


def _rate_expected(design: SequentialDesign) -> tuple[float | None, str]:
    """Return the mean nearest to the limit that as many fixed documents show, or all of them as a benchmark."""
    upward = design.kind is Kind.FLOOR
    limit = design.limit if upward else round(1.0 - design.limit, 6)
    rate, why = (
        detectable_rate(design.most, limit, design.alpha, POWER),
        "which as many fixed documents would just show",
    )
    if rate is None and _whole(design):
        rate, why = known_rate(design.documents, limit, POWER), "which all documents just show"
    return (rate if rate is None or upward else round(1.0 - rate, 4)), why


def _least(gate: Gate, design: SequentialDesign, power: float) -> float | None:
    """Return the least margin, gain or mean that all documents show with `power`."""
    from placet.stats.simulation import forecast_gain, forecast_margin, forecast_rate

    whole, size = _whole(design), design.documents
    if isinstance(gate, NotWorseGate | BetterGate) and design.limit == 0.0:
        share = gate.planning.discordance
        return known_gain(size, share, power) if whole else forecast_gain(design, share, power, runs=_RUNS)
    if isinstance(gate, NotWorseGate):
        share, difference = gate.planning.discordance, gate.planning.difference
        if whole:
            return known_margin(size, share, difference, power)
        return forecast_margin(design, difference, share, power, runs=_RUNS)
    if not whole:
        return forecast_rate(design, power, runs=_RUNS)
    if design.kind is Kind.FLOOR:
        return known_rate(size, design.limit, power)
    rate = known_rate(size, round(1.0 - design.limit, 6), power)
    return None if rate is None else round(1.0 - rate, 4)


def _known_rate_power(design: SequentialDesign, rate: float) -> float:
    if design.kind is Kind.FLOOR:
        return known_rate_power(design.documents, design.limit, rate)
    return known_rate_power(design.documents, round(1.0 - design.limit, 6), 1.0 - rate)


def _remedy(gate: Gate, design: SequentialDesign, least: float | None) -> str:
    if not isinstance(gate, NotWorseGate | BetterGate):
        return ""
    guess = gate.planning
    if _whole(design):
        more = documents_for_known(
            design.limit, guess.discordance, guess.difference, guess.power, more_than=design.documents
        )
        word = "about"
    else:
        # A test that may stop at any time needs more than one that looks once.
        more = documents_for_not_worse(
            design.limit, guess.discordance, guess.difference, gate.alpha, guess.power
        )
        word = "more than"
    text = f"; it takes {word} {more} documents" if more is not None else ""
    if least is not None:
        text += f", or a margin of {least:g}" if design.limit > 0.0 else ""
    return text


def _whole(design: SequentialDesign) -> bool:
    """Return whether the claim is about the benchmark alone, and all of it may be run."""
    return design.claim is Claim.BENCHMARK and design.most == design.documents
