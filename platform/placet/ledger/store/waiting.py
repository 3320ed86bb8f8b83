"""Requests of other writers that the one that holds a ledger file serves along with its own."""

from __future__ import annotations

from collections.abc import Sequence

from placet.domain.digests import Digest
from placet.domain.errors import Error, StorageError
from placet.ledger.queue import Claim, Queue
from placet.ledger.store.base import Check, Entry, Seen
from placet.ledger.store.batch import Batch
from placet.ledger.store.requests import AppendRequest, dump_answer, parse_request


class Waiting:
    """What waits in a queue, as far as a writer with `seen` and this log key can serve it."""

    def __init__(self, queue: Queue, seen: Seen | None, log_key: Digest) -> None:
        self._queue = queue
        self._seen = seen
        self._log_key = log_key
        self._served: list[tuple[Claim, AppendRequest, Sequence[Entry] | Error]] = []

    def serve(self, batch: Batch, check: Check | None) -> None:
        """Take in what fits: what others would have checked in the same way and signed with the same key."""
        if self._seen is None or not self._queue.anybody():
            return
        self._queue.sweep()
        for claim in self._queue.claims():
            request = _request(claim)
            if request is None or (request.seen, request.log_key) != (self._seen, self._log_key):
                self._queue.give_back(claim)
                continue
            try:
                self._served.append((claim, request, batch.add(request.envelopes, check)))
            except Error as error:
                self._served.append((claim, request, error))

    def reply(self) -> None:
        """Tell each how it went."""
        for claim, request, result in self._served:
            claim.reply(dump_answer(result, request.envelopes))

    def fail(self, error: BaseException) -> None:
        """Tell each that was served that the whole transaction failed."""
        if not isinstance(error, Error):
            error = StorageError(
                "the process that held the ledger was interrupted",
                hint="repeat it: nothing is ever added twice",
            )
        for claim, _, result in self._served:
            claim.reply(dump_answer(result if isinstance(result, Error) else error))


def _request(claim: Claim) -> AppendRequest | None:
    try:
        return parse_request(claim.request)
    except (ValueError, KeyError, TypeError, Error):
        return None
