"""The token bucket, told the time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.delivery.pacing import BURST_SECONDS, Pace


def test_first_burst_and_then_the_rate() -> None:
    """A rested bucket lets a tenth of a second's worth go at once, and the next one when its token is there."""
    pace = Pace(100)
    assert [pace.reserve(1, 0.0) for _ in range(12)] == pytest.approx([0.0] * 10 + [0.01, 0.02])


def test_slow_rates_pass_one() -> None:
    """Where a tenth of a second's worth is less than a message, a rested bucket holds one."""
    pace = Pace(0.5)
    assert [pace.reserve(1, 0.0), pace.reserve(1, 0.0), pace.reserve(1, 4.0)] == [0.0, 2.0, 0.0]


def test_a_group_larger_than_the_bucket_waits_for_its_debt() -> None:
    """Fifty messages at 100/s wait until all but the burst have their tokens."""
    assert Pace(100).reserve(50, 7.0) == pytest.approx(0.4)


def test_rest_saves_up_one_burst_only() -> None:
    """An hour without messages doesn't let an hour's worth go."""
    pace = Pace(100)
    pace.reserve(10, 0.0)
    assert pace.reserve(20, 3600.0) == pytest.approx(0.1)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    """Time that runs backwards and forwards again is counted once."""
    pace = Pace(1)
    pace.reserve(1, 100.0)
    assert [pace.reserve(1, 50.0), pace.reserve(1, 100.0)] == [1.0, 2.0]


def test_no_rate_never_waits() -> None:
    """Without a rate nothing waits."""
    assert Pace(None).reserve(10**9, 0.0) == 0.0


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_impossible_rates(rate: float) -> None:
    """A rate that isn't a positive number is an error."""
    with pytest.raises(ValueError, match="positive"):
        Pace(rate)


@given(
    rate=st.floats(0.1, 1000),
    groups=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 40)), min_size=1, max_size=40),
)
def test_never_faster_than_the_rate(rate: float, groups: list[tuple[float, int]]) -> None:
    """Whatever arrives when: from the start to any release, no more than the burst and rate times the time passed."""
    pace, now, passed = Pace(rate), 0.0, 0
    for pause, n in groups:
        now += pause
        released = now + pace.reserve(n, now)
        passed += n
        assert passed <= max(1.0, rate * BURST_SECONDS) + rate * released + 1e-6


async def test_take_waits_and_gives_back() -> None:
    """`take` waits as long as `reserve` says; when it is cancelled the next one doesn't wait in its place."""
    pace = Pace(20)
    await pace.take(2)
    waiting = asyncio.ensure_future(pace.take(100))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    started = asyncio.get_running_loop().time()
    await pace.take(2)
    assert 0.05 < asyncio.get_running_loop().time() - started < 4, "a hundred more would take five seconds"
