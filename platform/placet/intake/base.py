"""Base models by content: the id, and what intake needs to know to hold an adapter against one.

A base's id is the SHA-256 of a canonical JSON text, kept in the record as `canonical`, over:

* every tensor's name, type, shape and SHA-256 of its bytes, sorted by name. How they are spread over files does
  not matter; an output head that only repeats tied embeddings is left out.
* the configuration that changes what the model computes (see :mod:`placet.intake.base_config`);
* the tokenizer's content, its switches and special tokens, and the chat template's bytes.

Guarantees: reading is streamed, so memory does not grow with the model; a folder that cannot be described
completely is an error, never a smaller description. Nothing of the folder is executed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from placet.attest.strict_json import parse_json
from placet.domain.digests import Digest, canonical_json, digest_bytes, digest_file, parse_digest
from placet.domain.errors import IntegrityError, UsageError
from placet.domain.progress import NullProgress, Progress, tracked
from placet.domain.records import Base, BaseRef, FileEntry, SourceRef
from placet.intake.base_config import computing_config, generation_config
from placet.intake.canonical import special_tokens, text_digest, tokenizer_digest, tokenizer_settings
from placet.intake.tensor_file import TensorEntry, TensorFileError, TensorSpec, parse_header

_CHUNK_BYTES = 4 << 20
_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_EMBEDDINGS = "model.embed_tokens.weight"
_HEAD = "lm_head.weight"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class BaseProfile:
    """What intake holds adapters against: read from a base's record, whose id it was checked to match."""

    ref: BaseRef
    names: frozenset[str]
    """Every name under which an adapter may refer to this base."""
    commit: str | None
    """The Hub commit it came from, where it did."""
    model_type: str
    tensors: Mapping[str, TensorSpec]
    tokenizer: Digest | None
    special_tokens: Mapping[str, str]
    chat_template: Digest | None

    @classmethod
    def of(cls, base: Base, also_known_as: tuple[str, ...] = ()) -> BaseProfile:
        """Return the profile of a registered base.

        Args:
            base: Its record.
            also_known_as: Further names under which adapters may refer to it, such as its Hub id.

        Raises:
            IntegrityError: The record's description does not hash to the base's id, or cannot be read.
        """
        text = (base.canonical or "").encode()
        if digest_bytes(text) != base.ref.id:
            raise IntegrityError(
                f"the record of base {base.ref.label} does not match its id",
                hint="run `placet audit`, then add it again",
            )
        value = parse_json(text, f"base {base.ref.label}")
        if value.get("version") != _VERSION:
            raise IntegrityError(
                f"base {base.ref.label} was described by another version of Placet",
                hint="run `placet base add` again",
            )
        return cls(
            ref=base.ref,
            names=frozenset({base.ref.label, base.ref.id, base.source.location, *also_known_as}),
            commit=base.source.revision if base.source.kind == "hub" else None,
            model_type=str(value["config"].get("model_type", "")),
            tensors={
                item["name"]: TensorSpec(item["dtype"], tuple(item["shape"])) for item in value["tensors"]
            },
            tokenizer=_digest_or_none(value["tokenizer"]),
            special_tokens=value["specialTokens"],
            chat_template=_digest_or_none(value["chatTemplate"]),
        )


def describe_base(
    model_dir: Path,
    label: str,
    source: SourceRef,
    *,
    license: str | None = None,
    progress: Progress | None = None,
) -> Base:
    """Return the record of the base model in `model_dir`, a folder as save_pretrained writes it.

    Raises:
        UsageError: A file is missing or unreadable, the weights are not safetensors, or the model needs code.
    """
    files: list[FileEntry] = []
    config = _json(model_dir, "config.json", files)
    if config is None:
        raise UsageError(f"{model_dir} holds no config.json", hint="give a folder that save_pretrained wrote")
    if config.get("auto_map"):
        raise UsageError(
            f"the model in {model_dir} brings its own code",
            hint="only models that transformers knows are supported",
        )
    tensors = _tensors(model_dir, files, progress or NullProgress())
    if config.get("tie_word_embeddings") and _HEAD in tensors and tensors[_HEAD] == tensors.get(_EMBEDDINGS):
        del tensors[_HEAD]
    settings = _json(model_dir, "tokenizer_config.json", files) or {}
    identity = {
        "version": _VERSION,
        "tensors": [
            {"name": name, "dtype": spec.dtype, "shape": list(spec.shape), "sha256": digest}
            for name, (spec, digest) in sorted(tensors.items())
        ],
        "config": computing_config(config),
        "generation": generation_config(_json(model_dir, "generation_config.json", files) or {}),
        "tokenizer": _tokenizer(model_dir, files),
        "tokenizerSettings": tokenizer_settings(settings),
        "specialTokens": special_tokens(settings),
        "chatTemplate": _chat_template(model_dir, settings, files),
    }
    canonical = canonical_json(identity)
    architectures = config.get("architectures") or ["unknown"]
    return Base(
        ref=BaseRef(id=digest_bytes(canonical), label=label),
        source=source,
        files=tuple(sorted(files, key=lambda entry: entry.path)),
        architecture=str(architectures[0]),
        parameters=sum(spec.elements for spec, _ in tensors.values()),
        license=license,
        canonical=canonical.decode(),
    )


