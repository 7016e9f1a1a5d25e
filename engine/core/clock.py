"""Zones, durations, windows and the changes of daylight saving time. Pure: `now` and zones are arguments."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """`seconds` is absolute; `days` and `months` keep the local wall-clock time. Signed; all parts share one sign."""

    months: int = 0
    days: int = 0
    seconds: int = 0
