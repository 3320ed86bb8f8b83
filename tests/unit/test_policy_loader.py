"""Policy documents are read strictly: every mistake names file, line and fix."""

from __future__ import annotations

import pytest

from placet.domain.errors import IntegrityError, UsageError
from placet.policy.gates import KINDS
from placet.policy.loader import json_schema, parse_policy
from placet.policy.schema import Policy
from placet.policy.yamltree import MAX_DEPTH, parse_yaml

GOOD = """\
id: small
version: "1"
title: A policy
description: Says something.
risk_tier: minimal
risk: none
review:
  approvals: 1
  valid_days: 30
suites:
  desk: {samples: all}
  general: {samples: 100}
gates:
  - id: intake
    kind: intake
    why: files first
  - id: floor
    kind: floor
    suite: desk
    threshold: 0.8
    why: it has a job
  - id: general
    kind: not_worse
    suite: general
    margin: 0.05
    why: it should not forget
"""


def refusal(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_policy(text, "p.yaml")
    assert caught.value.hint
    return caught.value.message


def test_a_good_policy_is_read() -> None:
    policy = parse_policy(GOOD)
    assert [gate.kind for gate in policy.gates] == ["intake", "floor", "not_worse"]
    assert policy.samples_of("desk") is None
    assert policy.samples_of("general") == 100
    assert policy.review_rule.separate_from == ("trainer", "submitter")
    assert policy.review_rule.waivers_needed == 2


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed("margin:", "margn:"), "p.yaml:25: gates[2].margn: unknown field; did you mean margin?"),
        (changed("kind: floor", "kind: flor"), "p.yaml:17: gates[1]: unknown kind flor; did you mean floor?"),
        (
            changed("    kind: floor\n", ""),
            "p.yaml:17: gates[1]: has no kind; the kinds are "
            "intake, provenance, floor, ceiling, not_worse, better, no_new_failure, subgroups, contamination, leakage, "
            "license, base_supported, documentation, evidence_age",
        ),
        (changed("    threshold: 0.8\n", ""), "p.yaml:17: gates[1].threshold: is missing; add it"),
        (
            changed("risk_tier: minimal", "risk_teir: low"),
            "p.yaml:5: risk_teir: unknown field; did you mean risk_tier?",
        ),
        (
            changed("valid_days:", "valid_day:"),
            "p.yaml:9: review.valid_day: unknown field; did you mean valid_days?",
        ),
        (
            changed("{samples: 100}", "{sample: 100}"),
            "suites.general.sample: unknown field; did you mean samples?",
        ),
        (changed("{samples: 100}", "{samples: some}"), "must be a whole number, or the word all"),
        (changed("{samples: 100}", "{samples: true}"), "must be a whole number, or the word all"),
        (changed("{samples: 100}", "{samples: 0}"), "p.yaml:12: suites.general.samples: "),
        (changed("threshold: 0.8", 'threshold: "high"'), "p.yaml:20: gates[1].threshold: must be a number"),
        (changed("threshold: 0.8", "threshold: 0.8000001"), "more than 6 decimal places"),
        (changed("threshold: 0.8", "threshold: true"), "gates[1].threshold: must be a number"),
        (
            changed("threshold: 0.8", "threshold: .8"),
            "p.yaml:20: gates[1].threshold: .8 is not a plain number",
        ),
        (changed("threshold: 0.8", "threshold: .inf"), "gates[1].threshold: must be a number"),
        (changed("margin: 0.05", "margin: -0.05"), "p.yaml:25: gates[2].margin: "),
        (changed('version: "1"', "version: 1"), "p.yaml:2: version: must be text: put it in quotes"),
        (changed("approvals: 1", "approvals: 0"), "p.yaml:8: review.approvals: "),
        (
            changed("approvals: 1", "approvals: yes"),
            "p.yaml:8: review.approvals: yes can be read as true or false",
        ),
        (changed("why: files first", "why:"), "p.yaml:16: gates[0].why: has no value"),
        (changed("why: files first", "why: '  '"), "p.yaml:16: gates[0].why: is empty"),
        (changed("id: floor", "id: Floor One"), "p.yaml:17: gates[1].id: "),
        (
            changed("title: A policy", "title: A policy\ntitle: B"),
            "p.yaml:4: title: stands twice, first on line 3",
        ),
        (
            changed("id: general\n", "id: floor\n"),
            "p.yaml:22: gates[2].id: a gate named floor stands above; give this one another name",
        ),
    ],
)
def test_a_mistake_names_line_and_fix(text: str, message: str) -> None:
    assert message in refusal(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            changed("  desk: {samples: all}\n", ""),
            "p.yaml:18: gates[1].suite: suite desk is not among `suites`",
        ),
        (changed("suites:\n", "suites:\n  spare: {samples: all}\n"), "p.yaml:11: suites.spare: no gate uses"),
        (changed("margin: 0.05", "margin: 0.0"), "p.yaml:25: gates[2].margin: expects a difference of 0"),
        (
            changed("margin: 0.05", "margin: 0.05\n    planning: {difference: 0.3}"),
            "p.yaml:26: gates[2].planning: a difference of 0.3 needs at least that discordance",
        ),
        (
            GOOD + "  - {id: again, kind: floor, suite: desk, threshold: 0.9, why: twice}\n",
            "p.yaml:27: gates[3]: gate floor already is a floor on desk; keep the stricter one",
        ),
        (
            GOOD + "  - {id: top, kind: ceiling, suite: desk, threshold: 0.7, why: odd}\n",
            "p.yaml:27: gates[3].threshold: the floor 0.8 of floor is not below the ceiling 0.7 of top",
        ),
        (
            GOOD + "  - {id: more, kind: intake, why: twice}\n",
            "p.yaml:27: gates[3]: asks the same as gate intake",
        ),
        (
            GOOD + "  - {id: leak, kind: leakage, suite: general, max_recovered: 1, why: secrets}\n",
            "p.yaml:12: suites.general.samples: gate leak counts every canary",
        ),
        (
            changed("samples: 100", "samples: all")
            + "  - {id: leak, kind: leakage, suite: general, max_recovered: 1, max_excess: 2, why: secrets}\n",
            "gates[3].max_excess: more than max_recovered (1)",
        ),
        (
            changed("why: files first", "why: files first\n    waivers: 2"),
            "gates[0].waivers: the gate cannot be waived",
        ),
        (GOOD.replace("    why", "    required: false\n    why"), "p.yaml:13: gates: no gate is required"),
        (
            changed("valid_days: 30", "valid_days: 30\n  separate_from: [trainer, trainer]"),
            "p.yaml:10: review.separate_from: names someone twice",
        ),
    ],
)
def test_a_contradiction_names_line_and_fix(text: str, message: str) -> None:
    assert message in refusal(text)


