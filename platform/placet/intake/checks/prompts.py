"""What turns a conversation into token ids must be the base's own: template, tokenizer, special tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from placet.attest.strict_json import parse_json
from placet.domain.digests import digest_bytes
from placet.domain.errors import IntegrityError
from placet.domain.records import CheckResult, Finding
from placet.intake.canonical import special_tokens, text_digest, tokenizer_digest
from placet.intake.context import Context, concluded, grouped
from placet.intake.findings import finding, quoted

_TEMPLATE = "chat_template.jinja"
_TOKENIZER = "tokenizer.json"
_SETTINGS = "tokenizer_config.json"
_SPECIAL = "special_tokens_map.json"


class _MalformedError(Exception):
    def __init__(self, found: Finding) -> None:
        super().__init__(found.message)
        self.found = found


@dataclass(frozen=True, slots=True)
class TemplateCheck:
    """No chat template but the base's own, byte for byte. None is rendered or parsed."""

    id: str = "chat-template"
    version: str = "1"
    needs: tuple[str, ...] = ("files", "base")

    def run(self, context: Context) -> CheckResult:
        """Compare digests of the templates that the submission carries, in either of the two places."""
        try:
            template = _settings(context, _SETTINGS).get("chat_template")
        except _MalformedError:
            template = None  # the tokenizer check, which reads the same file, says so
        foreign = []
        data = context.read(_TEMPLATE)
        if data is not None and digest_bytes(data) != context.base.chat_template:
            foreign.append(_TEMPLATE)
        if template is not None and (
            not isinstance(template, str) or text_digest(template) != context.base.chat_template
        ):
            foreign.append(_SETTINGS)
        return concluded(self, grouped("foreign-chat-template", "not the base's own: {}", foreign))


@dataclass(frozen=True, slots=True)
class TokenizerCheck:
    """No tokenizer but the base's own, and no code named in its settings."""

    id: str = "tokenizer"
    version: str = "1"
    needs: tuple[str, ...] = ("files", "base")

    def run(self, context: Context) -> CheckResult:
        """Compare the tokenizer's content and the special tokens with the base's."""
        found: list[Finding] = []
        try:
            data = context.read(_TOKENIZER)
            if data is not None and _tokenizer(data) != context.base.tokenizer:
                message = "its content is not that of the base's tokenizer"
                found.append(finding("foreign-tokenizer", message, _TOKENIZER))
            for path in (_SETTINGS, _SPECIAL):
                settings = _settings(context, path)
                if settings.get("auto_map"):
                    message = f"auto_map is {quoted(settings['auto_map'])}"
                    found.append(finding("code-in-config", message, f"{path}: auto_map"))
                found += _special(settings, context, path)
        except _MalformedError as error:
            found.append(error.found)
        return concluded(self, found)


def _special(settings: dict[str, Any], context: Context, path: str) -> list[Finding]:
    base = context.base.special_tokens
    other = [
        f"{role} {token!r}, the base has {base.get(role)!r}"
        for role, token in special_tokens(settings).items()
        if token != base.get(role)
    ]
    return [finding("special-tokens-differ", quoted("; ".join(other)), path)] if other else []


def _tokenizer(data: bytes) -> str:
    try:
        return tokenizer_digest(data)
    except IntegrityError as error:
        raise _MalformedError(finding("malformed-tokenizer", quoted(error.message), _TOKENIZER)) from error


def _settings(context: Context, path: str) -> dict[str, Any]:
    data = context.read(path)
    if data is None:
        return {}
    try:
        value = parse_json(data, path)
    except IntegrityError as error:
        raise _MalformedError(finding("malformed-tokenizer", quoted(error.message), path)) from error
    if not isinstance(value, dict):
        raise _MalformedError(finding("malformed-tokenizer", "it is not a JSON object", path))
    return value
