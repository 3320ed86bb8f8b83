"""How much of a suite's documents stands word for word in training data.

A document's texts are cut into words (letters and digits, case and spelling of the same character put aside), and every
`ngram` of them in a row is looked for in the data. A document none of whose texts has that many words is looked for by
its longest text as a whole. What is given back for it is the share of the words looked for that lie in a match.

Source: Brown et al., Language Models are Few-Shot Learners (2020), appendix C (13 words); Touvron et al., Llama 2
(2023), appendix A.6 (the share of a document's words inside a match).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from placet.domain.errors import UsageError

SHORTEST_WORDS = 4
"""A text of fewer words is not looked for as a whole: it would be found everywhere."""

_WORD = re.compile(r"\w+")
_NAME = "id"

Gram = tuple[str, ...]


@dataclass(slots=True)
class _Looked:
    """A text of a document in words, the grams it is looked for by, and which of its words were found."""

    document: int
    words: Gram
    size: int
    found: bytearray


def overlap_shares(
    documents: Sequence[Mapping[str, Any]], data: Iterable[bytes], ngram: int
) -> dict[int, float]:
    """Return document number → share of its words in a match; documents without any match are left out.

    Args:
        documents: A suite's documents; every text in them counts, except their ``id``.
        data: Files of training data: JSON, JSON lines, or plain text in UTF-8.
        ngram: How many words in a row make a match.

    Raises:
        UsageError: `ngram` is below 1, or a file is not UTF-8 text.
    """
    if ngram < 1:
        raise UsageError(f"{ngram} words in a row make no match", hint="13 is usual")
    looked = [one for number, document in enumerate(documents) for one in _looked(number, document, ngram)]
    places: dict[Gram, list[tuple[_Looked, int]]] = {}
    for one in looked:
        for start in range(len(one.words) - one.size + 1):
            places.setdefault(one.words[start : start + one.size], []).append((one, start))
    sizes = sorted({one.size for one in looked})
    for text in (text for raw in data for text in training_texts(raw)):
        words = _words(text)
        for size in sizes:
            for start in range(len(words) - size + 1):
                for one, at in places.get(words[start : start + size], ()):
                    one.found[at : at + size] = b"\x01" * size
    totals: dict[int, tuple[int, int]] = {}
    for one in looked:
        hit, total = totals.get(one.document, (0, 0))
        totals[one.document] = (hit + sum(one.found), total + len(one.words))
    return {document: hit / total for document, (hit, total) in totals.items() if hit}


def training_texts(raw: bytes) -> Iterator[str]:
    """Yield the texts of a file of training data: one for each entry of JSON or JSON lines, else each line's block.

    Raises:
        UsageError: It is not UTF-8 text.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            "a file of training data is not UTF-8 text", hint="give JSON, JSON lines or plain text"
        ) from error
    try:
        entries = json.loads(text)
    except ValueError:
        try:
            entries = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            yield text
            return
    for entry in entries if isinstance(entries, list) else [entries]:
        yield " ".join(_texts(entry))


def _looked(number: int, document: Mapping[str, Any], ngram: int) -> list[_Looked]:
    texts = [_words(text) for key, value in document.items() if key != _NAME for text in _texts(value)]
    long = [words for words in texts if len(words) >= ngram]
    if long:
        return [_Looked(number, words, ngram, bytearray(len(words))) for words in long]
    longest = max(texts, key=len, default=())
    if len(longest) < min(SHORTEST_WORDS, ngram):
        return []
    return [_Looked(number, longest, len(longest), bytearray(len(longest)))]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key != _NAME:
                yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _words(text: str) -> Gram:
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).lower()))
