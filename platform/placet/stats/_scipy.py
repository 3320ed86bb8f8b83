"""The few special functions taken from scipy, typed; scipy and numpy are imported when one is first called."""

from __future__ import annotations

from functools import cache
from typing import Any

from placet.domain.errors import UsageError


@cache
def special() -> Any:
    """Return `scipy.special`.

    Raises:
        UsageError: scipy is not installed.
    """
    try:
        from scipy import special as module
    except ImportError as error:
        raise UsageError(
            "deciding a measured gate needs scipy, which is not installed",
            hint="install the evaluation extra: pip install 'placet[eval]'",
        ) from error
    return module


@cache
def numpy() -> Any:
    """Return `numpy`, which scipy brings.

    Raises:
        UsageError: scipy is not installed.
    """
    special()
    import numpy as module

    return module


def beta_quantile(a: float, b: float, probability: float) -> float:
    """Return x with ``P(Beta(a, b) <= x) = probability``."""
    return float(special().betaincinv(a, b, probability))


def student_quantile(degrees: float, probability: float) -> float:
    """Return t with ``P(T <= t) = probability`` for Student's distribution with `degrees` of freedom."""
    return float(special().stdtrit(degrees, probability))


def binomial_at_least(k: int, n: int, p: float) -> float:
    """Return ``P(X >= k)`` for X binomial with `n` trials of probability `p`."""
    if k <= 0:
        return 1.0
    if k > n:
        return 0.0
    return float(special().bdtrc(k - 1, n, p))
