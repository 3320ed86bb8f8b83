"""The published schemas and pages say what the code does, and real records keep to them."""

from __future__ import annotations

import copy
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from placet.attest.envelope import parse_envelope
from placet.attest.predicates import PREDICATES, Kind, PredicateSpec, Role, spec_for_type, spec_of
from placet.attest.schemas import statement_schema
from placet.attest.statement import Subject
from placet.domain.digests import digest_bytes
from placet.domain.errors import IntegrityError
from placet.domain.records import Advisory, BaseStatus, Overlap
from placet.office import TrustDesk
from tests.support import offices

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "reference" / "predicates"


@cache
def _statements() -> dict[Kind, list[dict[str, Any]]]:
    """Return every statement of an office in which everything happened, by kind."""
    import tempfile

    from placet.release.desk import export_revocations
    from placet.review import desk

    with tempfile.TemporaryDirectory() as folder:
        made = offices.released_office(Path(folder) / "office")
        sample = made.sample
        gates = [offices.passing_gate(), offices.inconclusive_gate()]
        walk = offices.decide_again(made, offices.Decision.NEEDS_REVIEW, gates=gates)
        desk.waive(made.office, walk.ref.id, "general", "few rows", 30, sample.signers["ada"])
        desk.revoke(made.office, walk.ref.id, "adapter", "x", "leaks", sample.signers["ben"])
        finding = offices.Finding(id="x", severity=offices.Severity.REFUSE, message="bad", fix="mend it")
        offices.add_intake(
            sample, offices.make_adapter(sample, "bad"), walk.base, findings={"pickle": finding}
        )
        plan = offices.add_plan(sample, walk.ref, walk.base)
        offices.add_measurement(sample, "canaries", plan, [0.25, 1 / 3])
        status = BaseStatus(
            base=walk.base,
            end_of_life=True,
            supported_until=sample.clock.now,
            advisories=(Advisory(id="A-1", summary="leaks"),),
            stated_by="ada",
            stated_at=sample.clock.now,
        )
        sample.record(
            Kind.BASE_STATUS, status, (Subject(walk.base.label, walk.base.id),), sample.signers["ada"]
        )
        overlap = Overlap(
            subject=walk.ref.weights_id,
            suite=offices.CANARIES,
            datasets=(digest_bytes(b"data"),),
            ngram=8,
            documents=12,
            found={"3": 0.5},
            measured_at=sample.clock.now,
        )
        sample.record(Kind.OVERLAP, overlap, (Subject("weights", walk.ref.weights_id),))
        TrustDesk(made.office).change_root(made.office.root.current.keys, 1)
        export_revocations(made.office)
        raws = [entry.envelope for entry in made.office.store.entries()]
    found: dict[Kind, list[dict[str, Any]]] = {}
    for raw in raws:
        value = json.loads(parse_envelope(raw).payload)
        found.setdefault(spec_for_type(value["predicateType"]).kind, []).append(value)
    return found


def _validator(kind: Kind) -> Draft202012Validator:
    return Draft202012Validator(json.loads((PAGES / f"{kind}.schema.json").read_text()))


@pytest.mark.parametrize("spec", PREDICATES, ids=lambda spec: spec.kind)
def test_every_kind_has_a_page_a_schema_and_a_version_in_its_type(spec: PredicateSpec) -> None:
    assert (PAGES / f"{spec.kind}.md").exists()
    Draft202012Validator.check_schema(json.loads((PAGES / f"{spec.kind}.schema.json").read_text()))
    assert spec.predicate_type.rsplit("/", 1)[-1] == "v1"
    assert spec.roles
    assert f"`{spec.predicate_type}`" in (PAGES / f"{spec.kind}.md").read_text()


def test_the_pages_and_schemas_are_what_the_code_says() -> None:
    source = importlib.util.spec_from_file_location("predicate_pages", ROOT / "tools" / "predicate_pages.py")
    assert source is not None
    assert source.loader is not None
    tool = importlib.util.module_from_spec(source)
    source.loader.exec_module(tool)

    stale = [
        str(path) for path, text in tool.made_files().items() if path.read_text(encoding="utf-8") != text
    ]

    assert not stale, f"run tools/predicate_pages.py: {stale}"


def test_no_page_or_schema_is_left_over() -> None:
    kinds = {str(spec.kind) for spec in PREDICATES}

    assert {path.name.removesuffix(".schema.json") for path in PAGES.glob("*.json")} == kinds
    assert {path.stem for path in PAGES.glob("*.md")} == {*kinds, "exports"}


@pytest.mark.parametrize("kind", list(Kind))
def test_real_records_keep_to_their_schema(kind: Kind) -> None:
    statements = _statements()[kind]

    assert statements
    for value in statements:
        _validator(kind).validate(value)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every field in a predicate."""
    if isinstance(value, dict):
        return [p for key, item in value.items() for p in ((*path, key), *_places(item, (*path, key)))]
    if isinstance(value, list):
        return [p for index, item in enumerate(value[:2]) for p in _places(item, (*path, index))]
    return []


@pytest.mark.parametrize("kind", list(Kind))
def test_what_the_schema_refuses_of_a_changed_record_the_reader_refuses(kind: Kind) -> None:
    validator, model = _validator(kind), spec_of(kind).model
    value = _statements()[kind][-1]
    refused = 0
    for place in _places(value["predicate"]):
        for change in ("drop", "null", "extra", "number"):
            other = copy.deepcopy(value)
            holder = other["predicate"]
            for part in place[:-1]:
                holder = holder[part]
            if change == "drop":
                del holder[place[-1]]
            elif change == "null":
                holder[place[-1]] = None
            elif change == "number":
                holder[place[-1]] = 17.5
            else:
                holder["notAField"] = 1
            if validator.is_valid(other):
                continue
            refused += 1
            with pytest.raises(IntegrityError):
                model.from_json(other["predicate"])
    assert refused > len(value["predicate"])


def test_a_schema_is_made_for_the_recorded_form() -> None:
    schema = statement_schema(spec_of(Kind.VERDICT))

    assert "null" not in json.dumps(schema)
    gate = schema["$defs"]["GateResult"]
    assert {"gate", "waivable", "evidence"} <= set(gate["required"])
    assert "figure" not in gate["required"]
    assert gate["properties"]["figure"]["type"] == "string"


def test_only_root_keys_sign_roles_and_no_other_record() -> None:
    assert [spec.kind for spec in PREDICATES if Role.ROOT in spec.roles] == [Kind.ROLES]
    assert all(Role.LOG not in spec.roles and Role.WITNESS not in spec.roles for spec in PREDICATES)


def test_every_kind_has_one_row() -> None:
    assert (
        len({spec.kind for spec in PREDICATES})
        == len({spec.predicate_type for spec in PREDICATES})
        == len(Kind)
    )
