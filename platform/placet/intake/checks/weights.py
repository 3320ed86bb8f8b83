"""The weights file: its format, and the numbers in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from placet.domain.errors import IntegrityError, UndecidedError
from placet.domain.records import CheckResult, Finding
from placet.intake.context import WEIGHTS, Context, concluded, grouped
from placet.intake.findings import finding
from placet.intake.modules import pair_half
from placet.intake.tensor_file import TensorEntry, TensorFileError

if TYPE_CHECKING:
    import numpy as np

ACCEPTED_TYPES = frozenset({"F32", "F16", "BF16"})

_CHUNK_BYTES = 4 << 20  # a multiple of every element size
_PICKLE_STARTS = (b"PK\x03\x04", *(bytes([0x80, version]) for version in range(2, 6)))

# Bits of a little-endian IEEE 754 number (or its upper half, for BF16): unsigned type, exponent, all but the sign.
_BITS: dict[str, tuple[str, int, int]] = {
    "F32": ("<u4", 0x7F80_0000, 0x7FFF_FFFF),
    "F16": ("<u2", 0x7C00, 0x7FFF),
    "BF16": ("<u2", 0x7F80, 0x7FFF),
}


@dataclass(frozen=True, slots=True)
class FormatCheck:
    """adapter_model.safetensors means the same to every reader and holds floating-point tensors only."""

    id: str = "weights-format"
    version: str = "1"
    needs: tuple[str, ...] = ("files",)

    def run(self, context: Context) -> CheckResult:
        """Parse the header; no tensor is loaded."""
        with context.weights() as (stream, _):
            start = stream.read(4)
        if start.startswith(_PICKLE_STARTS):
            message = f"{WEIGHTS} is a pickle or a zip archive under another name"
            return concluded(self, [finding("pickle-file", message, WEIGHTS)])
        try:
            header = context.header
        except TensorFileError as error:
            return concluded(self, [finding(error.finding, error.message, WEIGHTS)])
        if not header.tensors:
            return concluded(self, [finding("malformed-weights", "the file holds no tensor", WEIGHTS)])
        odd = [
            f"{entry.name} ({entry.spec.dtype})"
            for entry in header.tensors
            if entry.spec.dtype not in ACCEPTED_TYPES
        ]
        return concluded(self, grouped("unsupported-dtype", "of another type: {}", odd))


@dataclass(slots=True)
class _Seen:
    broken: list[str] = field(default_factory=list)
    zero: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class ValuesCheck:
    """Every number is finite, and the update is not zero. Numbers are tested by their bits, without torch."""

    id: str = "weights-values"
    version: str = "1"
    needs: tuple[str, ...] = ("weights-format",)

    def run(self, context: Context) -> CheckResult:
        """Read every tensor once, a few megabytes at a time.

        Raises:
            UndecidedError: numpy is not installed.
        """
        seen = _scan(context)
        if seen.broken:
            many = f"{len(seen.broken)} of {len(context.header.tensors)} tensors hold NaN or infinity: {{}}"
            return concluded(self, grouped("non-finite-weights", many, seen.broken))
        return concluded(self, _idle(context, seen.zero))


def _scan(context: Context) -> _Seen:
    try:
        import numpy as np
    except ImportError as error:
        raise UndecidedError("numpy is not installed", hint="pip install 'placet[eval]'") from error
    seen = _Seen()
    with context.weights() as (stream, _):
        for entry in context.header.tensors:
            kind, exponent, magnitude = _BITS[entry.spec.dtype]
            finite, zero = True, True
            for chunk in _chunks(stream, entry):
                bits: np.ndarray[Any, np.dtype[Any]] = np.frombuffer(chunk, dtype=kind)
                # NaN and infinity are the numbers with all exponent bits set.
                finite = finite and not bool(((bits & exponent) == exponent).any())
                zero = zero and not bool((bits & magnitude).any())
                if not finite:
                    break
            if not finite:
                seen.broken.append(entry.name)
            elif zero:
                seen.zero.add(entry.name)
    return seen


def _chunks(stream: Any, entry: TensorEntry) -> Iterator[bytes]:
    stream.seek(entry.begin)
    left = entry.end - entry.begin
    while left:
        chunk: bytes = stream.read(min(left, _CHUNK_BYTES))
        if not chunk or len(chunk) < min(left, _CHUNK_BYTES):
            raise IntegrityError("the stored weights were cut short", hint="run `placet audit`")
        yield chunk
        left -= len(chunk)


def _idle(context: Context, zero: set[str]) -> list[Finding]:
    """Return what to say about pairs whose product is zero because one half is."""
    modules: dict[str, bool] = {}
    whole = False
    for entry in context.header.tensors:
        half = pair_half(entry.name)
        if half is None:
            whole = (
                True  # a module saved whole is an update by itself; the fit check says if it is not wanted
            )
        else:
            modules[half.module] = modules.get(half.module, False) or entry.name in zero
    idle = sorted(module for module, is_idle in modules.items() if is_idle)
    if idle and len(idle) == len(modules) and not whole:
        message = f"all {len(idle)} updates multiply to zero, such as {{}}"
        return grouped("adapter-does-nothing", message, idle)
    return grouped("idle-module", f"{len(idle)} of {len(modules)} updates multiply to zero: {{}}", idle)
