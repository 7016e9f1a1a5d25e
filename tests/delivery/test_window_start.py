"""What is read of the ledger for a decision: nothing that a cap still counts may lie before it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from engine.core.clock import Duration
from engine.core.policy import Cap
from engine.core.tally import _leaves
from engine.delivery.facts import window_start
from tests.core.governing import policy

MOMENTS = st.integers(1_735_689_600, 1_861_920_000).map(lambda second: datetime.fromtimestamp(second, UTC))


@given(MOMENTS, st.integers(0, 13), st.integers(0, 40), st.integers(0, 100_000), st.floats(0, 1))
def test_whatever_a_rolling_cap_still_counts_is_read(at: datetime, months: int, days: int, seconds: int, early: float) -> None:
    """At any moment before a slot leaves its window, also where months are of unequal lengths."""
    length = Duration(months, days, seconds + 1)
    leaves = _leaves(at, length)
    now = at + (leaves - at) * early - timedelta(microseconds=1)
    start = window_start(policy(caps=(Cap("some", 1, "rolling", rolling=length),)), now)
    assert start is not None
    assert start < at


def test_the_last_days_of_a_long_month_count_until_the_shorter_one_is_over() -> None:
    """A slot of 29 January counts under "1 month 3 days" until 4 March, so it is read on 3 March."""
    at = datetime(2027, 1, 29, 10, tzinfo=UTC)
    start = window_start(policy(caps=(Cap("some", 1, "rolling", rolling=Duration(1, 3)),)), datetime(2027, 3, 3, 23, tzinfo=UTC))
    assert start is not None
    assert start < at
