"""Which documents a plan runs, and in which order: drawn from the ledger, so that whoever plans cannot choose.

The seed of the draw is the root of a ledger state and the suite's digest. Both are fixed before the plan is written,
and anyone can draw it again; a verdict holds a plan's documents against it. What this does not give: whoever added the
last record before a plan knew its root first, and could have added another. `docs/explanation/statistics.md` says what
follows.
"""

from __future__ import annotations

import hashlib

from placet.domain.digests import Digest
from placet.domain.errors import UsageError

_DOMAIN = b"placet sample order v1\0"


def draw_order(documents: int, samples: int, root: str, suite: Digest) -> tuple[int, ...]:
    """Return `samples` distinct document numbers out of ``range(documents)``, in the order they run.

    Document ``i`` has the key SHA-256(domain, root, suite, i); the order is that of the keys. A smaller draw with
    the same seed is a prefix of a larger one.

    Args:
        documents: How many documents the suite has.
        samples: How many to draw.
        root: Merkle root of the ledger checkpoint, hexadecimal.
        suite: The suite's digest.

    Raises:
        UsageError: `samples` is not between 1 and `documents`.
    """
    if not 1 <= samples <= documents:
        raise UsageError(
            f"cannot draw {samples} of {documents} documents", hint=f"ask for 1 to {documents} samples"
        )
    seed = hashlib.sha256(_DOMAIN + root.encode() + b"\0" + suite.encode() + b"\0").digest()
    keys = [
        (hashlib.sha256(seed + number.to_bytes(8, "big")).digest(), number) for number in range(documents)
    ]
    return tuple(number for _, number in sorted(keys)[:samples])