def test_the_age_of_nothing_cannot_be_asked_for() -> None:
    head, gates = (
        GOOD.split("suites:", maxsplit=1)[0],
        "gates:\n  - {id: recent, kind: evidence_age, max_days: 30, why: w}\n",
    )
    message = "p.yaml:12: gates[0]: nothing is measured under this policy, so no evidence has an age; remove this gate"
    assert message in refusal(f"{head}suites: {{}}\n{gates}")


SEQUENTIAL = "general: {samples: 100, mode: sequential, claim: benchmark}"
JUDGE = "judge_error: {true_positives: 41, positives: 50, true_negatives: 48, negatives: 50}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            changed("general: {samples: 100}", SEQUENTIAL).replace(
                "margin: 0.05", f"margin: 0.05\n    {JUDGE}"
            ),
            "suites.general.mode: gate general corrects for a scorer's error, which no sequential test here does",
        ),
        (
            changed("desk: {samples: all}", "desk: {samples: all, cluster: clause}").replace(
                "threshold: 0.8", f"threshold: 0.8\n    {JUDGE}"
            ),
            "gates[1].judge_error: is not for groups or clusters of documents",
        ),
        (
            GOOD
            + f"  - {{id: parts, kind: subgroups, suite: desk, by: kind, floor: 0.5, why: w, {JUDGE}}}\n",
            "p.yaml:27: gates[3].judge_error: is not for groups or clusters of documents",
        ),
        (
            changed("threshold: 0.8", f"threshold: 0.8\n    {JUDGE.replace('41', '2')}"),
            "such a scorer says no more than chance does",
        ),
        (
            changed("general: {samples: 100}", "general: {samples: 100, mode: sequential}"),
            "suites.general: a sequential run needs a claim",
        ),
        (
            changed("general: {samples: 100}", "general: {samples: 100, chunk: 20}"),
            "suites.general.chunk: is for sequential runs",
        ),
        (
            changed(
                "general: {samples: 100}",
                "general: {samples: 100, mode: sequential, claim: population, cluster: page}",
            ),
            "suites.general.cluster: a sequential claim about a population needs independent documents",
        ),
        *(
            (
                changed("general: {samples: 100}", SEQUENTIAL.replace("100", "all"))
                + f"  - {{id: more, why: w, suite: general, {gate}}}\n",
                f"suites.general.mode: gate more ({kind}) looks at every document",
            )
            for kind, gate in (
                ("leakage", "kind: leakage, max_recovered: 1"),
                ("no_new_failure", "kind: no_new_failure, documents: [one]"),
                ("subgroups", "kind: subgroups, by: kind, floor: 0.5"),
                ("contamination", "kind: contamination, max_share: 0.1"),
            )
        ),
        (
            changed("general: {samples: 100}", SEQUENTIAL)
            + "  - {id: more, why: w, suite: general, kind: better, by: 0.1, planning: {difference: 0.2}}\n",
            "suites.general.mode: gate more asks for a gain above 0.1, which no sequential test here shows",
        ),
    ],
)
def test_what_no_rule_here_can_do_together_is_refused(text: str, message: str) -> None:
    assert message in refusal(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.yaml:1: the file is empty"),
        ("- a\n- b\n", "p.yaml:1: must be a list of `field: value`"),
        (GOOD[: GOOD.index("gates:")] + "gates: []\n", "p.yaml:13: gates: is empty"),
        ("a: &x 1\nb: *x\n", "p.yaml:1: anchors and aliases are not allowed"),
        ("a: !!python/object:os.system x\n", "p.yaml:1: tags such as "),
        ("a: 1\n---\nb: 2\n", "p.yaml:2: a second document begins here"),
        ("a: b: c\n", "p.yaml:1: not valid YAML"),
        ("a: {<<: {b: 1}}\n", "p.yaml:1: merge keys are not allowed"),
        ("? [a, b]\n: 1\n", "p.yaml:1: a field name must be a word"),
        ("a: 2026-11-01\n", "p.yaml:1: a: 2026-11-01 is not a plain number"),
        ("a: 0x10\n", "p.yaml:1: a: 0x10 is not a plain number"),
        ("a: \x07\n", "p.yaml:1: not valid YAML"),
    ],
)
def test_what_is_no_document_is_refused(text: str, message: str) -> None:
    assert message in refusal(text)


