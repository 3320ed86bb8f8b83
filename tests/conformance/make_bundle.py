"""Make the bundle that this version's verifier, and every later one, has to verify.

Run once for each version of the format, ``python -m tests.conformance.make_bundle v1``, and commit what it writes; it
never writes over what is there. The office is one in which everything happened that a bundle can carry: a root that two
of three people sign, changed once; a log key changed once; an approver whose key is P-256; a waived gate; feeds with
and without a revocation of this release.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from placet.attest.keys import KeyKind, new_signer
from placet.attest.predicates import Role
from placet.attest.root import RootKey
from placet.domain.records import Decision
from placet.office import LOG_KEY, TrustDesk, create_office
from placet.release.desk import export_revocations
from placet.review import desk
from tests.support import offices

BUNDLES = Path(__file__).parent / "bundles"
HOLDERS = (("root-ada", "Ada L"), ("root-ben", "Ben B"), ("root-cy", "Cy C"))


def make(folder: Path) -> None:
    """Write the bundle, its feeds and what a verifier has to say of them into `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        clock = offices.FixedClock()
        office = create_office(
            Path(scratch) / "office",
            "Fixture office",
            ask=lambda _: offices.PASSPHRASE,
            clock=clock,
            holders=HOLDERS,
            threshold=2,
        )
        sample = offices.SampleOffice(office, clock)
        first_pin = office.root.pin
        for person, role in offices.PEOPLE.items():
            offices.add_person(sample, person, role)
        token = new_signer(KeyKind.P256)
        TrustDesk(office).grant(token.public, "cleo", (Role.APPROVER,))
        sample.signers["cleo"] = token
        walk = offices.walk_to_verdict(sample)
        log = new_signer()
        office.keys.add("log-2", log, offices.PASSPHRASE)
        TrustDesk(office).rotate_key(office.signer(LOG_KEY).public.key_id, log.public)
        holders = office.root.current.keys[:2]
        TrustDesk(office).change_root((*holders, RootKey(offices.signer_named("dana").public, "Dana D")), 2)
        gates = [offices.passing_gate(), offices.inconclusive_gate()]
        made = offices.Released(sample, walk, None, Path(scratch))  # type: ignore[arg-type]
        walk = offices.decide_again(made, Decision.NEEDS_REVIEW, gates=gates, approved_by=("ada", "cleo"))
        for person in ("ada", "cleo"):
            desk.waive(office, walk.ref.id, "general", "few rows exist", 30, sample.signers[person])
            clock.advance(minutes=1)
        released, bundle = offices.release(sample, walk.ref)
        feed = export_revocations(office)
        clock.advance(days=1)
        desk.revoke(office, walk.ref.id, "adapter", "x", "it leaks", sample.signers["ada"])
        revoked = export_revocations(office)
        folder.mkdir(parents=True)
        shutil.copytree(bundle, folder / "bundle")
        (folder / "feed.json").write_bytes(feed)
        (folder / "feed-revoked.json").write_bytes(revoked)
        expected = {
            "pins": [version.pin for version in office.root.versions],
            "office": office.root.office,
            "adapter": walk.ref.id,
            "approvers": ["ada", "cleo"],
            "releasedAt": f"{released.record.released_at:%Y-%m-%dT%H:%M:%SZ}",
            "origin": office.settings.origin,
        }
        assert expected["pins"][0] == first_pin
        (folder / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


def main() -> int:
    """Make the bundle of the version named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("version", help="such as v1; a folder of that name must not be there yet")
    folder = BUNDLES / parser.parse_args().version
    if folder.exists():
        print(f"{folder} is there: a fixture is never made anew", file=sys.stderr)
        return 1
    make(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
