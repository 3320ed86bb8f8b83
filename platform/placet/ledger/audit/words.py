"""What an audit looked at and what it could not see, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from placet.domain.text import plural
from placet.ledger.audit.relations import BlobCheck
from placet.ledger.audit.state import AuditRun, Outside

UNKNOWN_OFFICE = "whether this is the office you know: give --pin"
"""What an audit cannot see that takes the root of trust from the office's own folder."""


def summary(run: AuditRun) -> list[str]:
    """Return a line for each thing that was looked at."""
    start = run.start
    count: Callable[[str], int] = lambda name: run.totals.get(name, 0)  # noqa: E731 - a word for each line below
    lines = [f"{plural(run.held - start, 'record')}: indices without gaps, stored hashes match the bytes"]
    if start:
        lines.append(
            f"they continue the {plural(start, 'record')} of the last audited checkpoint: each was hashed again, and "
            f"{count('again')} that bear on the new ones were read: who may sign, and what is on record about what "
            "they decide"
        )
    if run.trust is not None:
        lines.append(
            f"{plural(count('checkpoints'), 'checkpoint')}: signed by the log's key, each root recomputed"
        )
        if run.scope.signatures:
            lines.append(
                f"{plural(count('signatures'), 'signature')}, each by a key that held the role at that index"
            )
    if count("unknown"):
        lines.append(f"{plural(count('unknown'), 'record')} of types not known here: kept, not trusted")
    if run.scope.meaning and run.trust is not None:
        lines += [
            "references: what a record rests on was logged before it, and no record is dated back",
            "plans: the documents of each are those drawn for it, by the key that signed it",
            "runs: each of the documents that its plan names, for what its plan is about",
            f"{plural(len(run.verdicts), 'verdict')}: none leaves a plan or a run out, rests on other weights, on what "
            "was not measured or looked at, or says another figure than its runs; no gate was judged again",
            f"{plural(count('heads'), 'ledger state')} that plans, verdicts, reviews and feeds were signed over",
            f"{plural(run.releases, 'release')}: each approved by enough people when it was made,"
            " on its newest verdict",
            f"{plural(run.feeds, 'revocation feed')}: each counts all that was logged before it",
        ]
    if run.scope.derived:
        lines.append("derived tables, compared with the envelopes")
    return lines + run.checked


def blind_spots(
    run: AuditRun, outside: Sequence[Outside], check_blob: BlobCheck | None, pin: str | None
) -> tuple[str, ...]:
    """Return what this audit could not have seen."""
    blind = [] if pin is not None else [UNKNOWN_OFFICE]
    if not outside:
        blind.append(
            "a log rewritten or cut short and signed again with its own key: give --checkpoint FILE kept elsewhere"
        )
    blind += ["a key that was stolen before its loss was reported", "a run that was never logged"]
    if run.start:
        blind.append(
            f"the signatures of the first {run.start} records, what they say of each other, and index tables that do "
            "not bear on the new ones: the audit before looked at them"
        )
    if check_blob is None:
        blind.append("blobs that are gone or altered: they were not looked at")
    for made, what in (
        (run.scope.signatures, "forged signatures: they were not looked at"),
        (run.scope.derived, "edited index tables: they were not looked at"),
        (run.scope.meaning, "what records say of each other: it was not looked at"),
    ):
        if not made:
            blind.append(what)
    return tuple(blind)
