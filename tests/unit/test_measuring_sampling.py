from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.domain.digests import digest_bytes
from placet.domain.errors import UsageError
from placet.measuring.sampling import draw_order

SUITE = digest_bytes(b"suite")


@given(st.integers(1, 200), st.data())
def test_a_draw_holds_distinct_documents_and_a_smaller_one_is_its_prefix(n: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, n))
    whole = draw_order(n, n, "ab" * 32, SUITE)
    assert sorted(whole) == list(range(n))
    assert draw_order(n, count, "ab" * 32, SUITE) == whole[:count]


def test_a_draw_is_fixed_for_ever() -> None:
    assert draw_order(10, 4, "00" * 32, SUITE) == (6, 8, 5, 7)


def test_root_and_suite_both_change_the_draw() -> None:
    draws = {
        draw_order(50, 50, root, suite)
        for root in ("00" * 32, "11" * 32)
        for suite in (SUITE, digest_bytes(b""))
    }
    assert len(draws) == 4


@pytest.mark.parametrize("count", [0, 11, -1])
def test_more_samples_than_documents_are_refused(count: int) -> None:
    with pytest.raises(UsageError):
        draw_order(10, count, "00" * 32, SUITE)