def test_deep_nesting_is_refused_before_it_is_built() -> None:
    assert f"nested deeper than {MAX_DEPTH} levels" in refusal("[" * 100_000)


def test_many_mistakes_are_told_together_and_cut_short() -> None:
    message = refusal("".join(f"x{number}: 1\n" for number in range(20)))
    assert len(message.splitlines()) == 6
    assert message.splitlines()[-1].startswith("and ")


def test_plain_data_keeps_its_kind() -> None:
    tree = parse_yaml('a: [1, -2, 0.5, true, "yes", word, "", 1.2.3.x]\n', "t.yaml")
    assert tree.value == {"a": [1, -2, 0.5, True, "yes", "word", "", "1.2.3.x"]}
    assert tree.line(("a", 3)) == 1


def test_the_digest_is_over_what_is_written_not_how() -> None:
    policy = parse_policy(GOOD)
    same = parse_policy(
        "# a remark\n" + GOOD.replace("{samples: all}", "\n    samples: all").replace("0.8\n", "0.80\n")
    )
    assert policy.ref == same.ref
    assert parse_policy(GOOD.replace("0.8\n", "0.81\n")).ref.digest != policy.ref.digest
    assert parse_policy(GOOD.replace("files first", "files last")).ref.digest != policy.ref.digest


