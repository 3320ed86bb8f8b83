"""Does a policy fit the suites it names? Held against what they declare, before anything is measured.

Guarantees: no plan is made in which a gate could not be missed, or could not be met, by any values that its suite's
metric can have; nor one that stops early on a metric of which it is not known what values it can have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from placet.policy.gates.better import BetterGate
from placet.policy.gates.ceiling import CeilingGate
from placet.policy.gates.contamination import ContaminationGate
from placet.policy.gates.floor import FloorGate
from placet.policy.gates.leakage import LeakageGate
from placet.policy.gates.no_new_failure import NoNewFailureGate
from placet.policy.gates.not_worse import NotWorseGate
from placet.policy.gates.subgroups import SubgroupsGate
from placet.policy.loader import refuse
from placet.policy.model import SuiteGate
from placet.policy.schema import Policy
from placet.policy.sequential import testable
from placet.policy.yamltree import Location, read_yaml
from placet.stats.bounds import Range


@dataclass(frozen=True, slots=True)
class KnownSuite:
    """What is known of a suite before it is measured.

    Attributes:
        values: The range its metric is declared to have; None if none is declared.
        documents: How many documents it has; None where they were not counted.
    """

    values: Range | None
    documents: int | None = None


def counts_documents(policy: Policy, suite: str) -> bool:
    """Return whether a limit of a gate on `suite` is a number or share of its documents."""
    return any(isinstance(gate, LeakageGate | ContaminationGate) for gate in policy.gates_on(suite))


def require_fit(policy: Policy, suites: Mapping[str, KnownSuite], path: Path) -> None:
    """Refuse a policy that does not fit its suites.

    Args:
        policy: The policy.
        suites: What is known of its suites; nothing is asked of one that is not among them.
        path: The file that the policy was read from, for its lines.

    Raises:
        UsageError: It does not fit; names file, line and fix.
    """
    problems = tuple(misfits(policy, suites))
    if problems:
        refuse(read_yaml(path), problems)


def misfits(policy: Policy, suites: Mapping[str, KnownSuite]) -> Iterator[tuple[Location, str]]:
    """Yield where a policy asks what its suites cannot show, or cannot but show."""
    for name, sampling in policy.suites.items():
        known = suites.get(name)
        if known is not None and sampling.mode == "sequential" and not testable(known.values):
            said = (
                "does not declare its range"
                if known.values is None
                else f"has the range {_told(known.values)}"
            )
            yield (
                ("suites", name, "mode"),
                f"a sequential test is of a metric between 0 and 1, and that of suite {name} {said}; write mode: "
                "fixed, or declare `range: [0, 1]` in its suite.yaml if that is so",
            )
    for index, gate in enumerate(policy.gates):
        if not isinstance(gate, SuiteGate) or gate.suite not in suites:
            continue
        known, drawn = suites[gate.suite], policy.samples_of(gate.suite)
        documents = (
            known.documents if drawn is None or known.documents is None else min(drawn, known.documents)
        )
        if known.values is not None:
            for field, text in _beyond(gate, known.values):
                yield (
                    ("gates", index, field),
                    f"{text}; suite {gate.suite} has the range {_told(known.values)}",
                )
        if documents is not None:
            for field, text in _beyond_count(gate, documents):
                yield (
                    ("gates", index, field),
                    f"{text}; suite {gate.suite} is measured on {documents} documents",
                )


def _told(values: Range) -> str:
    return f"{values[0]:g} to {values[1]:g}"


def _beyond(gate: SuiteGate, values: Range) -> Iterator[tuple[str, str]]:
    """Yield the fields of a gate whose limits no value of the range can miss, or none can meet."""
    low, high = values
    whole = isinstance(gate, FloorGate | CeilingGate)
    floor = gate.threshold if isinstance(gate, FloorGate) else getattr(gate, "floor", None)
    ceiling = gate.threshold if isinstance(gate, CeilingGate) else getattr(gate, "ceiling", None)
    if floor is not None and not low < floor <= high:
        never = "nothing can miss this floor" if floor <= low else "nothing can reach this floor"
        yield "threshold" if whole else "floor", f"{never}; write another"
    if ceiling is not None and not low <= ceiling < high:
        never = "nothing can miss this ceiling" if ceiling >= high else "nothing can keep this ceiling"
        yield "threshold" if whole else "ceiling", f"{never}; write another"
    margin = gate.margin if isinstance(gate, NotWorseGate | SubgroupsGate) else None
    if margin is not None and margin >= high - low:
        yield "margin", "nothing can lose that much; write a smaller one"
    if isinstance(gate, BetterGate) and gate.by >= high - low:
        yield "by", "nothing can gain more than that; write a smaller one"
    if isinstance(gate, LeakageGate) and gate.exposure_bits is not None and gate.exposure_bits > high:
        yield "exposure_bits", "no canary can have that exposure, so none would count; lower it"
    if isinstance(gate, NoNewFailureGate) and not low < gate.passes_at <= high:
        yield "passes_at", "no document tells a pass from a failure by that; write a value within the range"


def _beyond_count(gate: SuiteGate, documents: int) -> Iterator[tuple[str, str]]:
    """Yield the fields of a gate whose limits so many documents cannot break."""
    if isinstance(gate, LeakageGate):
        limits = (gate.max_recovered, documents if gate.max_excess is None else gate.max_excess)
        if min(limits) >= documents:
            yield "max_recovered", "there are no more canaries to recover, so nothing can miss this; lower it"
    if isinstance(gate, ContaminationGate) and gate.max_share * documents >= max(
        documents - 1, documents / 2 + 1
    ):
        yield "max_share", "nothing but a suite seen as a whole would miss this; lower it"
