"""The moment that somebody asks about, as they write it: with its offset from UTC, or by the customer's own clock."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from engine.core.clock import resolve_local
from engine.core.telling import tell_moment

HINT = "write it as 2026-03-02T10:00 by the customer's own clock, or with its offset: 2026-03-02T10:00+01:00, 2026-03-02T09:00Z"
YEARS = range(1970, 9000)


class BadMoment(ValueError):
    """Text that is no moment that could be asked about; the message says why, `hint` how to write one."""

    hint = HINT


def read_moment(text: str) -> datetime:
    """The moment of an ISO 8601 `text`; without an offset it is naive. Raises BadMoment."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadMoment(f"{text[:60]!r} is not an ISO 8601 moment") from None
    if found.year not in YEARS:
        raise BadMoment(f"{text[:60]!r} is not between {YEARS.start} and {YEARS.stop}")
    return found


def settle_moment(asked: datetime, zone: ZoneInfo, now: datetime) -> datetime:
    """`asked`, by the clock in `zone` where it is naive. Raises BadMoment for what lies after `now`."""
    moment = resolve_local(asked, zone) if asked.tzinfo is None else asked
    if moment > now:
        raise BadMoment(f"{tell_moment(moment, zone)} hasn't come yet: it is {tell_moment(now, zone)}")
    return moment
