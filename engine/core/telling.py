"""Moments in the words that people read in `why`: local, with the month's name and the zone. Only wording belongs here."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from engine.core import clock

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


@lru_cache(maxsize=65_536)
def tell_day(moment: datetime, zone: ZoneInfo) -> str:
    """ "3 March (Europe/Rome)"."""
    there = clock.local(moment, zone)
    return f"{there.day} {_MONTHS[there.month - 1]} ({zone.key})"


def tell_moment(moment: datetime, zone: ZoneInfo) -> str:
    """ "3 March 2026 at 21:30 (Europe/Rome)"; with seconds where they aren't zero."""
    there = clock.local(moment, zone)
    seconds = f":{there.second:02}" if there.second else ""
    return f"{there.day} {_MONTHS[there.month - 1]} {there.year} at {there.hour:02}:{there.minute:02}{seconds} ({zone.key})"
