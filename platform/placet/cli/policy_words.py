"""What `placet policy` prints, for people and as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Console

from placet.cli.render import print_table, words
from placet.domain.text import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placet.policy.candidates import Choice
    from placet.policy.cases import CaseResult
    from placet.policy.model import Gate
    from placet.policy.notes import SampleNote
    from placet.policy.schema import Policy
    from placet.policy.simulate import Simulation


_NOT_A_CONDITION = {"id", "kind", "why", "required", "waivable", "waivers", "planning"}


def show_choice(console: Console, choice: Choice) -> None:
    """Print which candidates may be taken together, and what limits each."""
    rows = (
        (
            item.candidate.label,
            item.candidate.verdict.decision.value if item.candidate.verdict else "no verdict",
            _e_value(item.e_value),
            item.gate or "-",
            "chosen" if item.chosen else "-",
        )
        for item in choice.weighed
    )
    print_table(console, ("candidate", "verdict", "e-value", "limited by", ""), rows)
    chosen, total = len(choice.chosen), len(choice.weighed)
    console.print(
        f"{chosen} of {total} candidates chosen: of those, at most {choice.rate:g} are harmful on average.",
        soft_wrap=True,
    )
    if choice.needed is not None and choice.rate_of_all is not None and choice.rate_of_all > choice.rate:
        allowed = sum(item.e_value > 0.0 for item in choice.weighed)
        console.print(
            f"To choose all {allowed} that are allowed, each needs an e-value of {choice.needed:.4g}: with "
            f"`alpha: {1.0 / choice.needed:.3g}` in every gate that limits one. At these verdicts they can be taken "
            f"together at a rate of {choice.rate_of_all:.2g}.",
            soft_wrap=True,
        )


def _e_value(value: float) -> str:
    return "no limit" if math.isinf(value) else f"{value:.4g}"


def choice_json(policy: Policy, choice: Choice) -> dict[str, Any]:
    """Return a choice among candidates as JSON."""
    return {
        "policy": policy.ref.to_json(),
        "rate": choice.rate,
        "rateOfAllAllowed": choice.rate_of_all,
        "candidates": [
            {
                "adapter": item.candidate.label,
                "weights": item.candidate.weights_id,
                "verdict": item.candidate.record,
                "decision": item.candidate.verdict.decision.value if item.candidate.verdict else None,
                # JSON has no infinity: a fact that no sample limits has no e-value.
                "eValue": None if math.isinf(item.e_value) else item.e_value,
                "limitedBy": item.gate or None,
                "chosen": item.chosen,
            }
            for item in choice.weighed
        ],
    }


def plan_row(row: dict[str, Any]) -> tuple[object, ...]:
    """Return a suite's row in the table of a plan."""
    mode = row["mode"] + (f", {row['claim']}" if row["claim"] else "")
    runs = row["earlierRuns"]
    seconds = f"{duration(row['expected_s'])} ({runs} earlier runs)" if runs else "never run here"
    return row["suite"], row["documents"], row["planned"], mode, row["expected"], seconds


def note_json(note: SampleNote) -> dict[str, Any]:
    """Return what a gate can show on its sample as JSON."""
    return {
        "gate": note.gate,
        "n": note.n,
        "adequate": note.adequate,
        "text": note.text,
        "detectable": note.detectable,
        "detectableIs": note.measures,
        "groups": [
            {"name": item.name, "n": item.n, "detectable": item.detectable, "broken": item.broken}
            for item in note.groups
        ],
    }


