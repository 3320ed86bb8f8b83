"""The kinds of gate: a literal table of what a policy may say and how it is judged.

To add a kind, add a module with its model and its `judge_…` function, and one line to :data:`KINDS`. The policy
schema, the loader, the decision and the test of the reference page read this table; nothing is registered by import.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from placet.policy.evidence import Evidence
from placet.policy.gates.base_supported import BaseSupportedGate, judge_base_supported_gate
from placet.policy.gates.better import BetterGate, judge_better_gate
from placet.policy.gates.ceiling import CeilingGate, judge_ceiling_gate
from placet.policy.gates.contamination import ContaminationGate, judge_contamination_gate
from placet.policy.gates.documentation import DocumentationGate, judge_documentation_gate
from placet.policy.gates.evidence_age import EvidenceAgeGate, judge_evidence_age_gate
from placet.policy.gates.floor import FloorGate, judge_floor_gate
from placet.policy.gates.intake import IntakeGate, judge_intake_gate
from placet.policy.gates.leakage import LeakageGate, judge_leakage_gate
from placet.policy.gates.license import LicenseGate, judge_license_gate
from placet.policy.gates.no_new_failure import NoNewFailureGate, judge_no_new_failure_gate
from placet.policy.gates.not_worse import NotWorseGate, judge_not_worse_gate
from placet.policy.gates.provenance import ProvenanceGate, judge_provenance_gate
from placet.policy.gates.subgroups import SubgroupsGate, judge_subgroups_gate
from placet.policy.judgement import Judgement
from placet.policy.model import Gate, Setting


@dataclass(frozen=True, slots=True)
class GateKind:
    """A kind of gate: the name in a policy, the fields it takes, and how evidence is judged by it.

    `judge` takes the gate (an instance of `model`), the evidence, and what it is judged in; it never raises for
    what the evidence holds.
    """

    name: str
    model: type[Gate]
    judge: Callable[[Any, Evidence, Setting], Judgement]


KINDS: tuple[GateKind, ...] = (
    GateKind("intake", IntakeGate, judge_intake_gate),
    GateKind("provenance", ProvenanceGate, judge_provenance_gate),
    GateKind("floor", FloorGate, judge_floor_gate),
    GateKind("ceiling", CeilingGate, judge_ceiling_gate),
    GateKind("not_worse", NotWorseGate, judge_not_worse_gate),
    GateKind("better", BetterGate, judge_better_gate),
    GateKind("no_new_failure", NoNewFailureGate, judge_no_new_failure_gate),
    GateKind("subgroups", SubgroupsGate, judge_subgroups_gate),
    GateKind("contamination", ContaminationGate, judge_contamination_gate),
    GateKind("leakage", LeakageGate, judge_leakage_gate),
    GateKind("license", LicenseGate, judge_license_gate),
    GateKind("base_supported", BaseSupportedGate, judge_base_supported_gate),
    GateKind("documentation", DocumentationGate, judge_documentation_gate),
    GateKind("evidence_age", EvidenceAgeGate, judge_evidence_age_gate),
)

_BY_NAME = {kind.name: kind for kind in KINDS}


def kind_of(gate: Gate) -> GateKind:
    """Return the table's row for `gate`."""
    return _BY_NAME[gate.kind]
