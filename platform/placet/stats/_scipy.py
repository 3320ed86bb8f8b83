"""The few special functions taken from scipy, typed; scipy is imported when one is first called."""

from __future__ import annotations

from functools import cache
from typing import Any

from placet.domain.errors import UsageError


@cache
def _special() -> Any:
    try:
        from scipy import special
    except ImportError as error:
        raise UsageError(
            "deciding a measured gate needs scipy, which is not installed",
            hint="install the evaluation extra: pip install 'placet[eval]'",
        ) from error
    return special


def beta_quantile(a: float, b: float, probability: float) -> float:
    """Return x with ``P(Beta(a, b) <= x) = probability``."""
    return float(_special().betaincinv(a, b, probability))


def student_quantile(degrees: float, probability: float) -> float:
    """Return t with ``P(T <= t) = probability`` for Student's distribution with `degrees` of freedom."""
    return float(_special().stdtrit(degrees, probability))


def binomial_at_least(k: int, n: int, p: float) -> float:
    """Return ``P(X >= k)`` for X binomial with `n` trials of probability `p`."""
    if k <= 0:
        return 1.0
    if k > n:
        return 0.0
    return float(_special().bdtrc(k - 1, n, p))
