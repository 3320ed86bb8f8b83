"""What a writer that has to wait asks of the one that holds the lock, and the answer, as bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from placet.attest.envelope import Envelope, parse_envelope
from placet.domain import errors
from placet.domain.digests import Digest
from placet.ledger.merkle import leaf_hash
from placet.ledger.queue import MAX_REQUEST_BYTES
from placet.ledger.store.base import Draft, Entry, Seen, StaleError

_ERRORS: dict[str, type[errors.Error]] = {
    kind.__name__: kind
    for kind in (*vars(errors).values(), StaleError)
    if isinstance(kind, type) and issubclass(kind, errors.Error)
}


@dataclass(frozen=True, slots=True)
class AppendRequest:
    """Envelopes that wait, what their writer had seen, and the log key it would sign with."""

    envelopes: tuple[Envelope, ...]
    seen: Seen
    log_key: Digest


def dump_request(envelopes: Sequence[Envelope | Draft], seen: Seen | None, log_key: Digest) -> bytes:
    """Return the request, or nothing where it can only be done by this process: drafts, or a check of its own."""
    made = [item for item in envelopes if isinstance(item, Envelope)]
    if seen is None or len(made) != len(envelopes) or not made:
        return b""
    if sum(len(item.raw) for item in made) > MAX_REQUEST_BYTES:
        return b""  # before it is spelled out
    value = {
        "types": list(seen.predicate_types),
        "count": seen.count,
        "key": log_key,
        "envelopes": [base64.b64encode(item.raw).decode() for item in made],
    }
    data = json.dumps(value).encode()
    return data if len(data) <= MAX_REQUEST_BYTES else b""


def parse_request(data: bytes) -> AppendRequest:
    """Return the request in `data`.

    Raises:
        ValueError, KeyError, TypeError, Error: There is none.
    """
    value = json.loads(data)
    raw = [base64.b64decode(item, validate=True) for item in value["envelopes"]]
    seen = Seen(tuple(map(str, value["types"])), int(value["count"]))
    return AppendRequest(tuple(parse_envelope(item) for item in raw), seen, Digest(str(value["key"])))


def dump_answer(result: Sequence[Entry] | errors.Error, asked: Sequence[Envelope] = ()) -> bytes:
    """Return the answer to who asked for `asked`: the entries' places, or why nothing was added.

    An entry's bytes are in it where they are others than were sent: the same statement, signed another time.
    """
    if isinstance(result, errors.Error):
        kind = type(result).__name__
        value: dict[str, Any] = {
            "error": kind if kind in _ERRORS else "Error",
            "message": result.message,
            "hint": result.hint,
        }
    else:
        value = {
            "entries": [
                [entry.index, "" if entry.envelope == item.raw else base64.b64encode(entry.envelope).decode()]
                for entry, item in zip(result, asked, strict=True)
            ],
        }
    return json.dumps(value).encode()


def parse_answer(data: bytes, envelopes: Sequence[Envelope | Draft]) -> tuple[Entry, ...]:
    """Return the entries that an answer names for what was asked.

    Raises:
        Error: What the answer says went wrong.
        StorageError: It is no answer to this.
    """
    try:
        value = json.loads(data)
        if "error" in value:
            failure = _ERRORS[value["error"]](str(value["message"]), hint=str(value["hint"]))
        else:
            return _entries(value["entries"], envelopes)
    except (ValueError, KeyError, TypeError, errors.IntegrityError) as error:
        raise errors.StorageError(
            "the process that held the ledger gave no answer that makes sense",
            hint="repeat it: nothing is ever added twice",
        ) from error
    raise failure


def _entries(listed: Sequence[Any], envelopes: Sequence[Envelope | Draft]) -> tuple[Entry, ...]:
    entries = []
    for (index, text), envelope in zip(listed, envelopes, strict=True):
        if not isinstance(envelope, Envelope):
            raise TypeError("a draft was not asked for")
        stored = parse_envelope(base64.b64decode(text, validate=True)) if text else envelope
        if stored.record_id != envelope.record_id:
            raise ValueError("another record")
        entries.append(Entry(int(index), stored.record_id, leaf_hash(stored.raw), stored.raw))
    return tuple(entries)
