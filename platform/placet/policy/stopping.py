"""When may a sequential run stop? As soon as every gate on the suite is decided, or a required one has failed.

Guarantees: it is asked of the very tests that the verdict plays again, so that a run which stops here is one that
the verdict can decide. It only says when enough was run; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from placet.domain.records import Outcome, PlannedSuite
from placet.policy.gates.better import BetterGate
from placet.policy.gates.ceiling import CeilingGate
from placet.policy.gates.floor import FloorGate
from placet.policy.gates.not_worse import NotWorseGate
from placet.policy.model import OtherGate, SuiteGate
from placet.policy.schema import Policy
from placet.policy.sequential import companions_of, design_of, difference_design, testable
from placet.stats.sequential import Kind, SequentialDesign, SequentialTest


class Watch:
    """Takes a run's values chunk by chunk and says when it may stop.

    Args:
        policy: The policy whose gates rest on the suite.
        planned: The suite as planned, sequential.
        others: What there is to compare with: ``base`` and the names of the plan's references.
        higher_is_better: The metric's good direction.
        companions: Document → value of the base's run that the plan names to steady comparisons with it.
    """

    def __init__(
        self,
        policy: Policy,
        planned: PlannedSuite,
        others: Sequence[str],
        *,
        higher_is_better: bool,
        companions: Mapping[int, float] | None = None,
    ) -> None:
        self._sign = 1.0 if higher_is_better else -1.0
        self._tests: list[tuple[SuiteGate, str, SequentialTest]] = []
        # The verdict says what is wrong with such a run; until then everything is run.
        self._never = not testable(planned.value_range)
        self._within = planned.value_range or (0.0, 1.0)
        for gate in policy.gates_on(planned.suite.id):
            than = _than(gate, others)
            steadied = None
            if companions is not None and than == "base":
                steadied = companions_of(planned, companions, higher_is_better=higher_is_better)
            design = _design(gate, planned, steadied)
            # A gate that has nothing to compare with is MISSING whatever is run.
            if design is not None and than is not None:
                self._tests.append((gate, than, SequentialTest(design)))

    @property
    def settled(self) -> bool:
        """Whether nothing that is still to run could change the decision."""
        if self._never:
            return False
        failed = any(gate.required and test.outcome is Outcome.FAIL for gate, _, test in self._tests)
        return failed or all(test.ended for _, _, test in self._tests)

    def take(self, own: Sequence[float], others: Mapping[str, Sequence[float]]) -> None:
        """Take the next values in the plan's order: the adapter's, and on the same documents those of `others`."""
        low, high = self._within
        if not all(low <= value <= high for values in (own, *others.values()) for value in values):
            self._never = True
        for _, than, test in self._tests:
            beside = others[than] if than else (0.0,) * len(own)
            for mine, other in zip(own, beside, strict=True):
                if self._never or test.ended:
                    break
                test.update(self._sign * (mine - other) if than else mine)


def _design(
    gate: SuiteGate, planned: PlannedSuite, companions: tuple[float, ...] | None
) -> SequentialDesign | None:
    if isinstance(gate, NotWorseGate):
        return difference_design(gate, -gate.margin, planned, companions)
    if isinstance(gate, BetterGate):
        return difference_design(gate, gate.by, planned, companions)
    if isinstance(gate, FloorGate | CeilingGate) and 0.0 <= gate.threshold <= 1.0:
        kind = Kind.FLOOR if isinstance(gate, FloorGate) else Kind.CEILING
        return design_of(gate, planned, kind, gate.threshold)
    return None


def _than(gate: SuiteGate, others: Sequence[str]) -> str | None:
    """Return whose values the gate compares with; empty for nobody's, None if they are not there."""
    if not isinstance(gate, OtherGate):
        return ""
    if gate.than in others:
        return gate.than
    return "base" if gate.without_release == "base" else None