def verify_base_files(model_dir: Path, base: Base) -> None:
    """Check that `model_dir` still holds the files that `base` was described from.

    Raises:
        IntegrityError: A file is missing or altered.
    """
    for entry in base.files:
        path = model_dir / entry.path
        if not path.is_file() or path.stat().st_size != entry.size or digest_file(path) != entry.sha256:
            raise IntegrityError(
                f"{path} is not the file that base {base.ref.label} was registered with",
                hint="restore the model's folder, or register it as another base",
            )


def _tensors(
    model_dir: Path, files: list[FileEntry], progress: Progress
) -> dict[str, tuple[TensorSpec, Digest]]:
    shards = _shards(model_dir, files)
    total = sum(path.stat().st_size for path in shards)
    found: dict[str, tuple[TensorSpec, Digest]] = {}
    step = f"read {model_dir.name}"
    with tracked(progress, step, total, "B"):
        for path in shards:
            try:
                tensors, entry = _read_shard(path, progress, step)
            except TensorFileError as error:
                raise UsageError(
                    f"{path}: {error.message}", hint="download or convert the model again"
                ) from error
            files.append(entry)
            if twice := found.keys() & tensors.keys():
                raise UsageError(
                    f"{path}: tensor {min(twice)} is in two files", hint="download the model again"
                )
            found.update(tensors)
    if not found:
        raise UsageError(f"{model_dir} holds no tensors", hint="give a folder with the model's weights")
    return found


def _shards(model_dir: Path, files: list[FileEntry]) -> list[Path]:
    if (model_dir / _SINGLE).is_file():  # the file that transformers prefers, too
        return [model_dir / _SINGLE]
    index = _json(model_dir, _INDEX, files)
    if index is None:
        raise UsageError(
            f"{model_dir} holds no {_SINGLE}",
            hint="only safetensors are read: convert the model, or name its folder",
        )
    names = sorted({str(name) for name in index.get("weight_map", {}).values()})
    for name in names:
        if "/" in name or not (model_dir / name).is_file():
            raise UsageError(f"{model_dir} lacks the shard {name}", hint="download the model again")
    return [model_dir / name for name in names]


def _read_shard(
    path: Path, progress: Progress, step: str
) -> tuple[dict[str, tuple[TensorSpec, Digest]], FileEntry]:
    """Hash a shard and each of its tensors in one pass over the file."""
    size = path.stat().st_size
    whole = hashlib.sha256()
    tensors: dict[str, tuple[TensorSpec, Digest]] = {}
    with path.open("rb") as stream:
        header = parse_header(stream, size)
        stream.seek(0)
        whole.update(stream.read(header.data_begin))
        for entry in header.tensors:
            tensors[entry.name] = (entry.spec, _hash_tensor(stream, entry, whole, progress, step))
    return tensors, FileEntry(path=path.name, size=size, sha256=Digest(f"sha256:{whole.hexdigest()}"))


def _hash_tensor(stream: Any, entry: TensorEntry, whole: Any, progress: Progress, step: str) -> Digest:
    hasher, left = hashlib.sha256(), entry.end - entry.begin
    while left:
        chunk = stream.read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise TensorFileError("truncated-weights", f"the file ended inside tensor {entry.name}")
        hasher.update(chunk)
        whole.update(chunk)
        left -= len(chunk)
        progress.advance(step, len(chunk))
    return Digest(f"sha256:{hasher.hexdigest()}")


def _read(model_dir: Path, name: str, files: list[FileEntry]) -> bytes | None:
    path = model_dir / name
    if not path.is_file():
        return None
    data = path.read_bytes()
    files.append(FileEntry(path=name, size=len(data), sha256=digest_bytes(data)))
    return data


def _json(model_dir: Path, name: str, files: list[FileEntry]) -> dict[str, Any] | None:
    data = _read(model_dir, name, files)
    if data is None:
        return None
    try:
        value = parse_json(data, name)
    except IntegrityError as error:
        raise UsageError(f"{model_dir}: {error.message}", hint="download the model again") from error
    if not isinstance(value, dict):
        raise UsageError(f"{model_dir / name} is no JSON object", hint="download the model again")
    return value


def _tokenizer(model_dir: Path, files: list[FileEntry]) -> Digest:
    data = _read(model_dir, "tokenizer.json", files)
    if data is not None:
        try:
            return tokenizer_digest(data)
        except IntegrityError as error:
            raise UsageError(f"{model_dir}: {error.message}", hint="download the model again") from error
    raise UsageError(
        f"{model_dir} holds no tokenizer.json",
        hint="load the tokenizer with transformers and save it with save_pretrained",
    )


def _chat_template(model_dir: Path, settings: dict[str, Any], files: list[FileEntry]) -> Digest | None:
    data = _read(model_dir, "chat_template.jinja", files)
    if data is not None:  # it wins over the one in tokenizer_config.json, in transformers as here
        return digest_bytes(data)
    template = settings.get("chat_template")
    if template is None:
        return None
    if isinstance(template, str):
        return text_digest(template)
    return digest_bytes(json.dumps(template, sort_keys=True).encode())


def _digest_or_none(value: str | None) -> Digest | None:
    return None if value is None else parse_digest(value)
