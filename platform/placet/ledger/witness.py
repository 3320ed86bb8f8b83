"""A witness: remembers the last checkpoint of a log that it saw, and co-signs only what continues it.

It runs elsewhere, as another user: what it remembers is a folder of its own (a checkout that it pushes, a mounted
object store), and the log's operator cannot write there. Whoever holds its key's public half can then tell a log that
was rewritten or cut short from one that only grew. The memory is durable before a co-signature leaves the witness, so
a witness that is killed never co-signs two histories.

It does not read records: what was signed wrongly and logged is for the audit to find.

Source: C2SP tlog-witness (the update's form) and tlog-cosignature.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import Field

from placet.attest.keyfiles import load_signer, save_key
from placet.attest.keys import LocalSigner, PublicKey, Signer, new_signer
from placet.attest.strict_json import parse_base64, parse_json
from placet.domain.digests import canonical_json
from placet.domain.errors import Error, IntegrityError, StorageError, UsageError
from placet.domain.records import Record
from placet.ledger.checkpoint import Checkpoint, verify_checkpoint_by_any
from placet.ledger.lock import DEFAULT_WAIT_S, ledger_lock
from placet.ledger.merkle import HASH_BYTES, verify_consistency
from placet.ledger.note import (
    LOG_KEY_TYPE,
    WITNESS_KEY_TYPE,
    VerifierKey,
    check_name,
    cosign,
    parse_verifier_key,
    verify_cosignature,
)
from placet.ledger.store import LedgerStore

KEY_NAME = "witness"
_MAX_HASHES = 128


class ConflictError(IntegrityError):
    """A checkpoint does not continue what the witness saw before: it is not co-signed. `evidence` is what was kept."""

    def __init__(self, message: str, evidence: Path) -> None:
        super().__init__(message, hint=f"both checkpoints, as they were signed, are kept in {evidence}")
        self.evidence = evidence


@dataclass(frozen=True, slots=True)
class Update:
    """A newer checkpoint, with the proof that it continues the log of `old_size`; verified by nobody yet."""

    old_size: int
    proof: tuple[bytes, ...]
    note: str


def make_update(store: LedgerStore, old_size: int) -> Update:
    """Return what a witness that saw `old_size` records needs to go on to the newest checkpoint.

    A log that has fewer records than that gives its newest checkpoint without a proof, for the witness to refuse.

    Raises:
        UsageError: The log has no checkpoint.
    """
    with store.reading():
        note = store.latest_checkpoint()
        if note is None:
            raise UsageError(
                "the log has no checkpoint yet", hint="there is nothing to witness in an empty log"
            )
        size = _size_in(note)
        proof = store.consistency_proof(old_size, size) if 0 < old_size < size else ()
    return Update(old_size, proof, note)


def dump_update(update: Update) -> str:
    """Return the text of an update."""
    hashes = (base64.b64encode(item).decode() for item in update.proof)
    return "\n".join((f"old {update.old_size}", *hashes)) + "\n\n" + update.note


def parse_update(text: str) -> Update:
    """Return the update in `text`.

    Raises:
        IntegrityError: It is none.
    """
    head, separator, note = text.partition("\n\n")
    first, *rest = head.split("\n")
    word, _, number = first.partition(" ")
    try:
        if word != "old" or not separator or not number.isdecimal() or str(int(number)) != number:
            raise ValueError("it does not begin with the size of the older log")
        proof = tuple(parse_base64(line) for line in rest)
        if len(proof) > _MAX_HASHES or any(len(item) != HASH_BYTES for item in proof):
            raise ValueError("a hash is 32 bytes")
    except (Error, ValueError) as error:
        raise IntegrityError(
            f"not an update for a witness: {error}", hint="make it with `placet ledger update --old SIZE`"
        ) from error
    return Update(int(number), proof, note)


class WitnessSettings(Record):
    """A witness's name, and the verifier keys of each log that it watches, by the log's origin.

    `retired` are keys that a log had before: what is remembered may be signed by one of them, nothing new may.
    """

    name: str
    logs: dict[str, tuple[str, ...]] = Field(min_length=1)
    retired: dict[str, tuple[str, ...]] | None = None


class Witness:
    """A witness and its memory.

    Args:
        folder: Its memory.
        settings: Its name and the logs it watches.
        signer: Its key; None to look only.
        clock: Tells the moment that a co-signature names.
    """

    def __init__(
        self, folder: Path, settings: WitnessSettings, signer: Signer | None, clock: Callable[[], datetime]
    ) -> None:
        self.folder = folder
        self.settings = settings
        self._signer = signer
        self._clock = clock

    @classmethod
    def create(
        cls,
        folder: Path,
        name: str,
        logs: tuple[str, ...],
        passphrase: str,
        clock: Callable[[], datetime],
        *,
        begin: Sequence[str] = (),
    ) -> Witness:
        """Make a witness that watches the logs of these verifier keys.

        Args:
            folder: Its memory.
            name: Its name.
            logs: Verifier keys of the logs.
            passphrase: Of its own key, which is made here.
            clock: Tells the moment that a co-signature names.
            begin: Checkpoints that it is to begin at, one for a log: what does not continue them is refused. Of a log
                without one the first checkpoint that is shown is believed.

        Raises:
            UsageError: There is a witness already, or a name or key cannot be used.
            IntegrityError: A checkpoint to begin at is not signed by the log's key.
            KeyAccessError: The passphrase is too short.
        """
        check_name(name)
        if (folder / "witness.json").exists():
            raise UsageError(
                f"{folder} is a witness's memory already", hint="use it, or choose another folder"
            )
        by_origin = _by_origin(logs)
        settings = WitnessSettings(name=name, logs=by_origin)
        path = folder / f"{KEY_NAME}.pem"
        # An interrupted call left a key and no settings: use it, so that it can simply be repeated.
        signer = load_signer(path, passphrase) if path.exists() else new_signer()
        if not path.exists():
            save_key(signer, path, passphrase)
        witness = cls(folder, settings, signer, clock)
        known = [witness._verified(note, note.partition("\n")[0]) for note in begin]
        for checkpoint in known:
            witness._remember(checkpoint)
        _write(folder / "witness.json", canonical_json(settings.to_json()))
        return witness

    @classmethod
    def open(cls, folder: Path, signer: Signer | None, clock: Callable[[], datetime]) -> Witness:
        """Open the memory in `folder`.

        Raises:
            UsageError: There is none.
            IntegrityError: Its settings are malformed.
        """
        try:
            data = (folder / "witness.json").read_bytes()
        except OSError as error:
            raise UsageError(f"no witness at {folder}", hint="make one with `placet witness init`") from error
        try:
            settings = WitnessSettings.from_json(parse_json(data, "witness.json"))
        except IntegrityError as error:
            raise IntegrityError(
                f"the witness's settings cannot be read: {error}",
                hint="put witness.json back from a copy of its memory",
            ) from error
        return cls(folder, settings, signer, clock)

    @property
    def key(self) -> VerifierKey:
        """The witness's verifier key."""
        from placet.attest.keys import parse_public_key

        try:
            public = (self.folder / f"{KEY_NAME}.pem.pub").read_text()
        except OSError as error:
            raise StorageError(
                f"{KEY_NAME}.pem.pub cannot be read: {error.strerror}", hint="put the witness's files back"
            ) from error
        return VerifierKey(self.settings.name, WITNESS_KEY_TYPE, parse_public_key(public))

    def remembered(self, origin: str) -> Checkpoint | None:
        """Return the last checkpoint of a log that was co-signed here, checked; None before the first.

        Raises:
            IntegrityError: What is remembered is not what this witness co-signed.
        """
        try:
            note = (self._memory(origin) / "checkpoint").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError("the witness's memory cannot be read", hint="put its files back") from error
        try:
            verify_cosignature(note, self.settings.name, self.key.key)
            return self._verified(note, origin, remembered=True)
        except IntegrityError as error:
            raise IntegrityError(
                f"what this witness remembers of {origin} is not what it co-signed: {error}",
                hint="put its key and logs/ back from one copy of its memory; a witness with another key begins at "
                "the old one's checkpoint: `placet witness init --from`",
            ) from error

    def rekey(self, logs: Sequence[str]) -> None:
        """Believe only these verifier keys of their logs from now on; what is remembered of each log stays.

        Raises:
            UsageError: A key is none, or is of a log that this witness does not watch.
            StorageError: It cannot be written.
        """
        retired = dict(self.settings.retired or {})
        by_origin = _by_origin(logs)
        for origin, keys in by_origin.items():
            if origin not in self.settings.logs:
                raise self._not_watched(origin)
            before = dict.fromkeys((*retired.get(origin, ()), *self.settings.logs[origin]))
            retired[origin] = tuple(key for key in before if key not in keys)
        made = WitnessSettings(
            name=self.settings.name, logs={**self.settings.logs, **by_origin}, retired=retired
        )
        _write(self.folder / "witness.json", canonical_json(made.to_json()))
        self.settings = made

    def add(self, update: Update) -> str:
        """Co-sign the checkpoint of an update, remember it, and return it with the co-signature.

        Raises:
            ConflictError: It does not continue what was seen before; both are kept as evidence.
            UsageError: The update is for another size than the one remembered, or of a log not watched.
            IntegrityError: It is not signed by the log's key.
            StorageError: It cannot be remembered; then it is not co-signed.
        """
        if self._signer is None:
            raise UsageError("the witness's key is not open", hint="run it with its passphrase")
        origin = update.note.partition("\n")[0]
        checkpoint = self._verified(update.note, origin)
        folder = self._memory(origin)
        folder.mkdir(parents=True, exist_ok=True)
        with ledger_lock(folder / "lock", exclusive=True, wait_s=DEFAULT_WAIT_S, what="the witness's memory"):
            seen = self.remembered(origin)
            if seen is not None:
                self._compare(seen, checkpoint, update)
            return self._remember(checkpoint)

    def _remember(self, checkpoint: Checkpoint) -> str:
        """Co-sign a checkpoint that was verified, and return it with the co-signature."""
        if self._signer is None:
            raise UsageError("the witness's key is not open", hint="run it with its passphrase")
        note = cosign(checkpoint.note, self.settings.name, self._signer, int(self._clock().timestamp()))
        # Remembered before anybody is told: a witness that dies in between has promised nothing.
        _write(self._memory(checkpoint.origin) / "checkpoint", note.encode())
        return note

    def _compare(self, seen: Checkpoint, new: Checkpoint, update: Update) -> None:
        if new.size < seen.size:
            self._refuse(
                seen, update, f"the log was cut back: it had {seen.size} records and shows {new.size} now"
            )
        if new.size == seen.size:
            if new.root != seen.root:
                self._refuse(
                    seen, update, f"the log was forked: there are two histories of {seen.size} records"
                )
            return
        if update.old_size != seen.size:
            raise UsageError(
                f"the update is for a witness that saw {update.old_size} records; this one saw {seen.size}",
                hint=f"make it with `placet ledger update --old {seen.size}`",
            )
        try:
            verify_consistency(seen.size, new.size, seen.root, new.root, update.proof)
        except IntegrityError as error:
            self._refuse(
                seen,
                update,
                f"the log of {new.size} records is not shown to continue the {seen.size} seen before: {error}",
            )

    def _refuse(self, seen: Checkpoint, update: Update, message: str) -> None:
        text = f"{message}\n\n--- seen before ---\n{seen.note}\n--- shown now ---\n{dump_update(update)}"
        name = hashlib.sha256(update.note.encode()).hexdigest()[:16]
        evidence = self._memory(seen.origin) / "refused" / f"{seen.size}-{name}.txt"
        evidence.parent.mkdir(parents=True, exist_ok=True)
        _write(evidence, text.encode())
        raise ConflictError(message, evidence)

    def _verified(self, note: str, origin: str, *, remembered: bool = False) -> Checkpoint:
        """Return a checkpoint that is signed by a key of its log; what is `remembered`, also by one it had before."""
        if origin not in self.settings.logs:
            raise self._not_watched(origin)
        before = (self.settings.retired or {}).get(origin, ())
        try:
            return verify_checkpoint_by_any(note, origin, _public(self.settings.logs[origin]))
        except IntegrityError as error:
            if remembered and before:
                return verify_checkpoint_by_any(note, origin, _public(before))
            raise IntegrityError(
                str(error),
                hint="it was forged or damaged; or the office changed its log's key: have the new one from a person "
                "you trust, and `placet witness rekey`",
            ) from error

    def _not_watched(self, origin: str) -> UsageError:
        return UsageError(
            f"this witness does not watch {origin[:80]!r}",
            hint="it watches " + ", ".join(sorted(self.settings.logs)),
        )

    def _memory(self, origin: str) -> Path:
        # An origin may hold anything; a folder's name may not.
        name = "".join(c if c.isalnum() or c in "-." else "-" for c in origin).strip(".-")[:60]
        return self.folder / "logs" / f"{name}-{hashlib.sha256(origin.encode()).hexdigest()[:8]}"


