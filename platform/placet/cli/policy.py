"""`placet policy`: check, test, plan, explain, simulate and compare policies, and choose among those they allow."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from placet.cli.errors import REFUSED
from placet.cli.judge import judge
from placet.cli.render import print_pairs, print_table, words
from placet.cli.session import DEFAULT_HOME, HomeOption, JsonOption, Session, add_command
from placet.domain.digests import short
from placet.domain.errors import UsageError
from placet.domain.text import duration

if TYPE_CHECKING:
    from placet.measuring.suite import Suite
    from placet.pipeline.costs import Cost
    from placet.policy.candidates import Choice
    from placet.policy.cases import CaseResult
    from placet.policy.model import Gate
    from placet.policy.notes import SampleNote
    from placet.policy.schema import Policy
    from placet.policy.simulate import Simulation

_NOT_A_CONDITION = {"id", "kind", "why", "required", "waivable", "waivers", "planning"}

SuitesOption = Annotated[
    Path | None,
    typer.Option("--suites", metavar="FOLDER", help="Folder of the policy's suites; else Placet's own."),
]
PolicyArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE", help="The policy; else the default one that Placet carries.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(no_args_is_help=True, help="Policies: checked, tested, planned, simulated.")
    add_command(group, "check", check, "placet policy check policies/default.yaml")
    add_command(group, "test", run_tests, "placet policy test", "placet policy test policies/default.yaml")
    lines = ("placet policy explain", "placet policy explain policies/default.yaml --samples")
    add_command(group, "explain", explain, *lines)
    lines = ("placet policy plan", "placet policy plan policies/healthcare.yaml --home office")
    add_command(group, "plan", plan, *lines)
    add_command(group, "simulate", simulate, "placet policy simulate stricter.yaml")
    lines = (
        "placet policy choose policies/default.yaml",
        "placet policy choose sweep.yaml --rate 0.1 --base tiny",
    )
    add_command(group, "choose", choose, *lines)
    lines = ("placet policy judge labels.csv", "placet policy judge labels.csv --documents 500")
    add_command(group, "judge", judge, *lines)
    add_command(group, "diff", diff, "placet policy diff policies/default.yaml stricter.yaml")
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


def plan(
    policy: PolicyArgument = None,
    suites: SuitesOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Say what measuring under a policy takes and what it can show: sizes, least margins, documents, time.

    Times are those of earlier runs in the office, where there is one. Nothing is written or measured. Exit code 2: the
    policy says `underpowered: refuse`, and a gate's sample cannot show what it asks.
    """
    from placet.policy.notes import group_lines

    session = Session(home, json)
    _, document = _load(policy)
    rows, cost, notes = _planned(session, document, suites)

    def show(console: Console) -> None:
        headings = ("suite", "has", "planned", "mode", "expected", "time on one subject")
        sums = tuple(sum(row[name] for row in rows) for name in ("documents", "planned"))
        seconds = duration(cost.seconds) if cost.runs else "never run here"
        print_table(
            console,
            headings,
            [*(_plan_row(row) for row in rows), ("all", *sums, "", cost.samples, seconds)],
        )
        console.print(
            f"Each adapter: {cost.told()}; as much once for the base, and for each adapter compared with.",
            soft_wrap=True,
        )
        if any(row["mode"] == "sequential" for row in rows):
            console.print(
                "Sequential suites: expected for an adapter as the gates' `planning` says; all of them at most."
            )
        for note in notes:
            mark = words("ok    ", style="green") if note.adequate else words("small ", style="bold yellow")
            console.print(mark + words(f"{note.gate}: {note.full_text}"), soft_wrap=True)
            for line in group_lines(note):
                console.print(words(f"      {line}", style="dim"), soft_wrap=True)

    value = {
        "policy": document.ref.to_json(),
        "suites": rows,
        "eachSubject": {
            "samples": cost.samples,
            "expected_s": round(cost.seconds, 1) if cost.runs else None,
            "earlierRuns": cost.runs,
            "neverRun": list(cost.unknown),
        },
        "gates": [_note_json(note) for note in notes],
    }
    session.result(value, show)


