"""Gates on groups before they run: which margin, floor or ceiling their groups' sizes can show.

A group passes at the gate's `alpha`, and all have to. That one fails is shown by Holm's procedure, whose first step
asks ``alpha / groups`` of it; the notes say what that step shows, of 0/1 values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

from placet.policy.gates.subgroups import SubgroupsGate, pooled
from placet.policy.notes import POWER, GroupNote, SampleNote
from placet.stats.planning import (
    detectable_gain,
    detectable_margin,
    detectable_rate,
    documents_for_floor,
    documents_for_not_worse,
    planned_power,
)

_EXACT_UP_TO = 100
"""Groups are many: above this their power is that of the asymptotic test, within 0.04 of the exact one."""


def group_note(gate: SubgroupsGate, sizes: Mapping[str, int] | None, n: int) -> SampleNote | None:
    """Return what a gate on groups can show; None if it asks for a mean that is no share.

    Args:
        gate: The gate.
        sizes: Group → planned documents; None where the documents are not at hand.
        n: All planned documents of its suite.
    """
    if gate.margin is not None:
        return _margin_note(gate, gate.margin, sizes, n)
    return _limit_note(gate, sizes, n)


def _judged(gate: SubgroupsGate, sizes: Mapping[str, int]) -> dict[str, int]:
    parts = {name: (None,) * size for name, size in sizes.items() if size > 0}
    return {name: len(members) for name, members in pooled(parts, gate.min_documents).items()}


def _margin_note(gate: SubgroupsGate, margin: float, sizes: Mapping[str, int] | None, n: int) -> SampleNote:
    guess = gate.planning
    other = "the base" if gate.than == "base" else gate.than
    who = (
        f"an adapter that differs from {other} on {guess.discordance:g} of each, with a true difference of "
        f"{guess.difference:g},"
    )

    def takes(power: float) -> str:
        found = documents_for_not_worse(margin, guess.discordance, guess.difference, gate.alpha, power)
        return "more documents than can be had" if found is None else f"about {found} documents"

    if sizes is None:
        needed = documents_for_not_worse(margin, guess.discordance, guess.difference, gate.alpha, guess.power)
        text = (
            f"the sizes of its groups by {gate.by} are not known here; for {who} to pass the margin of {margin:g} with "
            f"probability {guess.power:g} a group takes {takes(guess.power)}"
        )
        return SampleNote(gate.id, n, needed is not None and n >= needed, text, None, "margin")
    groups = _judged(gate, sizes)
    # All groups have to pass: together with `power`, each with its root.
    each = guess.power ** (1.0 / len(groups))
    name, smallest = min(groups.items(), key=lambda item: (item[1], item[0]))
    chance = prod(
        planned_power(size, margin, guess.discordance, guess.difference, gate.alpha, exact_up_to=_EXACT_UP_TO)
        for size in groups.values()
    )
    least = detectable_margin(
        smallest, guess.discordance, guess.difference, gate.alpha, each, exact_up_to=_EXACT_UP_TO
    )
    text = (
        f"the smallest of {len(groups)} groups by {gate.by} is {name} with {smallest} documents; {who} passes the "
        f"margin of {margin:g} in all of them with probability {chance:.2f}"
    )
    adequate = chance >= guess.power
    if not adequate:
        text += f", below {guess.power:g}; each group takes {takes(each)}"
        text += f", or a margin of {least:g}" if least is not None else ""
    notes = _by_size(gate, groups, lambda size, holm: _margin_group(gate, margin, size, holm))
    return SampleNote(gate.id, smallest, adequate, text, least, "margin", notes)


def _limit_note(gate: SubgroupsGate, sizes: Mapping[str, int] | None, n: int) -> SampleNote | None:
    upward = gate.floor is not None
    threshold = gate.floor if gate.floor is not None else gate.ceiling
    if threshold is None or not 0.0 <= threshold <= 1.0:
        return None
    word = f"{'floor' if upward else 'ceiling'} of {threshold:g}"
    limit = threshold if upward else round(1.0 - threshold, 6)
    if sizes is None:
        # Of a group in which every document counts, so many show the limit.
        needed = documents_for_floor(limit, 1.0, gate.alpha)
        takes = "more documents than can be had" if needed is None else f"at least {needed} documents"
        text = f"the sizes of its groups by {gate.by} are not known here; to show the {word} a group takes {takes}"
        return SampleNote(gate.id, n, needed is not None and n >= needed, text, None, "mean")
    groups = _judged(gate, sizes)
    name, smallest = min(groups.items(), key=lambda item: (item[1], item[0]))
    text = f"the smallest of {len(groups)} groups by {gate.by} is {name} with {smallest} documents; "
    rate = detectable_rate(smallest, limit, gate.alpha, POWER ** (1.0 / len(groups)))
    if rate is None:
        needed = documents_for_floor(limit, 1.0, gate.alpha)
        text += f"no result there can show the {word}"
        text += f"; a group takes at least {needed} documents" if needed is not None else ""
    else:
        mean = rate if upward else round(1.0 - rate, 4)
        text += f"a true mean of {mean:g} in each of them shows the {word} in all with probability {POWER:g}"
    least = None if rate is None else rate if upward else round(1.0 - rate, 4)
    notes = _by_size(gate, groups, lambda size, holm: _rate_group(gate, limit, upward, size, holm))
    return SampleNote(gate.id, smallest, rate is not None, text, least, "mean", notes)


def _by_size(
    gate: SubgroupsGate, groups: Mapping[str, int], found: Callable[[int, float], GroupNote]
) -> tuple[GroupNote, ...]:
    """Return each group's note; `found` works one out from a size and the alpha of Holm's first step."""
    holm = gate.alpha / len(groups)
    by_size = {size: found(size, holm) for size in set(groups.values())}
    return tuple(replace(by_size[size], name=name) for name, size in groups.items())


def _margin_group(gate: SubgroupsGate, margin: float, size: int, holm: float) -> GroupNote:
    guess = gate.planning
    passes = detectable_margin(
        size, guess.discordance, guess.difference, gate.alpha, guess.power, exact_up_to=_EXACT_UP_TO
    )
    # Turned round, a loss beyond the margin is a gain of more than it.
    broken = detectable_gain(size, margin, guess.discordance, holm, guess.power, exact_up_to=_EXACT_UP_TO)
    return GroupNote("", size, passes, broken)


def _rate_group(gate: SubgroupsGate, limit: float, upward: bool, size: int, holm: float) -> GroupNote:
    passes = detectable_rate(size, limit, gate.alpha, POWER)
    broken = detectable_rate(size, round(1.0 - limit, 6), holm, POWER)
    if upward:
        return GroupNote("", size, passes, None if broken is None else round(1.0 - broken, 4))
    return GroupNote("", size, None if passes is None else round(1.0 - passes, 4), broken)
