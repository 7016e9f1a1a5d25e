"""What the tests of clock and gates share: awkward zones, strategies, a policy and builders with one default each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from engine.core import clock
from engine.core.clock import Duration
from engine.core.facts import ConsentFact, Facts, Message
from engine.core.policy import Cap, Policy, QuietHours, SoftOptIn, Tier

ZONES = (
    *("Europe/Rome", "Europe/London", "Europe/Dublin", "Europe/Lisbon", "Europe/Istanbul", "Europe/Moscow", "Europe/Chisinau"),
    *("Africa/Casablanca", "Africa/El_Aaiun", "Africa/Cairo", "Africa/Juba", "Asia/Beirut", "Asia/Gaza", "Asia/Amman"),
    *("Asia/Damascus", "Asia/Tehran", "Asia/Kathmandu", "Asia/Pyongyang", "Asia/Kolkata", "Asia/Jerusalem"),
    *("Australia/Lord_Howe", "Australia/Adelaide", "Australia/Eucla", "Pacific/Apia", "Pacific/Chatham", "Pacific/Norfolk"),
    *("Pacific/Kiritimati", "Pacific/Easter", "Pacific/Fiji", "America/Havana", "America/St_Johns", "America/Santiago"),
    *("America/Asuncion", "America/Sao_Paulo", "America/New_York", "America/Caracas", "America/Nuuk", "Antarctica/Troll"),
    *("Atlantic/Azores", "UTC"),
)
"""Forty zones: half-hour DST, DST at midnight, two hours of it, in winter, in Ramadan, given up, and a day that was left out."""


def changes(name: str, first: int, last: int) -> list[datetime]:
    """Every moment, to the hour before, at which zone `name` changed its offset from year `first` to `last`."""
    zone, found = clock.zone(name), []

    def differs(moment: datetime, later: datetime) -> bool:
        return moment.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset()

    day = datetime(first, 1, 1, tzinfo=UTC)
    while day.year <= last:
        if differs(day, day + timedelta(days=1)):
            quarters = [day + timedelta(hours=h) for h in (0, 6, 12, 18)]
            found += [moment for moment in quarters if differs(moment, moment + timedelta(hours=6))]
        day += timedelta(days=1)
    return found


CHANGES = {name: changes(name, 2018, 2027) or [datetime(2024, 3, 31, tzinfo=UTC)] for name in ZONES} | {
    "Pacific/Apia": [datetime(2011, 12, 30, 6, tzinfo=UTC), *changes("Pacific/Apia", 2018, 2021)]
}

minutes_of_day = st.integers(0, 24 * 60 - 1).map(lambda m: f"{m // 60:02}:{m % 60:02}")
day_sets = st.one_of(st.just(()), st.lists(st.sampled_from(clock.WEEKDAYS), min_size=1, max_size=5, unique=True).map(tuple))


@st.composite
def near_a_change(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and a moment within two days of one of its changes."""
    name = draw(st.sampled_from(ZONES))
    change = draw(st.sampled_from(CHANGES[name]))
    return name, change + timedelta(minutes=draw(st.integers(-2 * 1440, 2 * 1440)))


@lru_cache(maxsize=100_000)
def first_showing(naive: datetime, zone: ZoneInfo) -> datetime:
    """By walking minutes: the first moment at which the clock shows `naive` or later. For naive times of whole minutes."""
    near = naive.replace(tzinfo=UTC)
    offsets = [(near + timedelta(hours=h)).astimezone(zone).utcoffset() or timedelta() for h in (-40, 0, 40)]
    moment = near - max(offsets)
    while moment.astimezone(zone).replace(tzinfo=None) < naive:
        moment += timedelta(minutes=1)
    return moment


NOON = datetime(2026, 3, 3, 11, tzinfo=UTC)
"""A Tuesday, 12:00 in Rome."""
BELOW = ("lifecycle", "triggered", "promotional")
TIERS = (
    Tier("transactional", skip=("consent", "caps", "quiet_hours", "holds")),
    Tier("service", skip=("consent", "caps", "holds")),
    *(Tier(name) for name in BELOW),
)
POLICY = Policy(tiers=TIERS, timezone="Europe/Rome", uncounted=("transactional",))
DAILY = Cap("daily", 1, "day", tiers=BELOW)
WEEKLY = Cap("weekly", 3, "rolling", Duration(days=7), tiers=BELOW)
NIGHT = QuietHours("21:00", "08:00")
SOFT = SoftOptIn("order_completed", ("offers",))
GRANTED = (ConsentFact("*", None, "granted", datetime(2025, 1, 1, tzinfo=UTC)),)


def utc(text: str) -> datetime:
    """The moment "2026-03-03 12:00" in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def rome(text: str) -> datetime:
    """The moment that a clock in Rome shows as `text` ("2026-03-03 12:00")."""
    return clock.resolve_local(datetime.fromisoformat(text), clock.zone("Europe/Rome"))


def policy(**changed: Any) -> Policy:
    """A policy without caps and quiet hours, changed as said."""
    return replace(POLICY, **changed)


def facts(**changed: Any) -> Facts:
    """A live, known customer in Rome who consented to everything, changed as said."""
    return replace(Facts(zone="Europe/Rome", address="ada@example.com", consents=GRANTED), **changed)


def message(**changed: Any) -> Message:
    """A lifecycle e-mail about offers, planned for noon on 3 March 2026 in Rome, changed as said."""
    return replace(Message("care", "how_to", "care/how_to", "email", "lifecycle", NOON, "offers"), **changed)