def simulate(
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The policy to try.")],
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Read all evidence anew, instead of what was kept of it.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Try a policy on every past verdict: which would have come out otherwise, which releases would have been refused.

    Nothing is decided or recorded. Exit code 1: a release would have been refused.
    """
    from placet.pipeline.history import load_history
    from placet.policy.loader import load_policy
    from placet.policy.simulate import simulate as try_policy

    session = Session(home, json)
    office, document = session.office(), load_policy(new)
    with session.progress() as progress:
        history = load_history(office, progress, fresh=fresh)
        done = try_policy(document, history.facts, history.evidence_of, history.about_of, progress=progress)

    def show(console: Console) -> None:
        rows = (
            (
                flip.label,
                short(flip.record),
                flip.before,
                flip.after,
                ", ".join(f"{gate} {outcome}" for gate, outcome in flip.gates) or "-",
                ", ".join(flip.released) or "-",
            )
            for flip in done.flips
        )
        if done.flips:
            print_table(console, ("adapter", "verdict", "was", "would be", "because of", "released to"), rows)
        refused = sum(flip.refused for flip in done.flips)
        console.print(
            f"{done.verdicts} verdicts, {len(done.flips)} would come out otherwise, "
            f"{refused} of them on released adapters that {done.policy.id} {done.policy.version} would have refused."
        )
        for record, why in history.left_out:
            console.print(f"not tried: verdict {short(record)}: {why}", soft_wrap=True)

    session.result(_simulation_json(done, history.left_out), show)
    if any(flip.refused for flip in done.flips):
        raise typer.Exit(REFUSED)


def choose(
    policy: PolicyArgument = None,
    rate: Annotated[
        float,
        typer.Option(
            "--rate",
            metavar="SHARE",
            help="The share of harmful ones, on average, that may be among those chosen; above 0 and below 1.",
        ),
    ] = 0.05,
    base: Annotated[
        str | None,
        typer.Option(
            "--base", metavar="BASE", help="Only candidates on this base: its label, or the start of its id."
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Choose among many candidates: which of those that the policy allows may be taken together.

    Every adapter that was planned under the policy counts, those that failed too. Nothing is recorded, and no verdict
    changes. Exit code 1: none is chosen.
    """
    from placet.pipeline.bases import find_base
    from placet.pipeline.candidates import find_candidates
    from placet.policy.candidates import choose as choose_among

    session = Session(home, json)
    _, document = _load(policy)
    if not 0.0 < rate < 1.0:
        raise UsageError(f"--rate {rate:g} is no share", hint="give one above 0 and below 1, such as 0.05")
    reader = session.office().reader()
    on = None if base is None else find_base(reader, base).record.ref.id
    candidates = find_candidates(reader, document.ref.digest, on)
    if not candidates:
        raise UsageError(
            f"no adapter was planned under {document.ref.id} {document.ref.version}"
            + (f" on {base}" if base else ""),
            hint="a policy is named by its content: give the file that `placet gate` was given, as it was",
        )
    choice = choose_among(document, candidates, rate)
    session.result(_choice_json(document, choice), lambda console: _show_choice(console, choice))
    if not choice.chosen:
        raise typer.Exit(REFUSED)


def _show_choice(console: Console, choice: Choice) -> None:
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


def _choice_json(policy: Policy, choice: Choice) -> dict[str, Any]:
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


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A policy.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another, or its next version.")],
    json: JsonOption = False,
) -> None:
    """Say in words what one policy asks and another does not, and whether that is stricter or laxer."""
    from placet.policy.diff import diff_policies
    from placet.policy.loader import load_policy

    session = Session(json=json)
    before, after = load_policy(old), load_policy(new)
    changes = diff_policies(before, after)

    def show(console: Console) -> None:
        for change in changes:
            style = {"stricter": "green", "laxer": "bold yellow"}.get(change.effect, "")
            mark = words(f"{change.effect or '-':<9}", style=style)
            text = change.text if change.text.startswith(change.where) else f"{change.where}: {change.text}"
            console.print(mark + words(text), soft_wrap=True)
        if not changes:
            console.print("Both ask the same.")

    value = {
        "old": before.ref.to_json(),
        "new": after.ref.to_json(),
        "changes": [{"where": one.where, "text": one.text, "effect": one.effect} for one in changes],
    }
    session.result(value, show)


