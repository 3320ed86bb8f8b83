"""Answers a model gave, kept by what they are answers to.

Guarantees: an answer is found again only under the id it was stored with; the journal survives a killed
process (a torn or damaged line is dropped, and its answer computed again) and never rewrites a byte.
What it does not do: vouch for the answers. A journal is a work file of one office; the signed record of an
evaluation is made from the rows that the stages return.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NewType, Protocol

from placet.domain.errors import StorageError

AnswerId = NewType("AnswerId", str)
"""64 hexadecimal digits: SHA-256 over engine, base, weights and rendered request."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Log-probability (nats) of a continuation, and whether greedy decoding would have produced it."""

    logprob: float
    greedy: bool


@dataclass(frozen=True, slots=True)
class Generated:
    """A generation's text after stop strings were cut, and the tokens it was made of (empty: not known)."""

    text: str
    tokens: tuple[int, ...] = ()


Answer = Likelihood | Generated


class AnswerStore(Protocol):
    """Remembers answers. `put` may be called with answers already held; they are equal by construction."""

    def get(self, answer_id: AnswerId) -> Answer | None:
        """Return the answer stored under `answer_id`, or None."""

    def put(self, answers: Iterable[tuple[AnswerId, Answer]]) -> None:
        """Store `answers`; when this returns they outlive the process (not a power cut)."""


class NullAnswers:
    """Remembers nothing."""

    def get(self, answer_id: AnswerId) -> Answer | None:
        """Return None."""
        return None

    def put(self, answers: Iterable[tuple[AnswerId, Answer]]) -> None:
        """Forget them."""


class MemoryAnswers:
    """Remembers answers as long as it lives."""

    def __init__(self) -> None:
        self._answers: dict[AnswerId, Answer] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, answer_id: AnswerId) -> Answer | None:
        """Return the answer stored under `answer_id`, or None."""
        return self._answers.get(answer_id)

    def put(self, answers: Iterable[tuple[AnswerId, Answer]]) -> None:
        """Store `answers`."""
        self._answers.update(answers)


class RecordedAnswers:
    """Answers out of signed records, in front of a store for new ones.

    Nothing found in a record is written to the store, and it is remembered which records were of use.

    Args:
        store: Where new answers go, and where those of an interrupted run are.
    """

    def __init__(self, store: AnswerStore) -> None:
        self._store = store
        self._recorded: dict[AnswerId, tuple[Answer, str]] = {}
        self._used: set[str] = set()

    @property
    def used(self) -> tuple[str, ...]:
        """The records that gave an answer, sorted."""
        return tuple(sorted(self._used))

    def add(self, record: str, answers: Iterable[tuple[AnswerId, Answer]]) -> None:
        """Offer the answers that `record` holds."""
        for key, answer in answers:
            self._recorded.setdefault(key, (answer, record))

    def get(self, answer_id: AnswerId) -> Answer | None:
        """Return the answer stored under `answer_id`, or None."""
        found = self._recorded.get(answer_id)
        if found is None:
            return self._store.get(answer_id)
        self._used.add(found[1])
        return found[0]

    def put(self, answers: Iterable[tuple[AnswerId, Answer]]) -> None:
        """Store `answers`."""
        self._store.put(answers)


class JournalAnswers:
    """Remembers answers in an append-only file, one JSON object with its own checksum on each line.

    Args:
        path: The journal; it and its folder are made when the first answer is stored.

    Raises:
        StorageError: The journal cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers: dict[AnswerId, Answer] = {}
        self.damaged_lines = 0
        self._descriptor: int | None = None
        try:
            self._load()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error}", hint="check its permissions") from error

    def __len__(self) -> int:
        return len(self._answers)

    def __enter__(self) -> JournalAnswers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, answer_id: AnswerId) -> Answer | None:
        """Return the answer stored under `answer_id`, or None."""
        return self._answers.get(answer_id)

    def put(self, answers: Iterable[tuple[AnswerId, Answer]]) -> None:
        """Append `answers` in one write."""
        fresh = [(key, answer) for key, answer in answers if key not in self._answers]
        if not fresh:
            return
        data = b"".join(_line(key, answer) for key, answer in fresh)
        try:
            written = os.write(self._open(), data)
            while written < len(data):
                written += os.write(self._open(), data[written:])
        except OSError as error:
            self.close()  # what was written of a line is closed off when the file is opened again
            raise StorageError(
                f"cannot append to {self._path}: {error.strerror or error}",
                hint="free some space and run the same command again; finished answers are kept",
            ) from error
        self._answers.update(fresh)

    def close(self) -> None:
        """Flush to the disk and close the file; the store can be used again afterwards."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
            self._descriptor = os.open(self._path, flags, 0o600)
            size = os.fstat(self._descriptor).st_size
            # A line torn by a killed process is closed off, so that the next one starts on its own.
            if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
                os.write(self._descriptor, b"\n")
        return self._descriptor

    def _load(self) -> None:
        with self._path.open("rb") as stream:
            for line in stream:
                parsed = _parse(line)
                if parsed is None:
                    self.damaged_lines += 1
                else:
                    self._answers[parsed[0]] = parsed[1]


def answer_head(parts: dict[str, Any]) -> bytes:
    """Return the digest of what all requests of one run share (base, weights, engine), for `answer_id`."""
    return hashlib.sha256(_render(parts)).digest()


def answer_id(head: bytes, kind: str, request: tuple[Any, ...]) -> AnswerId:
    """Return the id of the answer to `request` (its rendered text and every argument) under `head`."""
    return AnswerId(hashlib.sha256(head + _render([kind, list(request)])).hexdigest())


def _render(value: Any) -> bytes:
    # Not RFC 8785: generation arguments hold floats, and prompts may hold lone surrogates.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _payload(answer: Answer) -> list[Any]:
    if isinstance(answer, Likelihood):
        return ["likelihood", answer.logprob, answer.greedy]
    return ["generated", answer.text, list(answer.tokens)]


def _checksum(key: str, payload: list[Any]) -> str:
    return hashlib.sha256(_render([key, payload])).hexdigest()[:16]


def _line(key: AnswerId, answer: Answer) -> bytes:
    payload = _payload(answer)
    return _render({"answer": payload, "check": _checksum(key, payload), "id": key}) + b"\n"


def _parse(line: bytes) -> tuple[AnswerId, Answer] | None:
    """Return what a journal line says, or None when it is torn or damaged."""
    try:
        entry = json.loads(line)
        key, payload = entry["id"], entry["answer"]
        if entry["check"] != _checksum(key, payload):
            return None
        kind, *fields = payload
        if kind == "likelihood":
            logprob, greedy = fields
            return AnswerId(key), Likelihood(float(logprob), bool(greedy))
        text, tokens = fields
        return AnswerId(key), Generated(str(text), tuple(int(token) for token in tokens))
    except (ValueError, KeyError, TypeError):
        return None
