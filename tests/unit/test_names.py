"""A name has one visible spelling, and people are counted whatever way their names are spelled."""

from __future__ import annotations

import sys
import unicodedata
from datetime import UTC, datetime, timedelta

import pytest

from placet.attest.predicates import KeyGrant, Role, Roles
from placet.attest.root import RootKey, new_root, people_of
from placet.attest.root_proposal import propose, sign_proposal
from placet.attest.trust import Trust
from placet.domain.errors import UsageError
from placet.domain.names import one_name, person_key, same_person
from tests.support.offices import signer_named

EXPIRES = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "name", ["ada", "Ada Lovelace", "Zoë", "李小龙", "Юлия", "O’Neill", "ACME: log", "김민수"]
)
def test_ordinary_names_are_names(name: str) -> None:
    assert one_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "not empty"),
        ("  ", "not empty"),
        (" Ada", "single spaces"),
        ("Ada  Lovelace", "single spaces"),
        ("Ada\tLovelace", "single spaces"),
        ("Ada\u00a0Lovelace", "single spaces"),
        ("Ada\ufe0f", r"U\+FE0F"),
        ("Ada\u034f", r"U\+034F"),
        ("Ada\u3164", r"U\+3164"),
        ("Ada\u115f", r"U\+115F"),
        ("Ada\u200b", r"U\+200B"),
        ("Ada\u00ad", r"U\+00AD"),
        ("Ada\u2800Lovelace", r"U\+2800"),
        ("Ada\U000e0041", r"U\+E0041"),
        ("Ada\x1b[2J", r"U\+001B"),
        ("\uff21da", "ordinary characters"),
        ("Jose\u0301", "ordinary characters"),
        ("\ufb01nn", "ordinary characters"),
    ],
)
def test_a_name_with_a_second_spelling_is_refused_and_says_why(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        one_name(name)


def test_every_format_character_of_this_python_is_refused() -> None:
    for point in range(sys.maxunicode + 1):
        if unicodedata.category(chr(point)) == "Cf":
            with pytest.raises(ValueError, match="invisible"):
                one_name(f"a{chr(point)}b")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada", "Ada"),
        ("Ada Lovelace", "ADA LOVELACE"),
        ("Straße", "STRASSE"),
        ("\uff21da", "ada"),
        ("Ada\ufe0f", "ada"),
        ("Ada  Lovelace", "ada lovelace"),
        ("José", "JOSE\u0301"),
    ],
)
def test_spellings_of_one_name_are_one_person(one: str, other: str) -> None:
    assert same_person(one, other)


@pytest.mark.parametrize(
    ("one", "other"), [("ada", "ben"), ("Ada Lovelace", "AdaLovelace"), ("Jose", "José")]
)
def test_other_names_are_other_people(one: str, other: str) -> None:
    assert not same_person(one, other)
    assert person_key(one) != person_key(other)


def test_a_threshold_of_the_root_counts_two_spellings_once() -> None:
    holders = [RootKey(signer_named(name).public, person) for name, person in (("a", "Ada"), ("b", "ada"))]

    assert people_of(holders) == 1
    with pytest.raises(UsageError, match="1 root holder cannot give 2 signatures"):
        new_root("o", holders, [signer_named("a"), signer_named("b")], threshold=2, expires=EXPIRES)


def test_a_proposal_lacks_a_person_whatever_way_the_name_is_spelled() -> None:
    keys = [
        RootKey(signer_named(name).public, person)
        for name, person in (("a", "Ada"), ("b", "ada"), ("c", "Ben"))
    ]
    root = new_root("o", keys, [signer_named("a"), signer_named("c")], threshold=2, expires=EXPIRES)
    proposal = propose(root, keys, threshold=2, valid_from=1, expires=EXPIRES + timedelta(days=1))
    proposal = sign_proposal(proposal, signer_named("b"))

    assert [(count, people) for _, count, people in proposal.lacking()] == [(1, ("Ben",)), (1, ("Ben",))]


def test_who_holds_a_role_is_listed_once() -> None:
    root = new_root("o", [RootKey(signer_named("r").public, "Root")], [signer_named("r")], expires=EXPIRES)
    grants = tuple(
        KeyGrant(
            key_id=signer_named(name).public.key_id,
            public_key=signer_named(name).public.pem,
            person=person,
            roles=(Role.APPROVER,),
            valid_from=0,
        )
        for name, person in (("a", "Ada"), ("b", "ada"), ("c", "Ben"))
    )
    trust = Trust(root, Roles(office="o", version=1, grants=grants, issued_at=EXPIRES))

    assert trust.people_with(Role.APPROVER, 0) == ("Ada", "Ben")