def _planned(
    session: Session, policy: Policy, suites: Path | None
) -> tuple[list[dict[str, Any]], Cost, tuple[SampleNote, ...]]:
    from placet.pipeline.costs import cost_of, paces
    from placet.policy.forecasts import expected_documents

    loaded = _load_suites(session, policy, suites)
    documents, sizes, notes = _reviewed(policy, loaded)
    known = paces(session.office().reader()) if (session.home / "office.json").exists() else {}
    rows, wanted = [], []
    for name, suite in loaded.items():
        expected = expected_documents(policy, name, documents[name])
        pace = known.get(suite.ref.digest)
        wanted.append((name, suite.ref.digest, expected))
        rows.append(
            {
                "suite": name,
                "documents": documents[name],
                "planned": sizes[name],
                "mode": policy.suites[name].mode,
                "claim": policy.suites[name].claim,
                "expected": expected,
                "expected_s": None if pace is None else round(pace.of(expected), 1),
                "earlierRuns": 0 if pace is None else pace.runs,
            }
        )
    return rows, cost_of(wanted, known), notes


def _load_suites(session: Session, policy: Policy, folder: Path | None = None) -> dict[str, Suite]:
    """Return the policy's suites with their documents, which may have to be fetched."""
    from placet.measuring.suite import load_suite
    from placet.resources import evals_dir

    with session.progress() as progress:
        loaded = {
            name: load_suite((folder or evals_dir()) / name, progress=progress) for name in policy.suites
        }
        for suite in loaded.values():
            suite.rows()
    return loaded


def _reviewed(
    policy: Policy, loaded: dict[str, Suite]
) -> tuple[dict[str, int], dict[str, int], tuple[SampleNote, ...]]:
    """Return how many documents each suite has and a plan takes, and what each gate can show on them."""
    from placet.measuring.suite import groups_by
    from placet.policy.planning import review_samples, sample_sizes

    documents = {name: len(suite.rows()) for name, suite in loaded.items()}
    sizes = sample_sizes(policy, documents)
    groups = {
        # Which documents are drawn is not known before the plan: of each group its share.
        name: {
            column: {
                value: len(members) * sizes[name] // documents[name]
                for value, members in groups_by(suite, column, range(documents[name])).items()
            }
            for column in policy.columns_of(name)
        }
        for name, suite in loaded.items()
    }
    return documents, sizes, review_samples(policy, sizes, documents, groups)


def _plan_row(row: dict[str, Any]) -> tuple[object, ...]:
    mode = row["mode"] + (f", {row['claim']}" if row["claim"] else "")
    runs = row["earlierRuns"]
    seconds = f"{duration(row['expected_s'])} ({runs} earlier runs)" if runs else "never run here"
    return row["suite"], row["documents"], row["planned"], mode, row["expected"], seconds


def _note_json(note: SampleNote) -> dict[str, Any]:
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


def _simulation_json(done: Simulation, left_out: tuple[tuple[str, str], ...]) -> dict[str, Any]:
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
            }
            for flip in done.flips
        ],
        "notTried": [{"verdict": record, "why": why} for record, why in left_out],
    }


def _load(path: Path | None) -> tuple[Path, Policy]:
    from placet.policy.loader import load_policy
    from placet.resources import default_policy

    chosen = path or default_policy()
    return chosen, load_policy(chosen)


def _notes(session: Session, policy: Policy) -> dict[str, SampleNote]:
    *_, notes = _reviewed(policy, _load_suites(session, policy))
    return {note.gate: note for note in notes}


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
    for name, sampling in policy.suites.items():
        drawn = "all documents" if sampling.samples == "all" else f"{sampling.samples} documents drawn"
        about = {"benchmark": "these very documents", "population": "all documents of this kind"}
        early = f", stopping as soon as decided, about {about[sampling.claim]}" if sampling.claim else ""
        console.print(f"Measures {name}: {drawn}{early}.", soft_wrap=True)
    for gate in policy.gates:
        console.print()
        console.print(
            words(gate.id, style="bold") + words(f"  {gate.kind}{_condition(gate)}"), soft_wrap=True
        )
        console.print(f"  {gate.why}")
        if gate.id in notes:
            console.print(words(f"  {notes[gate.id].full_text}"), soft_wrap=True)
        console.print(f"  {_consequence(gate, policy)}", style="dim")


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


def _explain_json(policy: Policy, notes: dict[str, SampleNote]) -> dict[str, Any]:
    return {
        "policy": policy.ref.to_json(),
        "document": policy.to_json(),
        "samples": [_note_json(note) for note in notes.values()],
    }
