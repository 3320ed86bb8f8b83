"""`placet verify`: check a released bundle offline. Needs no office, no database and no model library."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from placet.cli.errors import REFUSED
from placet.cli.session import JsonOption, Session, add_command, parse_pin, write_json
from placet.domain.errors import UsageError
from placet.domain.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from placet.domain.digests import Digest
    from placet.verify.verifier import VerificationError, VerifiedRelease

MAX_FEED_BYTES = 64 << 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    pin = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
    lines = (
        f"placet verify office/releases/staging/desk-good-5feceb66ffc8 --pin {pin}",
        f"placet verify ./desk-good-5feceb66ffc8 --pin {pin} --revocations revocations.json",
    )
    add_command(app, "verify", verify, *lines)


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    pin: Annotated[
        str,
        typer.Option(
            "--pin", metavar="DIGEST", help="Digest of the office's trust root, got from a person you trust."
        ),
    ],
    revocations: Annotated[
        Path | None,
        typer.Option("--revocations", metavar="FILE", help="The office's feed (`placet revoke --export`)."),
    ] = None,
    as_of_release: Annotated[
        bool,
        typer.Option(
            "--as-of-release",
            help="Judge what expires at the moment of the release, by its own account, not now.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Check offline that a bundle is exactly what was measured, approved and released.

    Trusts the pinned digest (of any version of the office's trust root) and nothing in the bundle; opens no connection.
    What a bundle cannot show by itself is said at the end. Exit codes: 0 verified, 1 a step does not hold.
    """
    from placet.verify.verifier import STEPS, VerificationError, verify_bundle

    session = Session(json=json)
    digest = parse_pin(pin)
    feed = None if revocations is None else _read_feed(revocations)
    try:
        verified = verify_bundle(
            bundle, digest, now=None if as_of_release else datetime.now(UTC), revocations=feed
        )
    except VerificationError as error:
        skipped = [name for name, _ in STEPS][len(error.passed) + 1 :]
        failure = error
        _result(session, _failure_json(failure, skipped), lambda: _show_failure(failure, skipped))
        raise typer.Exit(REFUSED) from error
    _result(session, _json(verified, digest), lambda: _show(verified))


def _result(session: Session, value: dict[str, Any], show: Callable[[], None]) -> None:
    # Without a console of rich's: loading it would take a third of the whole command's time.
    if session.json:
        write_json(value)
    else:
        show()


def _show(verified: VerifiedRelease) -> None:
    for name, detail in verified.steps:
        _step("ok", "green", name, detail)
    release = verified.release
    _say(
        f"VERIFIED: {release.adapter.label} on {release.base.label}, released by {verified.office} to "
        f"{release.channel} on {release.released_at:%Y-%m-%d}",
        "green",
    )
    for line in verified.unknown:
        _say(f"Not known: {line}.")
    if not verified.revocations_checked:
        _say("  Hint: give the office's newest feed: --revocations FILE")


def _show_failure(error: VerificationError, skipped: list[str]) -> None:
    for name in error.passed:
        _step("ok", "green", name, "")
    _step("FAILED", "red", error.step, error.message.removeprefix(f"{error.step}: "))
    for name in skipped:
        _step("not run", "", name, "")
    _say("NOT VERIFIED: do not load it.", "red")
    if error.hint:
        _say(f"  Hint: {error.hint}")


def _step(mark: str, colour: str, name: str, detail: str) -> None:
    typer.secho(f"{mark:<8}", fg=colour or None, nl=False)
    _say(f"{name:<12}{detail}")


def _say(text: str, colour: str = "") -> None:
    typer.secho(printable(text), fg=colour or None, bold=bool(colour))


def _json(verified: VerifiedRelease, pin: Digest) -> dict[str, Any]:
    return {
        "verified": True,
        "office": verified.office,
        "pin": pin,
        "release": verified.release.to_json(),
        "approvers": list(verified.approvers),
        "checkpoint": {"origin": verified.checkpoint.origin, **verified.checkpoint.head.to_json()},
        "steps": [{"step": name, "result": "ok", "detail": detail} for name, detail in verified.steps],
        "revocationsChecked": verified.revocations_checked,
        "asOf": f"{verified.as_of:%Y-%m-%dT%H:%M:%SZ}",
        "unknown": list(verified.unknown),
    }


def _failure_json(error: VerificationError, skipped: list[str]) -> dict[str, Any]:
    passed = [{"step": name, "result": "ok", "detail": ""} for name in error.passed]
    failed = {"step": error.step, "result": "failed", "detail": error.message}
    not_run = [{"step": name, "result": "not-run", "detail": ""} for name in skipped]
    return {"verified": False, "hint": error.hint, "steps": [*passed, failed, *not_run]}


def _read_feed(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FEED_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="--revocations names the office's feed"
        ) from error
    if len(data) > MAX_FEED_BYTES:
        raise UsageError(
            f"{path} is no revocation feed: too large", hint="get the feed from the office again"
        )
    return data
