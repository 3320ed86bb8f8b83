"""The policy documents that records name: read from the store, by digest."""

from __future__ import annotations

from placet.attest.strict_json import parse_json
from placet.blobs import BlobStore
from placet.domain.digests import Digest
from placet.domain.errors import Error, UsageError
from placet.domain.records import Plan, PolicyRef
from placet.policy.conditions import questions_of
from placet.policy.evidence import RecordedPlan
from placet.policy.schema import Policy


def policy_of(blobs: BlobStore, ref: PolicyRef) -> Policy:
    """Return the policy document that a record names by its digest.

    Raises:
        UsageError: It is not in this office's store, or was written for another version.
    """
    try:
        return Policy.from_json(parse_json(blobs.read(ref.digest), "a policy"))
    except Error as error:
        raise UsageError(
            f"the document of policy {ref.id} {ref.version} cannot be read here: {error.message}",
            hint="it lies in the store of the office that made the plan, under the policy's digest",
        ) from error


class Questions:
    """What the policies of plans ask, each document read once."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._asked: dict[Digest, dict[str, str] | None] = {}

    def recorded(self, record: Digest, plan: Plan) -> RecordedPlan:
        """Return a plan with what its policy asks; a policy that cannot be read asks one knows not what."""
        digest = plan.policy.digest
        if digest not in self._asked:
            try:
                self._asked[digest] = questions_of(policy_of(self._blobs, plan.policy))
            except UsageError:
                self._asked[digest] = None  # a gate then takes it that it asked the same
        return RecordedPlan(record, plan, self._asked[digest])
