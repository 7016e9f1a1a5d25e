"""Moments in the words that people read in `why`: local, with the month's name and the zone. Only wording belongs here."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from engine.core import clock

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def tell_day(moment: datetime, zone: ZoneInfo) -> str:
    """ "3 March (Europe/Rome)"."""
    there = clock.local(moment, zone)
    return f"{there.day} {_MONTHS[there.month - 1]} ({zone.key})"


def tell_moment(moment: datetime, zone: ZoneInfo) -> str:
    """ "3 March 2026 at 21:30 (Europe/Rome)"; with seconds where they aren't zero."""
    there = clock.local(moment, zone)
    form = "%H:%M:%S" if there.second else "%H:%M"
    return f"{there.day} {_MONTHS[there.month - 1]} {there.year} at {there.strftime(form)} ({zone.key})"
