"""JSON values with numbers made exact, and the parts of a model folder that name its content.

Guarantees: :func:`exact` never maps two different numbers to one value, and maps equal numbers (2 and 2.0) to
the same, so that a library that writes its numbers differently does not change an id.
"""

from __future__ import annotations

import math
from typing import Any

from placet.attest.strict_json import parse_json
from placet.domain.digests import Digest, digest_bytes, digest_json
from placet.domain.errors import Error, IntegrityError

_MAX_SAFE_INTEGER = 2**53 - 1

# Fields of tokenizer.json's model that newer library versions write with the value that older ones imply.
_IMPLIED_IN_MODEL = ("ignore_merges", "byte_fallback", "fuse_unk")
_SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")
_SETTINGS = ("add_bos_token", "add_eos_token", "add_prefix_space", "clean_up_tokenization_spaces")


def exact(value: Any) -> Any:
    """Return JSON value `value` in a form that canonical JSON can hold exactly.

    Floats that are whole numbers become integers; other floats and large integers become text.
    """
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [exact(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and abs(value) <= _MAX_SAFE_INTEGER:
        return value
    return f"number:{value!r}"


def tokenizer_digest(data: bytes) -> Digest:
    """Return the id of a tokenizer.json: its content, independent of spacing, key order and library version.

    Raises:
        IntegrityError: `data` is not strict JSON.
    """
    value = parse_json(data, "tokenizer.json")
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if item is not None}
        model = value.get("model")
        if isinstance(model, dict):
            value["model"] = _model_identity(model)
    try:
        return digest_json(exact(value))
    except (Error, ValueError, RecursionError) as error:  # half of a surrogate pair, or nested too deep
        raise IntegrityError(
            "tokenizer.json: it has no canonical form", hint="the file is damaged"
        ) from error


def _model_identity(model: dict[str, Any]) -> dict[str, Any]:
    kept = {key: item for key, item in model.items() if item is not None}
    for key in _IMPLIED_IN_MODEL:
        if kept.get(key) is False:
            del kept[key]
    merges = kept.get("merges")
    if isinstance(merges, list):
        # Older versions write a merge as "a b", newer ones as ["a", "b"].
        kept["merges"] = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    return kept


def text_digest(text: str) -> Digest:
    """Return the id of a chat template: SHA-256 of its UTF-8 bytes (half a surrogate pair is kept as it is)."""
    return digest_bytes(text.encode("utf-8", "surrogatepass"))


def special_tokens(settings: dict[str, Any]) -> dict[str, str]:
    """Return the special tokens that a tokenizer_config.json or special_tokens_map.json names, by role."""
    found: dict[str, str] = {}
    for role in _SPECIAL:
        token = settings.get(role)
        content = token.get("content") if isinstance(token, dict) else token
        if isinstance(content, str):
            found[role] = content
    return found


def tokenizer_settings(settings: dict[str, Any]) -> dict[str, bool]:
    """Return the switches of a tokenizer_config.json that change which token ids come out, where set."""
    return {name: True for name in _SETTINGS if settings.get(name) is True}
