"""Verifies the signatures of a stretch, with each key opened once."""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from placet.attest.draw import verify_draw
from placet.attest.envelope import PAYLOAD_TYPE, Envelope, pre_authentication_encoding
from placet.attest.keys import KeyKind, PublicKey, parse_public_key
from placet.attest.predicates import PredicateSpec, RootChange
from placet.attest.trust import Trust
from placet.domain.digests import Digest
from placet.domain.records import Plan


class Verifier:
    """Verifies signature and role as :meth:`~placet.attest.trust.Trust.verify` does, with keys opened once.

    What does not pass here is handed to that method, whose words say why. A plan's draw is verified by itself, once its
    record was read.
    """

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        # Opened once: making the library's key object anew for each signature costs a tenth of the check.
        self._keys = {
            grant.key_id: Ed25519PublicKey.from_public_bytes(_public_key(grant.public_key).raw)
            for grant in trust.roles.grants
            if _public_key(grant.public_key).kind is KeyKind.ED25519
            and not trust.root.ever_held(grant.key_id)
        }
        self._person = {grant.key_id: grant.person for grant in trust.roles.grants}
        self._spans: dict[tuple[str, str], tuple[tuple[int, int], ...]] = {}

    def verify(self, envelope: Envelope, index: int, spec: PredicateSpec) -> str:
        """Return who signed the record.

        Raises:
            NotAuthorizedError, IntegrityError: It does not verify, or its key may not sign that kind at `index`.
        """
        key = self._keys.get(envelope.key_id)
        if key is None:
            return self._trust.verify(envelope, index).person
        try:
            key.verify(envelope.signature, pre_authentication_encoding(PAYLOAD_TYPE, envelope.payload))
        except InvalidSignature:
            return self._trust.verify(envelope, index).person
        for start, stop in self._spans.get((envelope.key_id, spec.predicate_type)) or self._spans_of(
            envelope.key_id, spec
        ):
            if start <= index < stop:
                return self._person[envelope.key_id]
        # Raises: the key is not one that may.
        self._trust.authorize(envelope.key_id, spec.roles, index)
        return self._person[envelope.key_id]

    def verify_draw(self, plan: Plan, key_id: Digest) -> None:
        """Return if a plan's draw is that of the key that signed the plan.

        Raises:
            DrawError: It is not.
        """
        verify_draw(plan, _public_key(self._trust.grants_of(key_id)[0].public_key))

    def follows(self, change: RootChange) -> bool:
        """Tell whether a logged version of the root is one of those that the trust rests on."""
        return change.file.encode() in (item.raw for item in self._trust.root.versions)

    def _spans_of(self, key_id: str, spec: PredicateSpec) -> tuple[tuple[int, int], ...]:
        spans = self._spans[key_id, spec.predicate_type] = tuple(
            (grant.valid_from, 2**62 if grant.valid_until is None else grant.valid_until)
            for grant in self._trust.grants_of(key_id)
            if set(grant.roles) & set(spec.roles)
        )
        return spans


@lru_cache(maxsize=4096)
def _public_key(pem: str) -> PublicKey:
    return parse_public_key(pem)
