"""Gate kind `provenance`: it is known, and signed for, how the weights came to be."""

from __future__ import annotations

from typing import Literal

from placet.domain.digests import Digest, short
from placet.domain.records import Outcome
from placet.domain.text import plural
from placet.policy.ancestry import ancestors_of, no_statement, statements_about, who_is
from placet.policy.evidence import Evidence
from placet.policy.judgement import Judgement
from placet.policy.model import Gate, Setting


class ProvenanceGate(Gate):
    """A trainer signed a training statement for these weights and for every adapter they were continued from."""

    kind: Literal["provenance"]


def judge_provenance_gate(gate: ProvenanceGate, evidence: Evidence, setting: Setting) -> Judgement:
    """Return PASS if the chain of training statements is complete, signed by trainers and all on this base.

    MISSING where a statement is not there or not signed by a trainer, FAIL where one names another base, two
    contradict each other, or the chain runs in a circle. Statements not signed by a trainer count for nothing.
    """
    cited: list[Digest] = []
    verdict = _walk(evidence, evidence.adapter.weights_id, (), cited)
    if verdict is not None:
        return verdict.citing(*cited)
    ancestors = len(ancestors_of(evidence))
    chain = f" and for {plural(ancestors, 'adapter')} it was continued from" if ancestors else ""
    return Judgement(
        Outcome.PASS,
        f"A trainer signed how these weights were trained on this base{chain}.",
        comparison="a trainer's statement for the weights and every ancestor",
        n=1 + ancestors,
    ).citing(*cited)


def _walk(
    evidence: Evidence, weights_id: Digest, path: tuple[Digest, ...], cited: list[Digest]
) -> Judgement | None:
    """Return what is wrong with the chain from `weights_id` on; None if nothing is. Fills `cited`."""
    who = who_is(evidence, weights_id)
    if weights_id in path:
        return Judgement(
            Outcome.FAIL,
            f"{who} is named as its own ancestor.",
            "Have the trainer state what training started from.",
        )
    statements, _ = statements_about(evidence, weights_id)
    cited.extend(statement.record for statement in statements)
    if not statements:
        return no_statement(evidence, weights_id)
    if len({(statement.base, frozenset(statement.parents)) for statement in statements}) > 1:
        told = ", ".join(short(statement.record) for statement in statements)
        return Judgement(
            Outcome.FAIL,
            f"{who} has training statements that contradict each other: {told}.",
            "Find out which is true; the same weights cannot have been trained in two ways.",
        )
    first = statements[0]
    if first.base != evidence.base.id:
        named = "no single base" if first.base is None else f"base {short(first.base)}"
        return Judgement(
            Outcome.FAIL,
            f"{who} was trained on {named}, not on {evidence.base.label} ({short(evidence.base.id)}).",
            "Submit it for the base it was trained on.",
        )
    for parent in first.parents:
        problem = _walk(evidence, parent, (*path, weights_id), cited)
        if problem is not None:
            return problem
    return None