def test_a_recorded_policy_reads_back_equal() -> None:
    policy = parse_policy(GOOD)
    recorded = policy.to_json()
    assert recorded["gates"][1]["threshold"] == "0.8"
    again = Policy.from_json(recorded)
    assert again == policy
    assert again.ref == policy.ref


def test_a_tampered_record_is_not_a_policy() -> None:
    recorded = parse_policy(GOOD).to_json()
    recorded["gates"] = []
    with pytest.raises(IntegrityError, match="recorded policy is malformed"):
        Policy.from_json(recorded)


def test_the_json_schema_knows_every_kind() -> None:
    schema = json_schema()
    kinds = schema["properties"]["gates"]["items"]["discriminator"]["mapping"]
    assert set(kinds) == {kind.name for kind in KINDS}
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            changed("threshold: 0.8", f"threshold: 1{'0' * 32}"),
            "p.yaml:20: gates[1].threshold: is farther from 0 than 1,000,000,000, which no policy needs",
        ),
        (
            changed("threshold: 0.8", f"threshold: {'9' * 5000}"),
            "p.yaml:20: gates[1].threshold: a number of 5000",
        ),
        (
            changed("threshold: 0.8", f"threshold: 1{'0' * 400}.5"),
            "p.yaml:20: gates[1].threshold: a number of 403",
        ),
        (changed("threshold: 0.8", "threshold: -1000000001"), "gates[1].threshold: is farther from 0 than"),
        (
            changed("{samples: 100}", "{samples: 99999999999999999999}"),
            "p.yaml:12: suites.general.samples: must be a whole number from 1 to 1,000,000,000, or the word all",
        ),
        (
            changed("valid_days: 30", "valid_days: 99999999999"),
            "review.valid_days: must be at most 36,500; it is 99",
        ),
        (
            changed("approvals: 1", "approvals: 99999999999"),
            "review.approvals: must be at most 1,000,000,000",
        ),
        (
            GOOD + "  - {id: age, kind: evidence_age, max_days: 99999999999, why: w}\n",
            "p.yaml:27: gates[3].max_days: must be at most 36,500; it is 99999999999",
        ),
        (
            GOOD + "  - {id: old, kind: base_supported, stated_within_days: 36501, why: w}\n",
            "p.yaml:27: gates[3].stated_within_days: must be at most 36,500; it is 36501",
        ),
        (
            GOOD + "  - {id: x, kind: leakage, suite: desk, max_recovered: 99999999999, why: w}\n",
            "p.yaml:27: gates[3].max_recovered: must be at most 1,000,000,000",
        ),
        (
            changed("threshold: 0.8", 'threshold: "0.0_3"'),
            "gates[1].threshold: must be a number, written plainly",
        ),
        (
            changed("threshold: 0.8", 'threshold: " 1e-2 "'),
            "gates[1].threshold: must be a number, written plainly",
        ),
        (
            changed("threshold: 0.8", 'threshold: "1e-2"'),
            "gates[1].threshold: must be a number, written plainly",
        ),
        (
            changed("threshold: 0.8", 'threshold: "+0.5"'),
            "gates[1].threshold: must be a number, written plainly",
        ),
        (
            changed("threshold: 0.8", 'threshold: "٠.٥"'),
            "gates[1].threshold: must be a number, written plainly",
        ),
    ],
)
def test_a_number_that_is_too_large_or_not_plain_names_line_and_fix(text: str, message: str) -> None:
    told = refusal(text)
    assert message in told
    assert "gates: is empty" not in told  # what is wrong with a gate is no lack of gates


