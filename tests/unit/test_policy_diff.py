"""What is stricter and what is laxer depends on the kind of gate, not on the field's name or the alphabet."""

from __future__ import annotations

from typing import Any

import pytest

from placet.policy.diff import diff_policies
from placet.policy.schema import Policy
from tests.support.policies import small_policy


def policy_of(kind: str, **fields: Any) -> Policy:
    alone = kind in {"evidence_age", "base_supported", "license", "documentation", "intake", "provenance"}
    gates = [{"id": "it", "kind": kind, "why": "w", **({} if alone else {"suite": "a"}), **fields}]
    if alone:
        gates.append({"id": "other", "kind": "floor", "why": "w", "suite": "a", "threshold": 0.5})
    return small_policy({"a": {"samples": "all"}}, gates)


UP, DOWN, NEITHER = "stricter", "laxer", ""


@pytest.mark.parametrize(
    ("kind", "same", "field", "values", "effect"),
    [
        ("floor", {}, "threshold", (0.5, 0.6), UP),
        ("ceiling", {}, "threshold", (0.05, 0.5), DOWN),
        ("ceiling", {}, "threshold", (0.5, 0.05), UP),
        ("not_worse", {}, "margin", (0.05, 0.1), DOWN),
        ("better", {"planning": {"difference": 0.3, "discordance": 0.4}}, "by", (0.0, 0.1), UP),
        ("subgroups", {"floor": 0.1}, "by", ("age", "sex"), NEITHER),
        ("subgroups", {"floor": 0.1}, "by", ("sex", "age"), NEITHER),
        ("subgroups", {"by": "age"}, "floor", (0.1, 0.2), UP),
        ("subgroups", {"by": "age"}, "ceiling", (0.1, 0.2), DOWN),
        ("subgroups", {"by": "age"}, "margin", (0.1, 0.2), DOWN),
        ("subgroups", {"by": "age", "floor": 0.1}, "min_documents", (1, 20), NEITHER),
        ("floor", {"threshold": 0.5}, "alpha", (0.05, 0.01), UP),
        ("floor", {"threshold": 0.5}, "metric", ("acc", "loss"), NEITHER),
        ("floor", {"threshold": 0.5, "waivable": True}, "waivers", (2, 3), UP),
        ("leakage", {}, "max_recovered", (2, 3), DOWN),
        ("leakage", {"max_recovered": 3}, "max_excess", (None, 2), UP),
        ("leakage", {"max_recovered": 3}, "max_excess", (2, None), DOWN),
        ("leakage", {"max_recovered": 3}, "exposure_bits", (5, 3), UP),
        ("leakage", {"max_recovered": 3}, "exposure_bits", (None, 3), NEITHER),
        ("contamination", {}, "max_share", (0.1, 0.2), DOWN),
        ("contamination", {"max_share": 0.1}, "ngram", (13, 20), DOWN),
        ("contamination", {"max_share": 0.1}, "seen_above", (0.0, 0.5), DOWN),
        ("no_new_failure", {}, "documents", (["x"], ["x", "y"]), UP),
        ("no_new_failure", {}, "documents", (["x"], ["y"]), NEITHER),
        ("evidence_age", {}, "max_days", (10, 20), DOWN),
        ("base_supported", {}, "stated_within_days", (20, 10), UP),
        ("license", {}, "allow", (["MIT"], ["MIT", "Apache-2.0"]), DOWN),
        ("license", {"allow": ["MIT"]}, "datasets", (True, False), DOWN),
        ("documentation", {}, "fields", (["license"], ["license", "tags"]), UP),
    ],
)
def test_the_effect_is_that_of_the_field_in_its_kind(
    kind: str, same: dict[str, Any], field: str, values: tuple[Any, Any], effect: str
) -> None:
    old, new = (policy_of(kind, **same, **({} if value is None else {field: value})) for value in values)
    (change,) = diff_policies(old, new)
    assert change.where == "gate it"
    assert change.text.startswith(f"{field} is ")
    assert change.effect == effect
