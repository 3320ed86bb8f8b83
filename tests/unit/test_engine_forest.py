"""The planner computes nothing twice, misses nothing, and shows each token its own ancestors only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.engine.forest import Pack, Pop, Push, Scored, plan_passes, planned_tokens


def sequences() -> st.SearchStrategy[list[Scored]]:
    # Few symbols and a common start, so that prefixes are shared at every depth.
    tails = st.lists(st.integers(0, 2), min_size=1, max_size=12)

    @st.composite
    def one(draw: st.DrawFn) -> Scored:
        tokens = draw(st.sampled_from([(), (7,) * 5, (7,) * 40])) + tuple(draw(tails))
        count = draw(st.integers(1, len(tokens)))
        return Scored(tokens, tuple(draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))))

    return st.lists(one(), max_size=12)


def replay(requests: list[Scored], budget: int) -> dict[int, tuple[int, ...]]:
    """Run the plan by hand; return for each request the tokens its path reads."""
    cache: list[int] = []
    read: dict[int, tuple[int, ...]] = {}
    for step in plan_passes(requests, budget):
        if isinstance(step, Push):
            assert 0 < len(step.tokens) <= budget
            cache.extend(step.tokens)
        elif isinstance(step, Pop):
            del cache[len(cache) - step.count :]
        else:
            assert step.depth == len(cache)
            for path in step.paths:
                assert [step.positions[n] for n in path.nodes] == list(
                    range(step.depth, step.depth + len(path.nodes))
                )
                for request in path.requests:
                    assert request not in read
                    assert requests[request].first >= step.depth
                    read[request] = (*cache, *(step.tokens[n] for n in path.nodes))
    assert cache == []
    return read


@given(sequences(), st.integers(1, 60))
def test_every_request_is_scored_once_over_its_own_tokens(requests: list[Scored], budget: int) -> None:
    assert replay(requests, budget) == {i: request.tokens for i, request in enumerate(requests)}


@given(sequences(), st.integers(1, 60))
def test_a_pass_keeps_to_the_budget_unless_one_sequence_needs_more(
    requests: list[Scored], budget: int
) -> None:
    for step in plan_passes(requests, budget):
        if isinstance(step, Pack) and len(step.tokens) > budget:
            assert len(step.paths) == 1


@given(sequences(), st.integers(1, 60), st.randoms())
def test_the_order_of_requests_does_not_change_the_passes(
    requests: list[Scored], budget: int, random: object
) -> None:
    def shape(items: list[Scored]) -> list[object]:
        return [
            (step.depth, step.tokens, step.positions) if isinstance(step, Pack) else step
            for step in plan_passes(items, budget)
        ]

    shuffled = list(requests)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert shape(shuffled) == shape(requests)


def test_a_shared_prefix_and_shared_documents_are_run_once() -> None:
    prefix = tuple(range(100, 450))
    requests = [
        Scored((*prefix, *range(1000 + 50 * d, 1040 + 50 * d), 5000 + option), (5000 + option, 6000))
        for d in range(30)
        for option in range(4)
    ]
    passes = list(plan_passes(requests, budget=512))
    assert planned_tokens(passes) == 350 + 30 * (40 + 4)
    assert [type(step) for step in passes][:1] == [Push]


def test_a_scored_prefix_is_never_pushed_out_of_reach() -> None:
    tokens = tuple(range(60))
    requests = [Scored((*tokens, last), (*tokens[1:], last, 0)) for last in range(90, 99)]
    assert all(isinstance(step, Pack) and step.depth == 0 for step in plan_passes(requests, budget=64))


@pytest.mark.parametrize("request_", [Scored((1,), ()), Scored((1,), (2, 3)), Scored((), ())])
def test_a_request_without_room_for_its_targets_is_refused(request_: Scored) -> None:
    with pytest.raises(ValueError, match="target"):
        list(plan_passes([request_], 8))
