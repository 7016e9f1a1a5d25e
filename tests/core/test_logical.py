"""Logical time: what a moment of the machine's clock means to the engine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from engine.core.logical import LogicalClock

REAL = datetime(2026, 11, 22, 3, tzinfo=UTC)
STORY = datetime(2026, 5, 4, 10, tzinfo=UTC)


def test_a_clock_whose_epochs_are_equal_is_real_time() -> None:
    """With scale 1 and one epoch, the logical moment is the real one, to the microsecond."""
    later = REAL + timedelta(days=400, microseconds=123_457)
    assert later == LogicalClock(1.0, REAL, REAL).logical(later)


def test_a_clock_with_scale_one_keeps_the_distance_of_its_epochs() -> None:
    """Time that was set to another date passes at its own pace from there, whatever the scale."""
    later = REAL + timedelta(days=3, seconds=5)
    assert STORY + timedelta(days=3, seconds=5) == LogicalClock(1.0, REAL, STORY).logical(later)
    assert STORY + timedelta(days=6, seconds=10) == LogicalClock(2.0, REAL, STORY).logical(later)
