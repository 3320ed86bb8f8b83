"""`placet policy`: check, test, plan, explain, simulate and compare policies, and choose among those they allow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from placet.cli.errors import REFUSED
from placet.cli.judge import judge
from placet.cli.policy_words import (
    choice_json,
    explain_json,
    note_json,
    plan_row,
    results_json,
    show_choice,
    show_policy,
    show_results,
    simulation_json,
)
from placet.cli.render import print_pairs, print_table, words
from placet.cli.session import DEFAULT_HOME, HomeOption, JsonOption, Session, add_command
from placet.domain.digests import short
from placet.domain.errors import UsageError
from placet.domain.text import duration

if TYPE_CHECKING:
    from placet.measuring.suite import Suite
    from placet.pipeline.costs import Cost
    from placet.policy.notes import SampleNote
    from placet.policy.schema import Policy


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


def check(policy: PolicyArgument = None, suites: SuitesOption = None, json: JsonOption = False) -> None:
    """Check that a policy is well formed and fits its suites, and name its content.

    Of the suites only what they declare is read: none of their documents. Exit code 2: it is not or does not, with
    file, line and fix.
    """
    from placet.policy.fitting import KnownSuite, require_fit

    session = Session(json=json)
    path, document = _load(policy)
    found = _declared(document, suites)
    require_fit(document, {name: KnownSuite(suite.value_range) for name, suite in found.items()}, path)
    ref = document.ref
    unknown = [name for name in document.suites if name not in found]
    pairs = [
        ("policy", f"{ref.id} {ref.version}"),
        ("digest", ref.digest),
        ("gates", ", ".join(gate.id for gate in document.gates)),
    ]
    if unknown:
        pairs.append(("not found", f"suite {', '.join(unknown)}: its gates' limits were not held against it"))
    value = {
        "policy": ref.to_json(),
        "gates": [gate.id for gate in document.gates],
        "suitesNotFound": unknown,
    }
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
    session.result(results_json(document, results), lambda console: show_results(console, results))
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
    path, document = _load(policy)
    notes = _notes(session, document, path) if samples else {}
    session.result(explain_json(document, notes), lambda console: show_policy(console, document, notes))


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
    path, document = _load(policy)
    rows, cost, notes = _planned(session, document, path, suites)

    def show(console: Console) -> None:
        headings = ("suite", "has", "planned", "mode", "expected", "time on one subject")
        sums = tuple(sum(row[name] for row in rows) for name in ("documents", "planned"))
        seconds = duration(cost.seconds) if cost.runs else "never run here"
        print_table(
            console,
            headings,
            [*(plan_row(row) for row in rows), ("all", *sums, "", cost.samples, seconds)],
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
        "gates": [note_json(note) for note in notes],
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

    A release is refused too where those who signed for it would have been too few, or people kept apart.
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
                "; ".join(flip.lacking) or "-",
            )
            for flip in done.flips
        )
        if done.flips:
            headings = ("adapter", "verdict", "was", "would be", "because of", "released to", "which lacks")
            print_table(console, headings, rows)
        refused = sum(flip.refused for flip in done.flips)
        console.print(
            f"{done.verdicts} verdicts, {len(done.flips)} would come out otherwise or need other signatures, "
            f"{refused} of them on released adapters that {done.policy.id} {done.policy.version} would have refused."
        )
        for record, why in history.left_out:
            console.print(f"not tried: verdict {short(record)}: {why}", soft_wrap=True)

    session.result(simulation_json(done, history.left_out), show)
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
    session.result(choice_json(document, choice), lambda console: show_choice(console, choice))
    if not choice.chosen:
        raise typer.Exit(REFUSED)


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
    session: Session, policy: Policy, path: Path, suites: Path | None
) -> tuple[list[dict[str, Any]], Cost, tuple[SampleNote, ...]]:
    from placet.pipeline.costs import cost_of, paces
    from placet.policy.forecasts import expected_documents

    loaded = _load_suites(session, policy, path, suites)
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


def _declared(policy: Policy, folder: Path | None) -> dict[str, Suite]:
    """Return those of the policy's suites that are in `folder`, without their documents."""
    from placet.measuring.suite import MANIFEST, load_suite
    from placet.resources import evals_dir

    home = folder or evals_dir()
    return {name: load_suite(home / name) for name in policy.suites if (home / name / MANIFEST).is_file()}


def _load_suites(
    session: Session, policy: Policy, path: Path, folder: Path | None = None
) -> dict[str, Suite]:
    """Return the policy's suites with their documents, which may have to be fetched; refuse what does not fit them."""
    from placet.measuring.suite import load_suite
    from placet.policy.fitting import KnownSuite, require_fit
    from placet.resources import evals_dir

    with session.progress() as progress:
        loaded = {
            name: load_suite((folder or evals_dir()) / name, progress=progress) for name in policy.suites
        }
        for suite in loaded.values():
            suite.rows()
    known = {name: KnownSuite(suite.value_range, len(suite.rows())) for name, suite in loaded.items()}
    require_fit(policy, known, path)
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


def _load(path: Path | None) -> tuple[Path, Policy]:
    from placet.policy.loader import load_policy
    from placet.resources import default_policy

    chosen = path or default_policy()
    return chosen, load_policy(chosen)


def _notes(session: Session, policy: Policy, path: Path) -> dict[str, SampleNote]:
    *_, notes = _reviewed(policy, _load_suites(session, policy, path))
    return {note.gate: note for note in notes}
