"""Sequential tests: every order of small benchmarks enumerated, replay, refusal of a second test, intervals."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from itertools import pairwise, permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet.domain.records import Outcome
from placet.stats.betting import Process, capital_under, prior_around
from placet.stats.sequential import (
    Claim,
    Kind,
    SequenceEndedError,
    SequentialDesign,
    SequentialTest,
    decide,
)

ALPHA = 0.3
"""Large, so that small benchmarks are decided before their last document."""


def capitals(
    process: Process, values: Iterable[float], companions: Iterable[float]
) -> list[tuple[float, float]]:
    path = []
    for value, companion in zip(values, companions, strict=True):
        process.step(value, companion)
        path.append((process.above.capital, process.below.capital))
    return path


BENCHMARKS = [
    # values, limit, companions: the mean is the limit, so both sides are at the edge of their hypotheses.
    ((1.0, -1.0, -1.0, 0.0, 0.0, 0.0), -1 / 6, None),
    ((-1.0, -1.0, 0.0, 0.0, 0.0), -0.4, None),
    ((1.0, 1.0, 1.0, -1.0, -1.0, -1.0), 0.0, None),
    ((0.5, -0.25, -0.75, 0.1, -0.6), -0.2, None),
    ((-1.0, -1.0, 1.0, 0.0, 0.0, 0.0), -1 / 6, (1.0, 1.0, 0.0, 1.0, 1.0, 0.0)),
    ((-1.0, 0.0, 0.0, 0.0, 0.0, 0.0), -1 / 6, (1.0, 0.2, 0.3, 0.9, 0.0, 0.5)),
    ((0.3, -0.7, -0.2, 0.1, 0.0), -0.1, (0.1, 0.9, 0.4, 0.2, 0.3)),
]


@pytest.mark.parametrize(("values", "limit", "companions"), BENCHMARKS)
def test_capital_is_a_fair_game_in_every_order_of_a_small_benchmark(
    values: tuple[float, ...], limit: float, companions: tuple[float, ...] | None
) -> None:
    size = len(values)
    assert math.fsum(values) / size == pytest.approx(limit)
    sums = [[0.0, 0.0] for _ in range(size)]
    crossed = [0, 0]
    for order in permutations(range(size)):
        process = Process(limit, -1.0, 1.0, ALPHA, size, prior_around(0.1, 0.2), companions)
        known = companions or (0.0,) * size
        path = capitals(process, (values[i] for i in order), (known[i] for i in order))
        for step, pair in enumerate(path):
            assert min(pair) >= 0.0
            for side in (0, 1):
                sums[step][side] += pair[side]
        for side in (0, 1):
            crossed[side] += max(pair[side] for pair in path) >= 1.0 / ALPHA
    total = math.factorial(size)
    for pair in sums:
        # A martingale at the edge: its mean is 1 after every document, exactly.
        assert pair[0] / total == pytest.approx(1.0, abs=1e-9)
        assert pair[1] / total == pytest.approx(1.0, abs=1e-9)
    assert max(crossed) / total <= ALPHA


@pytest.mark.parametrize("chances", [(0.1, 0.3), (0.0, 0.2), (0.4, 0.6), (0.05, 0.25)])
def test_capital_is_a_fair_game_on_independent_values(chances: tuple[float, float]) -> None:
    gain, loss = chances
    weights = {1.0: gain, -1.0: loss, 0.0: 1.0 - gain - loss}
    mean, length = 0.0, 7
    crossed = [0.0, 0.0]
    for values in product(weights, repeat=length):
        chance = math.prod(weights[value] for value in values)
        process = Process(gain - loss, -1.0, 1.0, ALPHA, None, prior_around(0.2, 0.3))
        path = capitals(process, values, (0.0,) * length)
        mean += chance * path[-1][0]
        for side in (0, 1):
            crossed[side] += chance * (max(pair[side] for pair in path) >= 1.0 / ALPHA)
    assert mean == pytest.approx(1.0, abs=1e-9)
    assert max(crossed) <= ALPHA


@pytest.mark.parametrize(
    ("kind", "limit", "values"),
    [
        (Kind.NOT_WORSE, 0.25, (-1.0, -1.0, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0)),
        (Kind.NOT_WORSE, 0.2, (-1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
        (Kind.FLOOR, 0.75, (1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)),
        (Kind.CEILING, 0.25, (1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
    ],
)
def test_a_harmful_adapter_seldom_passes_whatever_the_order(
    kind: Kind, limit: float, values: tuple[float, ...]
) -> None:
    design = SequentialDesign(kind, limit, len(values), alpha=ALPHA)
    wrong = right = 0
    for order in set(permutations(values)):
        outcome = decide(design, order).outcome
        wrong += outcome is Outcome.PASS
        right += outcome is Outcome.FAIL
    total = len(set(permutations(values)))
    assert wrong / total <= ALPHA
    assert wrong + right == total


@pytest.mark.parametrize("claim", list(Claim))
def test_intervals_hold_at_every_moment_of_every_order(claim: Claim) -> None:
    values = (1.0, -1.0, -1.0, 0.0, 0.0, 0.0, 0.0)
    truth = math.fsum(values) / len(values)
    design = SequentialDesign(Kind.NOT_WORSE, 0.3, len(values), alpha=0.2, claim=claim)
    every = set(permutations(values))
    missed = [0, 0]
    for order in every:
        test = SequentialTest(design)
        low = high = False
        for value in order:
            test.update(value)
            bounds = test.interval()
            low |= bounds.low > truth + 1e-12
            high |= bounds.high < truth - 1e-12
            if test.ended:
                break
        missed[0] += low
        missed[1] += high
    assert max(missed) / len(every) <= 0.2


def paired(gained: int, lost: int, size: int, seed: int) -> list[float]:
    values = [1.0] * gained + [-1.0] * lost + [0.0] * (size - gained - lost)
    random.Random(seed).shuffle(values)
    return values


def test_an_equal_adapter_passes_early_and_a_bad_one_fails_early() -> None:
    design = SequentialDesign(Kind.NOT_WORSE, 0.03, 2000)
    good = decide(design, paired(100, 100, 2000, 1))
    bad = decide(design, paired(40, 160, 2000, 1))
    assert (good.outcome, bad.outcome) == (Outcome.PASS, Outcome.FAIL)
    assert good.used < 1400
    assert bad.used < 1400
    assert good.e_pass >= 20.0 > good.e_fail
    assert bad.e_fail >= 20.0 > bad.e_pass
    assert good.claim is Claim.BENCHMARK
    assert good.path[-1].n == good.used == good.interval.n
    assert all(step.e_pass < 20.0 and step.e_fail < 20.0 for step in good.path[:-1])


def test_the_same_values_give_the_same_state() -> None:
    values = paired(30, 30, 400, 2)
    companions = tuple(float(value <= 0) for value in values)
    design = SequentialDesign(Kind.NOT_WORSE, 0.05, 400, companions=companions)
    assert decide(design, values) == decide(design, values)


def test_values_after_the_decision_do_not_count() -> None:
    design = SequentialDesign(Kind.FLOOR, 0.5, 200)
    early = decide(design, [1.0] * 200)
    assert early.outcome is Outcome.PASS
    assert early.used < 60
    assert decide(design, [1.0] * early.used + [0.0] * 50) == early


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_no_second_test_after_one_that_ended(value: float) -> None:
    test = SequentialTest(SequentialDesign(Kind.FLOOR, 0.5, 300))
    while not test.ended:
        test.update(value)
    assert test.outcome is (Outcome.PASS if value else Outcome.FAIL)
    before = test.result()
    with pytest.raises(SequenceEndedError, match="takes no more") as caught:
        test.update(1.0)
    assert "new plan" in caught.value.hint
    assert test.result() == before


def test_at_the_end_of_a_benchmark_its_mean_is_known() -> None:
    # Two losses in 100, margin 0.03: 0.02 below the base, which is certain only near the end.
    at_edge = SequentialDesign(Kind.NOT_WORSE, 0.03, 100, discordance=1.0, alpha=0.001)
    for lost, outcome in ((2, Outcome.PASS), (3, Outcome.FAIL), (4, Outcome.FAIL)):
        result = decide(at_edge, [0.0] * (100 - lost) + [-1.0] * lost)
        assert result.outcome is outcome
        assert result.interval.low <= -lost / 100 <= result.interval.high
    floor = SequentialDesign(Kind.FLOOR, 0.9, 10, alpha=0.001)
    assert decide(floor, [0.0] + [1.0] * 9).outcome is Outcome.PASS
    ceiling = SequentialDesign(Kind.CEILING, 0.1, 10, alpha=0.001)
    assert decide(ceiling, [1.0] + [0.0] * 9).outcome is Outcome.PASS
    assert decide(ceiling, [1.0, 1.0] + [0.0] * 8).outcome is Outcome.FAIL


def test_of_the_population_a_full_run_may_leave_the_question_open() -> None:
    design = SequentialDesign(Kind.NOT_WORSE, 0.03, 100, claim=Claim.POPULATION)
    result = decide(design, [-1.0] + [0.0] * 98 + [1.0])
    assert result.outcome is Outcome.INCONCLUSIVE
    assert result.used == result.planned == 100


def test_a_benchmark_run_in_part_may_leave_the_question_open() -> None:
    design = SequentialDesign(Kind.NOT_WORSE, 0.03, 1000, planned=50)
    result = decide(design, [0.0] * 60)
    assert (result.outcome, result.used, result.planned) == (Outcome.INCONCLUSIVE, 50, 50)


def test_a_ceiling_mirrors_a_floor() -> None:
    chance = random.Random(4)
    values = [float(chance.random() < 0.9) for _ in range(200)]
    floor = decide(SequentialDesign(Kind.FLOOR, 0.8, 200), values)
    ceiling = decide(SequentialDesign(Kind.CEILING, 0.2, 200), [1.0 - value for value in values])
    assert floor.outcome is ceiling.outcome
    assert floor.used == ceiling.used
    assert floor.interval.low == pytest.approx(1.0 - ceiling.interval.high)
    assert floor.interval.high == pytest.approx(1.0 - ceiling.interval.low)


values_of_documents = st.lists(
    st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.0, 0.25, 1.0]), min_size=1, max_size=60
)


@settings(max_examples=60)
@given(
    values_of_documents, st.sampled_from([0.0, 0.03, 0.1, 0.4]), st.sampled_from(list(Claim)), st.booleans()
)
def test_interval_and_outcome_agree(values: list[float], margin: float, claim: Claim, known: bool) -> None:
    companions = None
    if known and claim is Claim.BENCHMARK:
        companions = tuple(0.5 - value / 2.0 for value in values)
    design = SequentialDesign(Kind.NOT_WORSE, margin, len(values), claim=claim, companions=companions)
    result = decide(design, values)
    bounds = result.interval
    assert -1.0 <= bounds.low <= bounds.estimate <= bounds.high <= 1.0
    if result.outcome is Outcome.PASS:
        assert bounds.low >= -margin - 1e-9
    elif result.outcome is Outcome.FAIL:
        assert bounds.high <= -margin + 1e-9
    else:
        assert bounds.low <= -margin <= bounds.high


@settings(max_examples=60)
@given(values_of_documents, st.booleans(), st.booleans())
def test_capital_never_grows_with_the_limit_in_question(
    values: list[float], finite: bool, known: bool
) -> None:
    size = len(values) if finite else None
    companions = [0.5 - value / 2.0 for value in values] if finite and known else None
    process = Process(-0.1, -1.0, 1.0, 0.05, size, prior_around(0.1, 0.2), companions)
    bets = [process.step(value, companions[i] if companions else 0.0)[0] for i, value in enumerate(values)]
    steps = [capital_under(bets, -1.0 + i / 40, size, -1.0, 1.0) for i in range(81)]
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(steps))
    assert all(step >= 1.0 for step in steps)


def test_companions_shorten_a_run_on_average() -> None:
    plain = informed = 0
    for seed in range(30):
        values = [1.0] * 25 + [-1.0] * 25 + [0.0] * 450
        base = [0.0] * 25 + [1.0] * 25 + [1.0] * 225 + [0.0] * 225
        order = random.Random(seed).sample(range(500), 500)
        run = [values[i] for i in order]
        companions = tuple(base[i] for i in order)
        plain += decide(SequentialDesign(Kind.NOT_WORSE, 0.05, 500), run).used
        informed += decide(SequentialDesign(Kind.NOT_WORSE, 0.05, 500, companions=companions), run).used
    assert informed < plain


@pytest.mark.parametrize(
    "fields",
    [
        {"limit": -0.1},
        {"limit": 1.0},
        {"documents": 0},
        {"planned": 0},
        {"planned": 11},
        {"alpha": 0.5},
        {"discordance": 0.0},
        {"companions": (1.0,) * 9},
        {"companions": (math.nan,) * 10},
        {"companions": (1.0,) * 10, "claim": Claim.POPULATION},
        {"companions": (1.0,) * 10, "kind": Kind.FLOOR},
    ],
)
def test_impossible_designs_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"limit|document|run|alpha|discordance|companions"):
        SequentialDesign(**{"kind": Kind.NOT_WORSE, "limit": 0.05, "documents": 10, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Kind.FLOOR, -0.1), (Kind.CEILING, 1.1), (Kind.NOT_WORSE, -1.01), (Kind.FLOOR, math.nan)],
)
def test_values_out_of_range_are_refused_and_lose_nothing(kind: Kind, value: float) -> None:
    test = SequentialTest(SequentialDesign(kind, 0.5, 10))
    with pytest.raises(ValueError, match="is in"):
        test.update(value)
    assert test.used == 0
    with pytest.raises(ValueError, match="no values"):
        test.result()