def test_the_greatest_numbers_that_are_read_are_reckoned_with() -> None:
    policy = parse_policy(
        GOOD.replace("threshold: 0.8", "threshold: 999999999.999999").replace(
            "valid_days: 30", "valid_days: 365"
        )
        + "  - {id: age, kind: evidence_age, max_days: 36500, why: w}\n"
    )
    assert policy.to_json()["gates"][1]["threshold"] == "999999999.999999"
    assert policy.max_age_days == 36500


@pytest.mark.parametrize(("tier", "asked"), [("limited", 2), ("high", 3)])
def test_a_gate_that_asks_for_fewer_waivers_than_its_tier_is_refused(tier: str, asked: int) -> None:
    lapses = "lapses_on: [new_evidence, base_status, approver_left]"
    review = f"approvals: 3\n  waivers_needed: 3\n  {lapses}\n  valid_days: 30"
    strict = (
        GOOD.replace("risk_tier: minimal", f"risk_tier: {tier}")
        .replace("approvals: 1\n  valid_days: 30", review)
        .replace("threshold: 0.8", "threshold: 0.8\n    waivable: true\n    waivers: WAIVERS")
    )
    message = f"gates[1].waivers: at least {asked}, as risk tier {tier} asks of every waiver"
    assert message in refusal(strict.replace("WAIVERS", str(asked - 1)))
    assert parse_policy(strict.replace("WAIVERS", str(asked))).gates[1].waivers == asked


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        (
            "  - {id: top, kind: ceiling, suite: desk, metric: acc, threshold: 0.1, why: w}\n",
            "p.yaml:27: gates[3].threshold: the floor 0.8 of floor is not below the ceiling 0.1 of top",
        ),
        (
            "  - {id: parts, kind: subgroups, suite: desk, by: sex, ceiling: 0.1, why: w}\n",
            "p.yaml:27: gates[3].ceiling: the floor 0.8 of floor is not below the ceiling 0.1 of parts",
        ),
        (
            "  - {id: parts, kind: subgroups, suite: general, by: sex, floor: 0.9, why: w}\n"
            "  - {id: more, kind: subgroups, suite: general, by: age, ceiling: 0.5, why: w}\n",
            "p.yaml:28: gates[4].ceiling: the floor 0.9 of parts is not below the ceiling 0.5 of more",
        ),
        (
            "  - {id: again, kind: floor, suite: desk, metric: acc, threshold: 0.7, why: w}\n",
            "p.yaml:27: gates[3]: gate floor already is a floor on desk; keep the stricter one",
        ),
    ],
)
def test_gates_that_cannot_both_pass_are_seen_however_they_are_written(gates: str, message: str) -> None:
    assert message in refusal(GOOD + gates)


def test_limits_of_two_metrics_that_are_both_named_are_no_contradiction() -> None:
    text = GOOD.replace("threshold: 0.8", "threshold: 0.8\n    metric: acc")
    parse_policy(text + "  - {id: top, kind: ceiling, suite: desk, metric: loss, threshold: 0.1, why: w}\n")


def test_a_sequential_limit_beyond_0_to_1_is_refused() -> None:
    text = changed("desk: {samples: all}", "desk: {samples: all, mode: sequential, claim: benchmark}")
    message = (
        "p.yaml:20: gates[1].threshold: is beyond 0 to 1, and a sequential test is of metrics between 0 and 1"
    )
    assert message in refusal(text.replace("threshold: 0.8", "threshold: 5"))
