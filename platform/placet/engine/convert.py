"""Turns a GGUF file into a model folder that transformers can load, train and save.

Guarantees: `out` appears in one rename, complete, or not at all; the same file gives the same bytes with the same
library versions; nothing of this machine, no path and no time, ends up in the folder.

transformers reads GGUF, but marks the model as quantized and then refuses to train or save it. So its weights,
already dequantized to float32, are moved into a model made from the bare configuration. float32 is kept, since
a dequantized weight is scale times integer plus offset and does not fit into bfloat16 without loss.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from placet.domain.errors import SourceError, StorageError, UsageError
from placet.domain.progress import Progress, tracked
from placet.engine.quiet import without_progress_bars

_STEP = "convert GGUF"
_NOTES_OF_LOADING = ("_name_or_path", "_model_name_or_path", "transformers_version")
_TOKENIZER_NOTES_OF_LOADING = ("is_local", "local_files_only", "name_or_path")


def convert_gguf(gguf: Path, out: Path, progress: Progress) -> None:
    """Write the model, tokenizer and chat template in `gguf` to the folder `out`, in float32.

    Args:
        gguf: The file.
        out: The folder to make; must not exist.
        progress: Told of the three parts: tokenizer, weights, writing.

    Raises:
        UsageError: `out` exists.
        SourceError: `gguf` is no GGUF file, or of an architecture that transformers does not convert.
        StorageError: `out` cannot be written.
    """
    if out.exists():
        raise UsageError(f"{out} exists already", hint="remove it, or choose another folder")
    _verify_magic(gguf)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with tracked(progress, _STEP, 3, "parts"):
            tokenizer = _read_tokenizer(gguf)
            progress.advance(_STEP)
            model = _read_model(gguf)
            progress.advance(_STEP)
            _write(model, tokenizer, temporary)
            progress.advance(_STEP)
        temporary.replace(out)
    except OSError as error:
        raise StorageError(
            f"{out} cannot be written: {error.strerror or error}",
            hint="free some space and run the same command again",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _verify_magic(gguf: Path) -> None:
    try:
        with gguf.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise SourceError(f"{gguf} cannot be read: {error.strerror}", hint="check the path") from error
    if magic != b"GGUF":
        raise SourceError(f"{gguf} is not a GGUF file", hint="give a model folder or a .gguf file")


def _read_tokenizer(gguf: Path) -> Any:
    from transformers import AutoTokenizer

    with _as_source_error(gguf):
        return AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name, local_files_only=True)


def _read_model(gguf: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    with _as_source_error(gguf), without_progress_bars():
        quantized = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, local_files_only=True, dtype=torch.float32
        )
    config = quantized.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    model.load_state_dict(quantized.state_dict())
    model.tie_weights()
    return model


def _write(model: Any, tokenizer: Any, folder: Path) -> None:
    with without_progress_bars():
        model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    _drop(folder / "config.json", _NOTES_OF_LOADING)
    _drop(folder / "tokenizer_config.json", _TOKENIZER_NOTES_OF_LOADING)
    for path in folder.iterdir():
        path.chmod(0o644)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def _drop(path: Path, names: tuple[str, ...]) -> None:
    """Remove what says how the file was made rather than what the model is."""
    if path.is_file():
        kept = {key: value for key, value in json.loads(path.read_text("utf-8")).items() if key not in names}
        path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", "utf-8")


@contextmanager
def _as_source_error(gguf: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, IndexError, NotImplementedError) as error:
        raise SourceError(
            f"{gguf.name} cannot be converted: {type(error).__name__}: {error}",
            hint="it is damaged, or of an architecture that transformers does not read from GGUF",
        ) from error
