"""Who may sign what: as the index tables show it, and as the records themselves do."""

from __future__ import annotations

from placet.attest.predicates import Kind
from placet.attest.root import TrustRoot
from placet.attest.trust import Trust, establish_trust
from placet.domain.errors import IntegrityError
from placet.ledger.audit.state import AuditRun
from placet.ledger.reader import load_trust


def load_roles(run: AuditRun, root: TrustRoot) -> None:
    """Let the audit judge by the trust it has, else by what the index tables lead to."""
    if run.trust is None:
        try:
            run.trust = load_trust(run.store, root)
        except IntegrityError as error:
            run.found.add("untrusted-roles", f"who may sign what cannot be established: {error}")
            return
    run.checked.append(
        f"roles up to version {run.trust.roles.version}, vouched for by the office's root {root.pin}"
    )


def trust_of_records(run: AuditRun, root: TrustRoot) -> Trust | None:
    """Return the trust of all roles statements and root versions that the audit met, if it judged by another.

    The index tables lead to what the trust is made of, and whoever edits them can hide a roles statement. The audit
    meets each of them when it reads the records, and here that is counted.
    """
    met: dict[Kind, list[tuple[int, bytes]]] = {Kind.ROLES: [], Kind.ROOT: []}
    for kind, index, raw in run.trust_records:
        met[kind].append((index, raw))
    try:
        trust = establish_trust(root, met[Kind.ROLES], met[Kind.ROOT])
    except IntegrityError as error:
        if run.trust is not None:
            run.found.add("untrusted-roles", f"who may sign what cannot be established: {error}")
        return None
    return None if trust == run.trust else trust