def open_key(folder: Path, passphrase: str) -> LocalSigner:
    """Return the signer of the witness in `folder`.

    Raises:
        KeyAccessError: It does not open.
    """
    return load_signer(folder / f"{KEY_NAME}.pem", passphrase)


def _by_origin(logs: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return verifier keys of logs by the logs' origins.

    Raises:
        UsageError: There is none, or one is malformed.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in logs:
        key = parse_verifier_key(text, LOG_KEY_TYPE)
        found[key.name] = (*found.get(key.name, ()), str(key))
    if not found:
        raise UsageError("a witness needs a log to watch", hint="--log KEY: `placet ledger key` prints it")
    return found


def _public(keys: Iterable[str]) -> list[PublicKey]:
    return [parse_verifier_key(text, LOG_KEY_TYPE).key for text in keys]


def log_key(origin: str, key: PublicKey) -> VerifierKey:
    """Return a log's key as a verifier key."""
    return VerifierKey(origin, LOG_KEY_TYPE, key)


def _size_in(note: str) -> int:
    try:
        return int(note.split("\n")[1])
    except (IndexError, ValueError) as error:
        raise IntegrityError("a checkpoint is malformed", hint="run `placet audit`") from error


def _write(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all, and durable."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(
            f"{path.name} cannot be written: {error.strerror}", hint="check free space and permissions"
        ) from error
