"""Holds two sets of answers against each other, request by request and decision by decision."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.engine.commands import Answer


@dataclass(frozen=True)
class Difference:
    """`largest` in nats; `beyond` requests differ by more than the limit; `decisions` documents come out otherwise.

    `ties` documents do so too, between options whose scores are within twice the limit or noise floor of each other.
    """

    requests: int
    largest: float
    beyond: int
    documents: int
    decisions: int
    ties: int
    texts: int


def compare(ours: list[list[Answer]], theirs: list[list[Answer]], floor: float = 0.0) -> Difference:
    """Compare answers by document; `floor` is a noise floor in nats that counts as no difference.

    Raises:
        ValueError: They are not answers to the same requests.
    """
    largest, beyond, requests, decisions, ties, texts = 0.0, 0, 0, 0, 0, 0
    for mine, other in zip(ours, theirs, strict=True):
        if len(mine) != len(other):
            raise ValueError("the two sides answered different requests")
        if mine[0][0] is None:
            texts += mine[0][2] != other[0][2]
            requests += 1
            continue
        limits = [max(1e-4, 1e-6 * abs(b[0]), floor) for b in other]
        gaps = [abs(a[0] - b[0]) for a, b in zip(mine, other, strict=True)]
        requests += len(gaps)
        largest = max(largest, *gaps)
        beyond += sum(gap > limit for gap, limit in zip(gaps, limits, strict=True))
        first, second = (max(range(len(s)), key=lambda i: s[i][0]) for s in (mine, other))
        if first != second:
            if abs(other[first][0] - other[second][0]) <= 2 * max(limits):
                ties += 1
            else:
                decisions += 1
    return Difference(requests, largest, beyond, len(ours), decisions, ties, texts)
