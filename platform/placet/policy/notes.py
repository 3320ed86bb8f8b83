"""What a gate can show on its sample, as the planner tells it."""

from __future__ import annotations

from dataclasses import dataclass

POWER = 0.8
"""With which probability an adapter as good as expected should pass a gate whose policy names no power."""


@dataclass(frozen=True, slots=True)
class GroupNote:
    """What one group can show by itself.

    Attributes:
        name: The group's name.
        n: Documents it gets.
        detectable: The least margin, or true mean, that passes in it with the power asked for; None if none does.
        broken: The true loss, or mean, from which on it is shown to fail with that power, by the first step of Holm's
            procedure; None if nothing shows it.
    """

    name: str
    n: int
    detectable: float | None
    broken: float | None


@dataclass(frozen=True, slots=True)
class SampleNote:
    """What a gate can show on its sample.

    Attributes:
        gate: The gate's id.
        n: Documents it gets; of a gate on groups, its smallest group.
        adequate: Whether that is enough.
        text: A sentence for people.
        detectable: What the sample just shows with the power asked for; None if nothing does.
        measures: What `detectable` is: ``margin``, ``gain`` (a true difference) or ``mean`` (a true one).
        groups: The groups of a gate on groups, where they are known.
    """

    gate: str
    n: int
    adequate: bool
    text: str
    detectable: float | None
    measures: str
    groups: tuple[GroupNote, ...] = ()

    @property
    def least(self) -> str:
        """What the sample just shows, in words; empty if nothing."""
        return "" if self.detectable is None else f"{self.measures} {self.detectable:g}"

    @property
    def full_text(self) -> str:
        """The sentence, and what the sample just shows."""
        return f"{self.text} (just shown: {self.least})" if self.least else self.text


def group_lines(note: SampleNote) -> tuple[str, ...]:
    """Return a line for each group: what it just shows by itself, and what in it is just shown to fail."""
    broken = "a true loss" if note.measures == "margin" else "a true mean"

    def line(group: GroupNote) -> str:
        shows = (
            "shows nothing"
            if group.detectable is None
            else f"shows a {note.measures} of {group.detectable:g}"
        )
        fails = "nothing" if group.broken is None else f"{broken} of {group.broken:g}"
        return f"{group.name}, {group.n} documents: {shows} by itself; {fails} is shown to fail"

    return tuple(line(group) for group in note.groups)
