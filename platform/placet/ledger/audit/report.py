"""What an audit found, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_FINDINGS_OF_A_KIND = 100


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One thing that is wrong with the record: `id` names the attack, `index` the record where it shows."""

    id: str
    message: str
    index: int | None = None


@dataclass(frozen=True)
class AuditReport:
    """What an audit looked at and found. `blind` says what it could not have seen.

    `start` is the record it began at: 0, or the size of the checkpoint up to which an earlier audit had looked.
    """

    records: int
    root: str
    checked: tuple[str, ...]
    findings: tuple[AuditFinding, ...]
    blind: tuple[str, ...]
    start: int = 0
    checkpoint: str = ""
    """The newest checkpoint of what was audited: what a later audit may start from."""

    @property
    def whole(self) -> bool:
        """True when nothing was found."""
        return not self.findings


@dataclass
class Findings:
    """Findings as they come in; of each kind the first hundred are kept, and the rest are counted."""

    kept: list[AuditFinding] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def add(self, finding_id: str, message: str, index: int | None = None) -> None:
        """Add a finding."""
        self.extend((AuditFinding(finding_id, message, index),))

    def extend(self, findings: tuple[AuditFinding, ...] | list[AuditFinding]) -> None:
        """Add findings."""
        for finding in findings:
            count = self._counts[finding.id] = self._counts.get(finding.id, 0) + 1
            if count <= MAX_FINDINGS_OF_A_KIND:
                self.kept.append(finding)

    def all(self) -> tuple[AuditFinding, ...]:
        """Return the findings, with one more for each kind of which not all were kept."""
        more = [
            AuditFinding(kind, f"{count - MAX_FINDINGS_OF_A_KIND} more of this kind")
            for kind, count in self._counts.items()
            if count > MAX_FINDINGS_OF_A_KIND
        ]
        return (*self.kept, *more)


MEANINGS: dict[str, str] = {
    "bad-signature": "A record does not bear the signature of the key it names: its words are not that person's.",
    "contradicted-figure": "A verdict says another figure than the runs it rests on.",
    "damaged-blob": "A file that a record names is gone or is not the file it was.",
    "dated-back": "A record says that it was made before records that were there already.",
    "deleted-checkpoint": "A checkpoint that somebody signed over was taken out of the ledger.",
    "deleted-record": "A record was taken out of the ledger.",
    "doubled-record": "One record counts twice.",
    "edited-derived-table": "The index by which records are found says something else than the records.",
    "edited-record": "The words of a record were changed after it was logged.",
    "evidence-after-the-fact": "A decision rests on something that was written down only afterwards.",
    "false-draw": "A plan's documents are not those drawn for it, or not drawn by its signer: perhaps chosen.",
    "false-feed": "A revocation feed was signed that leaves out, or makes up, what stood in the ledger before it.",
    "foreign-checkpoint": "The checkpoint that was given is not one of this ledger.",
    "foreign-content": "The ledger file holds something that is not a ledger's, or is not built like one.",
    "foreign-evidence": "A verdict rests on runs or a plan of something else than it is about.",
    "foreign-root": "The evaluator's key put a root into the log that its holders did not sign. It is not followed.",
    "foreign-head": "Somebody signed over a history that this ledger does not have.",
    "forged-checkpoint": "A checkpoint in the ledger is not signed by the ledger's own key.",
    "forked-log": "The ledger shows another history than the one that was seen from outside.",
    "left-out-run": "A verdict does not account for a run, or the plan of one, on the same weights.",
    "malformed-record": "A signed record does not say what a record of its kind says.",
    "misfiled-record": "A record is filed under something else than it is about, where nobody would find it.",
    "missing-evidence": "A decision rests on something that is not in the ledger.",
    "missing-intake": "An adapter was judged whose files were never looked at, or were refused.",
    "rewritten-log": "Records were edited, replaced, re-ordered or deleted under a signed checkpoint.",
    "stale-head": "A plan draws its order of documents from an old state of the ledger, which somebody could choose.",
    "truncated-log": "The end of the ledger was cut off, or an old copy was put back.",
    "unallowed-release": "An adapter was released that was not approved for release.",
    "unauthorized-signer": "A record was signed by a key that had no right to sign it at that time.",
    "unmeasured-suite": "A verdict lets an adapter through that was not measured on all that was planned.",
    "unplanned-run": "A run is not the one that its plan asked for: other documents, another suite, another adapter.",
    "unsigned-tail": "The newest records are under no checkpoint.",
    "untrusted-roles": "Who may sign what was changed in a way that the office's root does not vouch for.",
    "wrong-record-id": "A record is filed under the name of another.",
}
"""What each kind of finding means, for people who do not write programs."""
