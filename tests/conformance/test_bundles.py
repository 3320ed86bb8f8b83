"""Bundles of every past version verify for ever, as of their checkpoint, and no byte of one can be another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from placet.domain.digests import parse_digest
from placet.domain.errors import Error
from placet.verify.verifier import VerificationError, verify_bundle

BUNDLES = Path(__file__).parent / "bundles"
VERSIONS = sorted(path.name for path in BUNDLES.iterdir() if path.is_dir())
FEEDS = ("feed.json", "feed-revoked.json")
# Feeds of the first form could be cut without anybody noticing, so they are not read any more. Its bundle is.
WITH_FEEDS = [version for version in VERSIONS if (BUNDLES / version / FEEDS[0]).exists()]


def _expected(version: str) -> dict[str, Any]:
    return dict(json.loads((BUNDLES / version / "expected.json").read_text()))


def test_there_is_a_bundle_of_this_version() -> None:
    assert "v1" in VERSIONS
    assert {"v2", "v3"} <= set(WITH_FEEDS)


def test_what_an_order_of_that_time_shows_is_said() -> None:
    foreseen = [
        version
        for version in VERSIONS
        if "older than draws"
        in " ".join(
            verify_bundle(
                BUNDLES / version / "bundle", parse_digest(_expected(version)["pins"][0]), now=None
            ).unknown
        )
    ]
    assert foreseen == ["v1", "v2"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_past_bundle_verifies_as_of_its_checkpoint_under_each_pin(version: str) -> None:
    expected = _expected(version)
    for pin in expected["pins"]:
        verified = verify_bundle(BUNDLES / version / "bundle", parse_digest(pin), now=None)

        assert verified.office == expected["office"]
        assert verified.release.adapter.id == expected["adapter"]
        assert list(verified.approvers) == expected["approvers"]
        assert verified.checkpoint.origin == expected["origin"]
        assert f"{verified.as_of:%Y-%m-%dT%H:%M:%SZ}" == expected["releasedAt"]


@pytest.mark.parametrize("version", VERSIONS)
def test_today_its_approvals_have_lapsed(version: str) -> None:
    bundle, pin = BUNDLES / version / "bundle", parse_digest(_expected(version)["pins"][0])

    with pytest.raises(VerificationError, match=r"expired at|it is not approved"):
        verify_bundle(bundle, pin, now=datetime(2100, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("version", WITH_FEEDS)
def test_its_feeds_are_read_for_ever(version: str) -> None:
    folder, pin = BUNDLES / version, parse_digest(_expected(version)["pins"][0])
    clear, revoked = ((folder / name).read_bytes() for name in FEEDS)

    assert verify_bundle(folder / "bundle", pin, now=None, revocations=clear).revocations_checked
    with pytest.raises(VerificationError, match="was revoked by ada: it leaks"):
        verify_bundle(folder / "bundle", pin, now=None, revocations=revoked)


@pytest.fixture(scope="module", params=VERSIONS)
def copied(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str, datetime]]:
    """Copy a bundle with its feeds; return its folder, a pin and the moment of its release."""
    folder = tmp_path_factory.mktemp("bundles") / request.param
    shutil.copytree(BUNDLES / request.param, folder)
    expected = _expected(request.param)
    at = datetime.strptime(expected["releasedAt"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    yield folder, expected["pins"][0], at
    verify_bundle(folder / "bundle", parse_digest(expected["pins"][0]), now=None)


def _verify(folder: Path, pin: str, at: datetime | None) -> None:
    (feed,) = [path.read_bytes() for path in _feeds(folder)] or [None]
    verify_bundle(folder / "bundle", parse_digest(pin), now=at, revocations=feed)


def _feeds(folder: Path) -> list[Path]:
    return [path for path in [folder / "feed.json"] if path.exists()]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_byte_changed_anywhere_is_refused(
    copied: tuple[Path, str, datetime], data: st.DataObject
) -> None:
    folder, pin, at = copied
    files = [*sorted(path for path in (folder / "bundle").rglob("*") if path.is_file()), *_feeds(folder)]
    path = data.draw(st.sampled_from(files), label="file")
    original = path.read_bytes()
    position = data.draw(st.integers(0, len(original) - 1), label="position")
    altered = bytearray(original)
    altered[position] ^= data.draw(st.integers(1, 255), label="flip")
    path.write_bytes(altered)
    try:
        with pytest.raises(Error) as caught:
            _verify(folder, pin, data.draw(st.sampled_from([at + timedelta(hours=1), None]), label="as of"))
        assert caught.value.hint
    finally:
        path.write_bytes(original)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_anything_put_in_or_taken_out_is_refused(
    copied: tuple[Path, str, datetime], data: st.DataObject
) -> None:
    folder, pin, at = copied
    files = [*sorted(path for path in (folder / "bundle").rglob("*") if path.is_file()), *_feeds(folder)]
    path = data.draw(st.sampled_from(files), label="file")
    original = path.read_bytes()
    start = data.draw(st.integers(0, len(original)), label="start")
    removed = data.draw(st.integers(0, 40), label="removed")
    inserted = data.draw(
        st.sampled_from([b"", b" ", b"\n", b"\t", b"\r", b"\0", b",", b"null"]), label="inserted"
    )
    altered = original[:start] + inserted + original[start + removed :]
    if altered == original:
        return
    path.write_bytes(altered)
    try:
        with pytest.raises(Error):
            _verify(folder, pin, at + timedelta(hours=1))
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize("version", WITH_FEEDS)
def test_a_part_swapped_for_that_of_its_other_feed_is_refused(version: str) -> None:
    folder, pin = BUNDLES / version, parse_digest(_expected(version)["pins"][0])
    clear, revoked = (json.loads((folder / name).read_bytes()) for name in FEEDS)
    from placet.domain.digests import canonical_json

    for part in clear:
        if clear[part] == revoked[part]:
            continue
        with pytest.raises(VerificationError):
            verify_bundle(
                folder / "bundle", pin, now=None, revocations=canonical_json({**revoked, part: clear[part]})
            )
