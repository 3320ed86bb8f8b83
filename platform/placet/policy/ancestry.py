"""Training statements of an adapter and of all it was continued from: are they all there?

Guarantees: a statement counts only if a trainer signed it; and what is told of "all training" is told of the adapter
and of every ancestor that a statement names, so that leaving a parent's statement out leaves a gap that is seen.
"""

from __future__ import annotations

from placet.domain.digests import Digest, short
from placet.domain.text import plural
from placet.policy.evidence import Evidence, TrainingStatement
from placet.policy.judgement import Judgement, missing

_SIGN = "Train with the recorder on, or have the trainer sign a statement for these weights."


def statements_about(evidence: Evidence, weights_id: Digest) -> tuple[list[TrainingStatement], int]:
    """Return the trainers' statements about `weights_id`, and how many others there are."""
    about = [statement for statement in evidence.training if statement.weights_id == weights_id]
    signed = [statement for statement in about if statement.by_trainer]
    return signed, len(about) - len(signed)


def who_is(evidence: Evidence, weights_id: Digest) -> str:
    """Return how the adapter or an ancestor of it is called."""
    return (
        "The adapter" if weights_id == evidence.adapter.weights_id else f"Parent adapter {short(weights_id)}"
    )


def no_statement(evidence: Evidence, weights_id: Digest) -> Judgement:
    """Return the judgement that no trainer signed a statement about these weights."""
    _, unsigned = statements_about(evidence, weights_id)
    note = f" ({plural(unsigned, 'statement')} not signed by a trainer)" if unsigned else ""
    return missing(
        f"{who_is(evidence, weights_id)} has no training statement signed by a trainer{note}.", _SIGN
    )


def ancestors_of(evidence: Evidence) -> tuple[Digest, ...]:
    """Return the weights ids of all that the adapter was continued from, by trainers' word, nearest first."""
    found: dict[Digest, None] = {}
    todo = [evidence.adapter.weights_id]
    while todo:
        for statement in statements_about(evidence, todo.pop(0))[0]:
            new = [parent for parent in statement.parents if parent not in found]
            found.update(dict.fromkeys(new))
            todo.extend(new)
    return tuple(found)


def all_statements(evidence: Evidence) -> tuple[TrainingStatement, ...] | Judgement:
    """Return every trainer's statement about the adapter and its ancestors; MISSING where one of them has none."""
    found: dict[Digest, TrainingStatement] = {}
    for weights_id in dict.fromkeys((evidence.adapter.weights_id, *ancestors_of(evidence))):
        signed, _ = statements_about(evidence, weights_id)
        if not signed:
            return no_statement(evidence, weights_id).citing(*found)
        found.update((statement.record, statement) for statement in signed)
    return tuple(found.values())
