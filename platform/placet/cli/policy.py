"""`placet policy`: check, test and explain a policy document before anybody is judged by it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from placet.cli.errors import REFUSED
from placet.cli.render import print_pairs, words
from placet.cli.session import JsonOption, Session, add_command

if TYPE_CHECKING:
    from placet.policy.cases import CaseResult
    from placet.policy.gates.model import Gate
    from placet.policy.planning import SampleNote
    from placet.policy.schema import Policy

_NOT_A_CONDITION = {"id", "kind", "why", "required", "waivable", "waivers", "planning"}

PolicyArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE", help="The policy; else the default one that Placet carries.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="Policies: checked, tested and explained.")
    add_command(group, "check", check, "placet policy check policies/default.yaml")
    add_command(group, "test", run_tests, "placet policy test", "placet policy test policies/default.yaml")
    lines = ("placet policy explain", "placet policy explain policies/default.yaml --samples")
    add_command(group, "explain", explain, *lines)
    app.add_typer(group, name="policy")


def check(policy: PolicyArgument = None, json: JsonOption = False) -> None:
    """Check that a policy is well formed, and name its content. Exit code 2: it is not, with file, line and fix."""
    session = Session(json=json)
    _, document = _load(policy)
    ref = document.ref
    pairs = [
        ("policy", f"{ref.id} {ref.version}"),
        ("digest", ref.digest),
        ("gates", ", ".join(gate.id for gate in document.gates)),
    ]
    value = {"policy": ref.to_json(), "gates": [gate.id for gate in document.gates]}
    session.result(value, lambda console: print_pairs(console, pairs))


def run_tests(
    policy: PolicyArgument = None,
    cases: Annotated[
        Path | None,
        typer.Option("--cases", metavar="FOLDER", help="Its cases; else tests/NAME/ beside the policy."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Decide every case of a policy's tests and compare with what each expects. Exit code 1: one differs."""
    from placet.policy.cases import cases_folder, run_cases

    session = Session(json=json)
    path, document = _load(policy)
    results = run_cases(document, cases or cases_folder(path))
    session.result(_results_json(document, results), lambda console: _show_results(console, results))
    if not all(item.passed for item in results):
        raise typer.Exit(REFUSED)


def explain(
    policy: PolicyArgument = None,
    samples: Annotated[
        bool,
        typer.Option("--samples", help="Load the suites too, and say what each gate can show on its sample."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Say in words what a policy demands, why, and who has to sign."""
    session = Session(json=json)
    _, document = _load(policy)
    notes = _notes(session, document) if samples else {}
    session.result(_explain_json(document, notes), lambda console: _explain(console, document, notes))


def _load(path: Path | None) -> tuple[Path, Policy]:
    from placet.policy.loader import load_policy
    from placet.resources import default_policy

    chosen = path or default_policy()
    return chosen, load_policy(chosen)


def _notes(session: Session, policy: Policy) -> dict[str, SampleNote]:
    from placet.measuring.suite import load_suite
    from placet.policy.planning import review_samples, sample_sizes
    from placet.resources import evals_dir

    documents: dict[str, int] = {}
    with session.progress() as progress:
        for suite in policy.suites:
            documents[suite] = len(load_suite(evals_dir() / suite, progress=progress).rows())
    return {note.gate: note for note in review_samples(policy, sample_sizes(policy, documents))}


def _show_results(console: Console, results: tuple[CaseResult, ...]) -> None:
    for item in results:
        mark = words("ok      ", style="green") if item.passed else words("DIFFERS ", style="bold red")
        console.print(mark + words(f"{item.name}: {item.title}"), soft_wrap=True)
        for problem in item.problems:
            console.print(f"          {problem}", soft_wrap=True)
    failed = sum(not item.passed for item in results)
    console.print(
        f"{len(results)} cases, {failed} differ" if failed else f"{len(results)} cases, all as expected"
    )


def _results_json(policy: Policy, results: tuple[CaseResult, ...]) -> dict[str, Any]:
    return {
        "policy": policy.ref.to_json(),
        "passed": all(item.passed for item in results),
        "cases": [
            {"name": item.name, "title": item.title, "passed": item.passed, "problems": list(item.problems)}
            for item in results
        ],
    }


def _explain(console: Console, policy: Policy, notes: dict[str, SampleNote]) -> None:
    console.print(words(f"{policy.id} {policy.version}: {policy.title}", style="bold"), soft_wrap=True)
    console.print(policy.description)
    console.print(f"Risk tier {policy.risk_tier}: {policy.risk}")
    review = policy.review
    apart = f", none of them its {' or '.join(review.separate_from)}" if review.separate_from else ""
    console.print(
        f"Approved by {review.approvals} people{apart}; an approval holds for {review.valid_days} days.",
        soft_wrap=True,
    )
    for gate in policy.gates:
        console.print()
        console.print(
            words(gate.id, style="bold") + words(f"  {gate.kind}{_condition(gate)}"), soft_wrap=True
        )
        console.print(f"  {gate.why}")
        if gate.id in notes:
            console.print(f"  {notes[gate.id].text}")
        console.print(f"  {_consequence(gate, policy)}", style="dim")


def _condition(gate: Gate) -> str:
    written = gate.model_dump(mode="json", exclude=_NOT_A_CONDITION, exclude_none=True)
    return "".join(f", {name} {value}" for name, value in written.items() if value not in ("", [], {}))


def _consequence(gate: Gate, policy: Policy) -> str:
    if not gate.required:
        return "advisory: shown, and the decision does not depend on it"
    if gate.waivable:
        people = gate.waivers or policy.review.waivers_needed
        return f"required; {people} people may waive it when it is inconclusive, never when it failed"
    return "required; nobody can waive it"


def _explain_json(policy: Policy, notes: dict[str, SampleNote]) -> dict[str, Any]:
    return {
        "policy": policy.ref.to_json(),
        "document": policy.to_json(),
        "samples": [
            {"gate": note.gate, "n": note.n, "adequate": note.adequate, "text": note.text}
            for note in notes.values()
        ],
    }
