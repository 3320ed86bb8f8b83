"""Which tokens to run, in which forward pass, so that no shared prefix is computed twice.

Scoring requests are token sequences that start at position 0. Sorted, they form a prefix tree: few-shot
prefix, then document, then options, whatever the task calls them. :func:`plan_passes` cuts that tree into
passes of at most a budget of tokens. A prefix shared by several passes is pushed to a cache once; within a
pass each token attends to its own ancestors only.

Guarantees: every request is scored in exactly one pass; the plan depends on the set of requests alone, not on
their order. Pure: no tensor, no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MIN_PREFIX_TOKENS = 32
"""A shared prefix shorter than this is cheaper to run again in each pass than to push in a pass of its own."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A scoring request: the tokens a model reads, and the targets at its last positions.

    `targets[i]` is scored at position ``len(tokens) - len(targets) + i``.
    """

    tokens: tuple[int, ...]
    targets: tuple[int, ...]

    @property
    def first(self) -> int:
        """The first scored position."""
        return len(self.tokens) - len(self.targets)


@dataclass(frozen=True, slots=True)
class Path:
    """One sequence in a pass: the nodes of its tokens beyond the cached prefix, and which requests it ends.

    `shared` of the nodes were placed by the sequence before it.
    """

    nodes: tuple[int, ...]
    shared: int
    requests: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Push:
    """Append these tokens to the cached prefix."""

    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pop:
    """Drop this many tokens from the end of the cached prefix."""

    count: int


@dataclass(frozen=True, slots=True)
class Pack:
    """One forward pass: tokens, their positions, and the path of each sequence through them.

    `depth` tokens are in the cache; node ``n`` holds ``tokens[n]`` at position ``positions[n]``.
    """

    depth: int
    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    paths: tuple[Path, ...]


Pass = Push | Pop | Pack


def plan_passes(requests: Sequence[Scored], budget: int) -> Iterator[Pass]:
    """Yield the passes that score `requests`, each Pack of at most `budget` tokens.

    A single sequence longer than `budget` has the tokens before its scored ones pushed in pieces; its Pack
    is then as long as what is scored.

    Raises:
        ValueError: `budget` is not positive, or a request has no target or more targets than tokens.
    """
    if budget < 1:
        raise ValueError("the pass budget is at least one token")
    for request in requests:
        if not 0 < len(request.targets) <= len(request.tokens):
            raise ValueError("a scoring request needs at least one target, and no more than its tokens")
    if requests:
        yield from _Planner(requests, budget).plan()


def plan_beyond(requests: Sequence[Scored], known: tuple[int, ...], budget: int) -> Iterator[Pass]:
    """Yield the passes that score `requests`, the tokens that all of them share with `known` pushed first."""
    depth = min((min(common_prefix(known, item.tokens), item.first) for item in requests), default=0)
    if depth:
        yield Push(known[:depth])
    if requests:
        yield from _Planner(requests, budget).plan(depth)


def planned_tokens(passes: Sequence[Pass]) -> int:
    """Return how many tokens go through the model in `passes`."""
    return sum(len(step.tokens) for step in passes if not isinstance(step, Pop))


class _Planner:
    """Holds the sorted distinct sequences; see :func:`plan_passes`."""

    def __init__(self, requests: Sequence[Scored], budget: int) -> None:
        ending: dict[tuple[int, ...], list[int]] = {}
        for index, request in enumerate(requests):
            ending.setdefault(request.tokens, []).append(index)
        self.budget = budget
        self.sequences = sorted(ending)
        self.ending = [tuple(ending[tokens]) for tokens in self.sequences]
        self.first = [min(requests[i].first for i in ends) for ends in self.ending]
        # common[i]: length of the prefix that sequence i shares with the one before it
        self.common = [0] + [
            common_prefix(left, right)
            for left, right in zip(self.sequences, self.sequences[1:], strict=False)
        ]
        self.added = [0]
        for tokens, common in zip(self.sequences, self.common, strict=True):
            self.added.append(self.added[-1] + len(tokens) - common)

    def plan(self, depth: int = 0) -> Iterator[Pass]:
        """Yield all passes, the first `depth` tokens of every sequence being in the cache."""
        yield from self._range(0, len(self.sequences), depth)

    def _size(self, low: int, high: int, depth: int) -> int:
        """Return the nodes of sequences [low, high) beyond the first `depth` tokens, which they share."""
        return len(self.sequences[low]) - depth + self.added[high] - self.added[low + 1]

    def _range(self, low: int, high: int, depth: int) -> Iterator[Pass]:
        if self._size(low, high, depth) <= self.budget:
            yield self._pack(low, high, depth)
        elif high - low == 1:
            yield from self._long(low, depth)
        else:
            common = min(self.common[low + 1 : high])
            prefix = min(common, min(self.first[low:high]))
            if prefix - depth < MIN_PREFIX_TOKENS:
                yield from self._children(low, high, depth, common)
            else:
                yield from self._push(low, depth, prefix)
                yield from self._children(low, high, prefix, common)
                yield Pop(prefix - depth)

    def _children(self, low: int, high: int, depth: int, common: int) -> Iterator[Pass]:
        """Pack the subtrees below `common` shared tokens together, as many as the budget takes."""
        start = begin = low
        for end in range(low + 1, high + 1):
            if end < high and self.common[end] > common:
                continue
            # [begin, end) is a subtree; [start, begin) are those waiting for a pass.
            if self._size(start, end, depth) > self.budget:
                if start < begin:
                    yield self._pack(start, begin, depth)
                start = begin
                if self._size(begin, end, depth) > self.budget:
                    yield from self._range(begin, end, depth)
                    start = end
            begin = end
        if start < high:
            yield self._pack(start, high, depth)

    def _long(self, index: int, depth: int) -> Iterator[Pass]:
        prefix = max(depth, self.first[index])
        yield from self._push(index, depth, prefix)
        yield self._pack(index, index + 1, prefix)
        if prefix > depth:
            yield Pop(prefix - depth)

    def _push(self, index: int, depth: int, end: int) -> Iterator[Pass]:
        for begin in range(depth, end, self.budget):
            yield Push(self.sequences[index][begin : min(begin + self.budget, end)])

    def _pack(self, low: int, high: int, depth: int) -> Pack:
        tokens: list[int] = []
        positions: list[int] = []
        paths: list[Path] = []
        nodes: tuple[int, ...] = ()
        for index in range(low, high):
            sequence = self.sequences[index]
            shared = self.common[index] - depth if index > low else 0
            fresh = range(len(tokens), len(tokens) + len(sequence) - depth - shared)
            tokens.extend(sequence[depth + shared :])
            positions.extend(range(depth + shared, len(sequence)))
            nodes = (*nodes[:shared], *fresh)
            paths.append(Path(nodes, shared, self.ending[index]))
        return Pack(depth, tuple(tokens), tuple(positions), tuple(paths))


def common_prefix(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    """Return how many tokens two sequences begin with alike."""
    length = min(len(left), len(right))
    if left[:length] == right[:length]:
        return length
    return next(i for i in range(length) if left[i] != right[i])