def simulation_json(done: Simulation, left_out: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Return what a policy would have decided as JSON."""
    return {
        "policy": done.policy.to_json(),
        "verdicts": done.verdicts,
        "refusedReleases": sum(flip.refused for flip in done.flips),
        "flips": [
            {
                "verdict": flip.record,
                "adapter": flip.label,
                "before": flip.before,
                "after": flip.after,
                "gates": dict(flip.gates),
                "released": list(flip.released),
                "lacking": list(flip.lacking),
            }
            for flip in done.flips
        ],
        "notTried": [{"verdict": record, "why": why} for record, why in left_out],
    }


def show_results(console: Console, results: tuple[CaseResult, ...]) -> None:
    """Print how each case of a policy's tests came out."""
    for item in results:
        mark = words("ok      ", style="green") if item.passed else words("DIFFERS ", style="bold red")
        console.print(mark + words(f"{item.name}: {item.title}"), soft_wrap=True)
        for problem in item.problems:
            console.print(f"          {problem}", soft_wrap=True)
    failed = sum(not item.passed for item in results)
    console.print(
        f"{len(results)} cases, {failed} differ" if failed else f"{len(results)} cases, all as expected"
    )


def results_json(policy: Policy, results: tuple[CaseResult, ...]) -> dict[str, Any]:
    """Return how each case of a policy's tests came out as JSON."""
    return {
        "policy": policy.ref.to_json(),
        "passed": all(item.passed for item in results),
        "cases": [
            {"name": item.name, "title": item.title, "passed": item.passed, "problems": list(item.problems)}
            for item in results
        ],
    }


def show_policy(console: Console, policy: Policy, notes: dict[str, SampleNote]) -> None:
    """Print what a policy demands, why, and who has to sign."""
    console.print(words(f"{policy.id} {policy.version}: {policy.title}", style="bold"), soft_wrap=True)
    console.print(policy.description)
    console.print(f"Risk tier {policy.risk_tier}: {policy.risk}")
    review = policy.review
    apart = f", none of them its {' or '.join(review.separate_from)}" if review.separate_from else ""
    console.print(
        f"Approved by {review.approvals} people{apart}; an approval holds for {review.valid_days} days.",
        soft_wrap=True,
    )
    console.print(f"It lapses before that {_lapses(review.lapses_on)}.", soft_wrap=True)
    for name, sampling in policy.suites.items():
        drawn = "all documents" if sampling.samples == "all" else f"{sampling.samples} documents drawn"
        about = {"benchmark": "these very documents", "population": "all documents of this kind"}
        early = f", stopping as soon as decided, about {about[sampling.claim]}" if sampling.claim else ""
        together = f", counted by {sampling.cluster}" if sampling.cluster else ""
        console.print(f"Measures {name}: {drawn}{early}{together}.", soft_wrap=True)
    for gate in policy.gates:
        console.print()
        console.print(
            words(gate.id, style="bold") + words(f"  {gate.kind}{_condition(gate)}"), soft_wrap=True
        )
        console.print(f"  {gate.why}")
        if gate.id in notes:
            console.print(words(f"  {notes[gate.id].full_text}"), soft_wrap=True)
        console.print(f"  {_consequence(gate, policy)}", style="dim")


_LAPSES = {
    "new_evidence": "when something newer is measured of the same weights",
    "base_status": "when something newer is stated about the base",
    "approver_left": "when its approver's key loses that role and those who stay are too few",
}


def _lapses(reasons: Sequence[str]) -> str:
    return ", or ".join(_LAPSES[one] for one in reasons) or "for no other reason"


def _condition(gate: Gate) -> str:
    written = gate.model_dump(mode="json", exclude=_NOT_A_CONDITION, exclude_none=True)
    return "".join(
        f", {name} {_in_words(value)}" for name, value in written.items() if value not in ("", [], {})
    )


def _in_words(value: Any) -> str:
    """Return a value of a policy as it is written there, not as Python spells it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_in_words(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} {_in_words(item)}" for name, item in value.items()) + "}"
    return str(value)


def _consequence(gate: Gate, policy: Policy) -> str:
    if not gate.required:
        return "advisory: shown, and the decision does not depend on it"
    if gate.waivable:
        people = gate.waivers or policy.review.waivers_needed
        who = "1 person" if people == 1 else f"{people} people together"
        return f"required; {who} may waive it when it is inconclusive, never when it failed"
    return "required; nobody can waive it"


def explain_json(policy: Policy, notes: dict[str, SampleNote]) -> dict[str, Any]:
    """Return what a policy demands as JSON."""
    return {
        "policy": policy.ref.to_json(),
        "document": policy.to_json(),
        "samples": [note_json(note) for note in notes.values()],
    }
