"""From a policy and evidence to a verdict. Pure.

Guarantees: ALLOW is said only if every required gate passed; a gate that failed or whose evidence is missing denies;
one that is inconclusive sends the adapter to people; one that could not be judged, or evidence that is not all
there, is an error and no verdict. So taking evidence away never yields ALLOW, and neither does adding a gate.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from placet.domain.digests import short
from placet.domain.errors import UndecidedError
from placet.domain.records import Decision, GateResult, LedgerHead, Outcome, Plan, Verdict
from placet.domain.text import plural
from placet.policy.accounts import own_entry
from placet.policy.conditions import questions_of
from placet.policy.evidence import Evidence
from placet.policy.gates import kind_of
from placet.policy.judgement import Judgement, missing
from placet.policy.model import Gate, Setting, SuiteGate
from placet.policy.runs import subjects_of
from placet.policy.schema import Policy

_GATHER = "gather the evidence again; run `placet audit` if that does not help"


def decide(policy: Policy, evidence: Evidence, head: LedgerHead, decided_at: datetime) -> Verdict:
    """Return what `policy` says about `evidence`.

    Args:
        policy: The policy.
        evidence: Everything known of the adapter.
        head: The ledger state the evidence was read at.
        decided_at: Now, with its zone.

    Raises:
        UndecidedError: Evidence listed by the ledger is not here, is of another subject or policy, or a required
            gate could not be judged.
    """
    plan = _require_whole(policy, evidence)
    evidence = _with_questions(policy, evidence)
    setting = Setting(
        at=decided_at,
        gates={gate.id: gate for gate in policy.gates},
        judge=lambda gate, other: kind_of(gate).judge(gate, other, setting),
    )
    results = tuple(_result(policy, gate, plan, evidence, setting) for gate in policy.gates)
    return Verdict(
        adapter=evidence.adapter,
        base=evidence.base,
        policy=policy.ref,
        plan=evidence.plan,
        decision=decision_of(results),
        gates=results,
        evidence=tuple(sorted(set(evidence.records()))),
        plans_on_weights=tuple(entry.record for entry in evidence.plans),
        review=policy.review_rule,
        head=head,
        decided_at=decided_at,
    )


def decision_of(results: tuple[GateResult, ...]) -> Decision:
    """Return the decision that gate results make.

    Raises:
        UndecidedError: There is no required result, or one is an error.
    """
    required = [result for result in results if result.required]
    if not required:
        raise UndecidedError("no required gate was judged", hint="a policy needs at least one required gate")
    errors = [result for result in required if result.outcome is Outcome.ERROR]
    if errors:
        told = " ".join(f"Gate {result.gate}: {result.reason}" for result in errors)
        raise UndecidedError(f"could not decide. {told}", hint=" ".join(result.fix for result in errors))
    outcomes = {result.outcome for result in required}
    if outcomes & {Outcome.FAIL, Outcome.MISSING}:
        return Decision.DENY
    return Decision.ALLOW if outcomes == {Outcome.PASS} else Decision.NEEDS_REVIEW


def _require_whole(policy: Policy, evidence: Evidence) -> Plan:
    """Return the verdict's plan.

    Raises:
        UndecidedError: The evidence is not whole, or not about what is asked.
    """
    if evidence.policy != policy.ref:
        raise UndecidedError("the evidence was gathered for another policy", hint=_GATHER)
    held = list(evidence.records())
    left_out = sorted(set(evidence.listed) - set(held))
    unlisted = sorted(set(held) - set(evidence.listed))
    if left_out or unlisted:
        which = "on the ledger and not given" if left_out else "given and not on the ledger"
        told = ", ".join(short(record) for record in left_out or unlisted)
        raise UndecidedError(f"evidence is {which}: {told}", hint=_GATHER)
    if len(set(held)) != len(held):
        raise UndecidedError("a record was given twice", hint=_GATHER)
    plan = evidence.own_plan()
    if plan is None:
        raise UndecidedError(f"plan {short(evidence.plan)} is not among the evidence", hint=_GATHER)
    named = (plan.adapter.id, plan.base.id, plan.policy.digest)
    if named != (evidence.adapter.id, evidence.base.id, evidence.policy.digest):
        raise UndecidedError(
            "the plan names another adapter, base or policy", hint="plan again: run `placet gate`"
        )
    plans = {entry.record for entry in evidence.plans}
    for entry in evidence.plans:
        if evidence.adapter.weights_id not in subjects_of(entry.plan):
            raise UndecidedError(f"plan {short(entry.record)} is about other weights", hint=_GATHER)
    for run in evidence.runs:
        if run.measurement.plan not in plans:
            raise UndecidedError(f"run {short(run.record)} belongs to no plan that is given", hint=_GATHER)
    return plan


def _result(policy: Policy, gate: Gate, plan: Plan, evidence: Evidence, setting: Setting) -> GateResult:
    otherwise = own_entry(evidence).drawn_otherwise
    judgement = _not_as_asked(policy, gate, plan, otherwise) or kind_of(gate).judge(gate, evidence, setting)
    return GateResult(
        gate=gate.id,
        kind=gate.kind,
        outcome=judgement.outcome,
        required=gate.required,
        figure=judgement.figure,
        baseline=judgement.baseline,
        interval=judgement.interval,
        threshold=judgement.threshold,
        comparison=judgement.comparison,
        n=judgement.n,
        reason=judgement.reason,
        fix=judgement.fix,
        why=gate.why,
        waivable=gate.waivable,
        waivers_needed=gate.waivers if gate.waivers is not None else policy.review.waivers_needed,
        evidence=judgement.evidence,
        compared_with=judgement.compared_with,
        path=judgement.path,
    )


def _not_as_asked(
    policy: Policy, gate: Gate, plan: Plan, drawn_otherwise: frozenset[str]
) -> Judgement | None:
    """Return MISSING if the plan has a suite measured in another way than the policy says, or chose its documents."""
    if not isinstance(gate, SuiteGate):
        return None
    planned = next((entry for entry in plan.suites if entry.suite.id == gate.suite), None)
    if planned is None:
        return None
    sampling, again = policy.suites[gate.suite], "Plan again: run `placet gate`."
    asked = policy.samples_of(gate.suite) or planned.documents
    if len(planned.samples) != asked:
        return missing(
            f"The policy asks for {plural(asked, 'document')} of {gate.suite}; the plan has {len(planned.samples)}.",
            again,
        )
    if gate.suite in drawn_otherwise:
        return missing(
            f"The plan's documents of {gate.suite} are not those that its ledger state and draw give, in that order.",
            f"{again} Ask whoever made this one how its documents came about.",
        )
    claim = planned.sequential.claim if planned.sequential else None
    for what, wanted, is_ in (
        ("mode", sampling.mode, "sequential" if planned.sequential else "fixed"),
        ("claim", sampling.claim or "none", claim or "none"),
        ("cluster", sampling.cluster or "none", planned.cluster or "none"),
    ):
        if wanted != is_:
            return missing(
                f"The policy has {gate.suite} measured with {what} {wanted}; the plan says {is_}.", again
            )
    return None


def _with_questions(policy: Policy, evidence: Evidence) -> Evidence:
    """Return the evidence with what this policy asks beside the plans that were made under it."""
    asked, digest = questions_of(policy), policy.ref.digest
    plans = (
        replace(entry, asked=asked) if entry.plan.policy.digest == digest else entry
        for entry in evidence.plans
    )
    return replace(evidence, plans=tuple(plans))
