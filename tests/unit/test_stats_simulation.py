"""Forecasts: the vector run decides as the test does, and what is promised of its length holds."""

from __future__ import annotations

import numpy as np
import pytest

from placet.domain.records import Outcome
from placet.stats.sequential import Claim, Kind, SequentialDesign, decide
from placet.stats.simulation import forecast_mean, forecast_not_worse, simulate

SIGNS = {1: Outcome.PASS, -1: Outcome.FAIL, 0: Outcome.INCONCLUSIVE}


@pytest.mark.parametrize("claim", list(Claim))
@pytest.mark.parametrize(
    ("kind", "limit", "chances"),
    [
        (Kind.NOT_WORSE, 0.05, (0.1, 0.8, 0.1)),
        (Kind.NOT_WORSE, 0.05, (0.1, 0.7, 0.2)),
        (Kind.FLOOR, 0.8, (0.0, 0.15, 0.85)),
        (Kind.CEILING, 0.2, (0.0, 0.85, 0.15)),
    ],
)
def test_the_simulation_is_the_test(
    kind: Kind, limit: float, chances: tuple[float, float, float], claim: Claim
) -> None:
    design = SequentialDesign(kind, limit, 150, claim=claim)
    values = np.random.default_rng(1).choice((-1.0, 0.0, 1.0), p=chances, size=(25, 150))
    used, outcome = simulate(design, values)
    for row, length, sign in zip(values, used, outcome, strict=True):
        result = decide(design, row.tolist())
        assert (result.used, result.outcome) == (length, SIGNS[int(sign)])


def test_the_simulation_uses_companions_as_the_test_does() -> None:
    random = np.random.default_rng(2)
    base = (np.arange(200) % 3 > 0).astype(float)
    change = np.where(np.arange(200) % 10 == 0, np.where(base > 0, -1.0, 1.0), 0.0)
    orders = random.permuted(np.tile(np.arange(200), (20, 1)), axis=1)
    shared = SequentialDesign(Kind.NOT_WORSE, 0.05, 200, companions=tuple(base))
    used, outcome = simulate(shared, change[orders], base[orders])
    for order, length, sign in zip(orders, used, outcome, strict=True):
        own = SequentialDesign(Kind.NOT_WORSE, 0.05, 200, companions=tuple(base[order].tolist()))
        result = decide(own, change[order].tolist())
        assert (result.used, result.outcome) == (length, SIGNS[int(sign)])


def test_an_equal_adapter_takes_about_a_quarter_of_two_thousand_documents() -> None:
    found = forecast_not_worse(SequentialDesign(Kind.NOT_WORSE, 0.03, 2000), 0.0, 0.1, runs=400)
    assert 0.20 < found.mean / found.documents < 0.30
    assert found.passes > 0.98
    assert found.mean <= found.ninth_decile


def test_at_the_margin_wrong_passes_are_rare() -> None:
    found = forecast_not_worse(SequentialDesign(Kind.NOT_WORSE, 0.05, 400), -0.05, 0.1, runs=1500)
    assert found.passes <= 0.05 + 3 * (0.05 * 0.95 / 1500) ** 0.5
    below = forecast_mean(SequentialDesign(Kind.FLOOR, 0.8, 200), 0.79, runs=1500)
    assert below.passes <= 0.05 + 3 * (0.05 * 0.95 / 1500) ** 0.5
    assert below.passes + below.fails == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_forecast() -> None:
    design = SequentialDesign(Kind.CEILING, 0.2, 100, claim=Claim.POPULATION)
    assert forecast_mean(design, 0.1, runs=50, seed=3) == forecast_mean(design, 0.1, runs=50, seed=3)
    assert forecast_mean(design, 0.1, runs=50, seed=3) != forecast_mean(design, 0.1, runs=50, seed=4)


def test_forecasts_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="kind"):
        forecast_not_worse(SequentialDesign(Kind.FLOOR, 0.8, 100), 0.0, 0.1)
    with pytest.raises(ValueError, match="two subjects"):
        forecast_mean(SequentialDesign(Kind.NOT_WORSE, 0.1, 100), 0.5)
    with pytest.raises(ValueError, match="discordance"):
        forecast_not_worse(SequentialDesign(Kind.NOT_WORSE, 0.1, 100), 0.2, 0.1)
    with pytest.raises(ValueError, match="mean"):
        forecast_mean(SequentialDesign(Kind.FLOOR, 0.8, 100), 1.2)
