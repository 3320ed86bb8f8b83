"""A new version of the root, signed on machines of their own, installed once, and followed by every machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from placet.attest.keyfiles import save_key
from placet.attest.keys import LocalSigner
from placet.attest.predicates import Kind, Role, RootChange, spec_of
from placet.attest.root import RootKey
from placet.attest.root_proposal import RootProposal, parse_proposal, sign_proposal
from placet.attest.statement import Subject
from placet.attest.trust import sign_record
from placet.cli import app
from placet.domain.digests import digest_bytes
from placet.domain.errors import IntegrityError, NotAuthorizedError, UsageError
from placet.ledger.store import DuckStore, StaleError
from placet.ledger.store.postgres import PostgresStore
from placet.office import (
    EVALUATOR_KEY,
    ROOT_KEY,
    Office,
    TrustDesk,
    create_office,
    install_root,
    migrate_ledger,
    propose_root,
)
from tests.support import offices
from tests.support.offices import PASSPHRASE, Released, released_office, signer_named
from tests.support.postgres import new_database, server
from tests.support.tampering import revocation_by

CY, DANA = signer_named("cy"), signer_named("dana")
HOLDERS = [RootKey(CY.public, "cy"), RootKey(DANA.public, "dana")]


@pytest.fixture
def made(tmp_path: Path) -> Released:
    return released_office(tmp_path / "office")


def _reopened(office: Office) -> Office:
    return Office.open(office.home, ask=lambda _: PASSPHRASE, clock=office.clock)


def _signed(made: Released, proposal: RootProposal, *signers: LocalSigner) -> RootProposal:
    root_key = made.office.signer(ROOT_KEY)
    for signer in (root_key, *signers):
        proposal = parse_proposal(sign_proposal(proposal, signer).raw, made.office.settings.root_pin)
    return proposal


# --- installing --------------------------------------------------------------------------------------------


def test_a_version_that_its_holders_signed_is_installed_and_logged_and_vouches_from_then_on(
    made: Released,
) -> None:
    office = made.office
    size = office.store.size()
    proposal = _signed(made, propose_root(office, HOLDERS, 2), CY, DANA)

    root = install_root(office, proposal)

    (logged,) = office.store.find(predicate_type=spec_of(Kind.ROOT).predicate_type)
    assert (root.current.version, root.current.valid_from, logged.index) == (2, size, size)
    assert _reopened(office).root == root
    assert office.audit().whole
    for name, signer in (("root-cy", CY), ("root-dana", DANA)):
        office.keys.add(name, signer, PASSPHRASE)
    TrustDesk(office).grant(signer_named("cleo").public, "cleo", (Role.APPROVER,))
    assert _reopened(office).audit().whole
    # Again, from another copy: it is there.
    assert install_root(office, proposal).versions == root.versions
    assert office.store.size() == size + 3


def test_too_few_signatures_install_nothing(made: Released) -> None:
    office = made.office
    before = office.store.size()
    with pytest.raises(NotAuthorizedError, match="version 2 of the root asks for the signatures of 2"):
        install_root(office, _signed(made, propose_root(office, HOLDERS, 2), CY))
    assert (office.store.size(), _reopened(office).root.current.version) == (before, 1)


def test_a_proposal_is_stale_once_another_version_was_installed(made: Released) -> None:
    first = _signed(made, propose_root(made.office, HOLDERS, 1), CY)
    second = _signed(made, propose_root(made.office, HOLDERS[:1], 1), CY)
    install_root(made.office, first)
    with pytest.raises(UsageError, match="stale: there is another version 2"):
        install_root(made.office, second)


def test_a_proposal_is_stale_once_the_roles_changed(made: Released) -> None:
    proposal = _signed(made, propose_root(made.office, HOLDERS, 1), CY)
    TrustDesk(made.office).grant(signer_named("cleo").public, "cleo", (Role.APPROVER,))
    with pytest.raises(UsageError, match="stale: it takes effect from ledger index"):
        install_root(made.office, proposal)
    assert made.office.audit().whole


def test_records_that_change_no_roles_do_not_make_it_stale(made: Released) -> None:
    proposal = _signed(made, propose_root(made.office, HOLDERS, 1), CY)
    offices.walk_to_release(made.sample, "desk-next", base=made.walk.base)
    assert install_root(made.office, proposal).current.version == 2
    assert made.office.audit().whole


def test_a_proposal_that_expired_is_refused(made: Released) -> None:
    proposal = _signed(made, propose_root(made.office, HOLDERS, 1, days=2), CY)
    made.sample.clock.advance(days=3)
    with pytest.raises(UsageError, match="the proposal expired"):
        install_root(made.office, proposal)


def test_a_proposal_of_another_office_is_refused(made: Released, tmp_path: Path) -> None:
    other = create_office(tmp_path / "other", "Other", ask=lambda _: PASSPHRASE, clock=offices.FixedClock())
    with pytest.raises(IntegrityError, match="which is none of office 'Sample office'"):
        install_root(made.office, propose_root(other, HOLDERS, 1))


def test_a_key_that_has_another_role_is_not_proposed(made: Released) -> None:
    with pytest.raises(IntegrityError, match="gives a root key another role"):
        propose_root(made.office, [RootKey(made.sample.signers["ada"].public, "ada")], 1)


def test_who_had_read_the_roles_before_the_change_logs_nothing_under_the_old_root(made: Released) -> None:
    other = _reopened(made.office)
    trust = other.reader().trust
    install_root(made.office, _signed(made, propose_root(made.office, HOLDERS, 1), CY))

    with pytest.raises(StaleError):
        other.append_as_seen(trust, [revocation_by("ada", "ada")])
    with pytest.raises(Exception, match="keys of 0 are here"):
        TrustDesk(other).grant(signer_named("cleo").public, "cleo", (Role.APPROVER,))
    assert other.audit().whole


def test_an_install_that_was_stopped_after_it_was_logged_is_found_in_the_log(
    made: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    from placet.office import root_changes

    class StoppedError(Exception):
        pass

    def stopped(*_: Any) -> None:
        raise StoppedError

    proposal = _signed(made, propose_root(made.office, HOLDERS, 1), CY)
    monkeypatch.setattr(root_changes, "settle", stopped)
    with pytest.raises(StoppedError):
        install_root(made.office, proposal)
    (made.office.home / "trust" / "next.root.json").unlink()

    office = _reopened(made.office)

    assert office.reader().trust.root.current.version == 2
    assert (office.home / "trust" / "2.root.json").exists()
    assert office.audit().whole


def _logged(office: Office, version: int, file: str) -> None:
    record = RootChange(office=office.settings.name, version=version, file=file)
    subject = (Subject("trust-root", digest_bytes(file.encode())),)
    office.append([sign_record(Kind.ROOT, record, subject, office.signer(EVALUATOR_KEY))])


def test_a_version_in_the_log_that_its_holders_did_not_sign_is_not_followed_and_named(
    made: Released,
) -> None:
    office = made.office
    # Whoever holds the evaluator's key can log any file as a version, but cannot make the signatures.
    short = sign_proposal(propose_root(office, HOLDERS, 1), CY).version.raw.decode()
    root = _signed(made, propose_root(office, HOLDERS, 1), CY).complete()
    for file in (short, root.current.raw.decode().replace('"cy"', '"ben"', 1), "{}"):
        _logged(office, 2, file)
    _logged(office, 3, root.current.raw.decode())

    assert _reopened(office).reader().trust.root.current.version == 1
    findings = _reopened(office).audit().findings
    assert [item.id for item in findings] == ["foreign-root"] * 4
    assert "too few of its holders signed it" in findings[0].message
    assert install_root(office, _signed(made, propose_root(office, HOLDERS, 1), CY)).current.version == 2


def test_two_well_signed_versions_in_one_place_are_not_chosen_between(made: Released) -> None:
    office = made.office
    other = _signed(made, propose_root(office, HOLDERS[:1], 1), CY).complete()
    install_root(office, _signed(made, propose_root(office, HOLDERS, 1), CY))
    _logged(office, 2, other.current.raw.decode())

    with pytest.raises(IntegrityError, match="both are well signed"):
        _reopened(office).reader()
    assert [item.id for item in _reopened(office).audit().findings] == ["untrusted-roles"]


def test_a_version_with_fewer_signatures_than_the_one_that_is_known_is_the_same_version(
    made: Released,
) -> None:
    office = made.office
    proposal = propose_root(office, HOLDERS, 1)
    install_root(office, _signed(made, proposal, CY, DANA))
    size = office.store.size()

    assert install_root(office, _signed(made, proposal, CY)) == office.root
    assert office.store.size() == size


# --- on machines of their own ------------------------------------------------------------------------------


@dataclass
class Machines:
    """An office whose root two of three hold, and a folder for each holder, with their key alone."""

    office: Office
    folder: Path
    env: dict[str, str]

    def run(self, *line: str, home: Path | None = None) -> Any:
        env = self.env | {"PLACET_HOME": str(home or self.office.home)}
        return CliRunner().invoke(app, list(line), env=env)

    def sign(self, person: str, file: Path, *more: str) -> Any:
        home = self.folder / person
        return self.run("trust", "sign", str(file), "--key", f"root-{person}", *more, home=home)


@pytest.fixture
def machines(tmp_path: Path) -> Machines:
    holders = [(f"root-{name}", name.title()) for name in ("ada", "ben", "cy")]
    office = create_office(
        tmp_path / "office", "Apart", ask=lambda _: PASSPHRASE, holders=holders, threshold=2
    )
    for key, person in holders:
        home = tmp_path / person.lower() / "keys"
        home.mkdir(parents=True)
        for end in ("pem", "pem.pub"):
            shutil.move(office.home / "keys" / f"{key}.{end}", home / f"{key}.{end}")
    return Machines(_reopened_plain(office), tmp_path, {"PLACET_PASSPHRASE": PASSPHRASE})


def _reopened_plain(office: Office) -> Office:
    return Office.open(office.home, ask=lambda _: PASSPHRASE)


def test_holders_sign_where_their_keys_are_and_anybody_puts_it_together(machines: Machines) -> None:
    office, pin, file = machines.office, machines.office.root.pin, machines.folder / "root-2.json"
    save_key(DANA, machines.folder / "dana.pem", PASSPHRASE)
    (machines.folder / "dana.pub").write_text(DANA.public.pem)
    holders = [
        f"{machines.folder / 'ada' / 'keys' / 'root-ada.pem.pub'}=Ada",
        f"{machines.folder / 'dana.pub'}=Dana",
    ]
    proposed = machines.run(
        "trust", "propose", str(file), "--threshold", "2", *(f"--holder={item}" for item in holders), "--json"
    )
    assert proposed.exit_code == 0, proposed.output
    said = json.loads(proposed.stdout)
    assert (said["version"], said["signedBy"], said["continues"]) == (2, [], pin)
    again = machines.run("trust", "propose", str(file))
    assert again.exit_code == 2
    assert "is there already" in again.output

    # Two copies go out; on one the next holder adds to what is there.
    copies = [machines.folder / f"copy-{number}.json" for number in (1, 2)]
    for copy in copies:
        shutil.copy(file, copy)
    ada = machines.sign("ada", copies[0], "--pin", pin, "--json")
    assert ada.exit_code == 0, ada.output
    assert json.loads(ada.stdout)["digest"] == said["digest"]
    assert [item["people"] for item in json.loads(ada.stdout)["lacking"]] == [["Ben", "Cy"], ["Dana"]]
    assert machines.sign("ben", copies[1], "--pin", pin).exit_code == 0
    short = machines.run("trust", "install", *map(str, copies))
    assert short.exit_code == 1
    assert "1 more is needed" in short.output
    dana = machines.run(
        "trust", "sign", str(copies[1]), "--key", str(machines.folder / "dana.pem"), "--pin", pin
    )
    assert dana.exit_code == 0, dana.output

    done = machines.run("trust", "install", *map(str, copies), "--json")

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["version"] == 2
    assert _reopened_plain(office).audit().whole


def test_without_an_office_a_holder_needs_the_pin(machines: Machines) -> None:
    file = machines.folder / "root-2.json"
    machines.run("trust", "propose", str(file))
    done = machines.sign("ada", file)
    assert done.exit_code == 2
    assert "--pin" in done.output
    wrong = machines.sign("ada", file, "--pin", "sha256:" + "0" * 64)
    assert wrong.exit_code == 1
    assert "not the pinned" in wrong.output
    assert json.loads(json.loads(file.read_text())["proposed"])["signatures"] == []


# --- followed by other machines ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with server() as made:
        yield made


def test_other_machines_follow_the_root_out_of_the_log_in_postgresql(
    made: Released, address: str, tmp_path: Path
) -> None:
    made.sample.office = office = migrate_ledger(made.office, new_database(address))
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(office.home / "trust", elsewhere / "trust")
    shutil.copytree(office.home / "keys", elsewhere / "keys")
    shutil.copy(office.home / "office.json", elsewhere / "office.json")
    other = Office.open(elsewhere, ask=lambda _: PASSPHRASE, clock=office.clock)
    assert other.reader().trust.root.current.version == 1

    install_root(office, _signed(made, propose_root(office, HOLDERS, 1), CY))
    office.keys.add("root-cy", CY, PASSPHRASE)
    TrustDesk(office).grant(signer_named("cleo").public, "cleo", (Role.APPROVER,))
    TrustDesk(office).change_root([RootKey(CY.public, "cy")], 1)

    assert other.reader().trust == office.reader().trust
    assert other.root.current.version == 3
    assert sorted(path.name for path in (elsewhere / "trust").iterdir()) == [
        f"{number}.root.json" for number in (1, 2, 3)
    ]
    assert other.audit(blobs=False).whole
    # A machine that is new to the office needs no more than the pinned version.
    fresh = tmp_path / "fresh"
    (fresh / "trust").mkdir(parents=True)
    shutil.copy(office.home / "office.json", fresh / "office.json")
    shutil.copy(office.home / "trust" / "1.root.json", fresh / "trust" / "1.root.json")
    newcomer = Office.open(fresh, clock=office.clock)
    assert newcomer.reader().trust == office.reader().trust
    assert isinstance(newcomer.store, PostgresStore)
    assert isinstance(newcomer.store.local(), DuckStore)
