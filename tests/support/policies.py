"""A policy with nothing in it but what a test is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from placet.policy.schema import Policy


def small_policy(suites: Mapping[str, Any], gates: Sequence[Mapping[str, Any]]) -> Policy:
    """Return the policy with these suites and gates, approved by one person for a day."""
    return Policy.model_validate(
        {
            "id": "p",
            "version": "1",
            "title": "t",
            "description": "d",
            "risk_tier": "minimal",
            "risk": "r",
            "review": {"approvals": 1, "valid_days": 1},
            "suites": suites,
            "gates": gates,
        }
    )
