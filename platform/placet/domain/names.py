"""Names of people and offices: one visible spelling each, and when two of them are one person's.

Signatures are counted by people. A second spelling of a name that looks like the first, or differs from it by capitals
alone, would let one person count as two.
"""

from __future__ import annotations

import unicodedata

# The code points that Unicode draws nothing for: Default_Ignorable_Code_Point in DerivedCoreProperties.txt of the
# Unicode Character Database, version 16.0. U+2800, an empty braille cell, is not among them and looks like a space.
_UNSEEN = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x061C, 0x061C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
)


def one_name(name: str) -> str:
    """Return a person's or an office's name if it has one visible spelling; raise ValueError otherwise."""
    if not name.strip() or name != " ".join(name.split()):
        raise ValueError("a name is not empty, and has single spaces between its words and none around them")
    unseen = [char for char in name if _is_unseen(char) or not char.isprintable()]
    if unseen:
        raise ValueError(f"a name has no invisible characters: U+{ord(unseen[0]):04X} is one")
    if name != unicodedata.normalize("NFKC", name):
        usual = unicodedata.normalize("NFKC", name)
        raise ValueError(f"a name is spelled with ordinary characters (Unicode's NFKC): {usual!r}")
    return name


def person_key(name: str) -> str:
    """Return what the spellings of one person's name have in common: by it, people are compared and counted."""
    seen = "".join(char for char in name if not _is_unseen(char))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())
    return " ".join(folded.casefold().split())


def same_person(one: str, other: str) -> bool:
    """Tell whether two names are spellings of one person's."""
    return person_key(one) == person_key(other)


def _is_unseen(char: str) -> bool:
    return any(first <= ord(char) <= last for first, last in _UNSEEN)
