"""Random policies, facts and messages, near enough to each other that gates often have something to say."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from engine.core.clock import Duration
from engine.core.facts import ConsentFact, Facts, HoldFact, Message, PauseFact, PlannedFact, SlotFact
from engine.core.plan import Window
from engine.core.policy import Cap, ConsentRule, DayOff, Holdout, Policy, QuietHours
from engine.core.queue import moments
from tests.core.governing import BELOW, NOON, POLICY, SOFT
from tests.core.governing import facts as welcome

CHANNELS, TOPICS, JOURNEYS = ("email", "sms"), ("offers", "news"), ("care", "cart", "vip")
TIERS = ("transactional", "service", *BELOW)
HOLDS = ("complaint", "recovery")
CALENDARS = {
    "holidays/bg.yaml": (DayOff("03-03", "03-03", "Liberation Day"), DayOff("12-25", "12-26", "Christmas")),
    "holidays/company.yaml": (DayOff("2026-03-03", "2026-03-04"),),
}
"""Days off by file. The day of `NOON` is off in both."""


def _one_or_none(values: Any) -> Any:
    return st.one_of(st.none(), st.sampled_from(values))


def _some(values: Any) -> Any:
    return st.one_of(st.just(()), st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True).map(tuple))


def near(before: int = 10 * 1440, after: int = 10 * 1440) -> st.SearchStrategy[datetime]:
    """A moment around `NOON`, to the microsecond."""
    return st.builds(
        lambda m, u: NOON + timedelta(minutes=m, microseconds=u), st.integers(-before, after), st.sampled_from([0, 0, 1, 999_999])
    )


def _maybe(moment: st.SearchStrategy[datetime]) -> st.SearchStrategy[datetime | None]:
    return st.one_of(st.none(), moment)


windows = st.one_of(st.none(), st.none(), st.sampled_from([Window("09:00", "17:00"), Window("18:00", "02:00", ("mon", "tue"))]))
consents = st.builds(
    ConsentFact,
    st.sampled_from([*CHANNELS, "*"]),
    _one_or_none(TOPICS),
    st.sampled_from(["granted", "granted", "granted", "withdrawn", "pending", "cleared"]),
    near(),
    st.sampled_from(["", "website", "the till"]),
    st.one_of(st.none(), st.none(), near()),
    st.integers(0, 9),
)
holds = st.builds(
    lambda name, pause, at, days, closed: HoldFact(name, pause, at, at + timedelta(days=days), closed),
    st.sampled_from(HOLDS),
    st.sampled_from([BELOW, ("promotional",)]),
    near(after=0),
    st.integers(1, 20),
    _maybe(near(before=0)),
)
slots = st.builds(
    SlotFact, st.sampled_from(TIERS), st.sampled_from(CHANNELS), _one_or_none(TOPICS), st.sampled_from(JOURNEYS), near(after=0)
)
planned = st.builds(
    PlannedFact,
    st.sampled_from(BELOW),
    st.sampled_from(CHANNELS),
    _one_or_none(TOPICS),
    st.sampled_from(JOURNEYS),
    near(before=1440),
    st.integers(1, 6),
    _maybe(near(after=0)),
    st.booleans(),
    _maybe(near(after=0)),
    _maybe(near(before=0)),
    windows,
    st.sampled_from(["ben@example.com", "+39333", "", None]),
    st.sampled_from([None, None, "STOP"]),
)
pauses = st.builds(
    PauseFact, st.sampled_from(["care", "enrollment 3"]), near(after=0), _maybe(near(before=0)), st.sampled_from(["", "a typo"])
)
facts = st.builds(
    Facts,
    st.sampled_from([True, True, True, False]),
    st.sampled_from([None, "order_refunded"]),
    st.sampled_from([True, True, True, False]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([None, "Europe/Rome", "America/New_York", "Mars/Base"]),
    st.sampled_from(["ada@example.com", "ada@example.com", None]),
    st.sampled_from([None, None, None, "hard bounce"]),
    st.lists(consents, max_size=3).map(tuple),
    st.lists(st.tuples(st.sampled_from(CHANNELS), near(after=0)), max_size=2).map(tuple),
    st.sampled_from([None, None, None, "global", "care"]),
    st.lists(holds, max_size=2).map(tuple),
    st.lists(slots, max_size=5).map(tuple),
    st.lists(planned, max_size=3, unique_by=lambda p: p.enrollment).map(tuple),
    st.none(),
    st.lists(st.booleans(), max_size=2).map(tuple),
    pauses=st.one_of(st.just(()), st.lists(pauses, max_size=2).map(tuple)),
)
messages = st.builds(
    Message,
    st.sampled_from(JOURNEYS),
    st.just("step"),
    st.just("care/step"),
    st.sampled_from(CHANNELS),
    st.sampled_from(TIERS),
    near(after=0),
    _one_or_none(TOPICS),
    _maybe(near()),
    windows,
    st.sampled_from([False, False, False, True]),
    st.integers(0, 6),
    _maybe(near(after=0)),
)
caps = st.builds(
    lambda name, limit, per, tiers, channels: Cap(
        name, limit, "rolling" if isinstance(per, Duration) else per, per if isinstance(per, Duration) else None, tiers, channels
    ),
    st.sampled_from(["daily", "weekly", "monthly"]),
    st.sampled_from([0, 1, 1, 2, 3]),
    st.sampled_from(["day", "week", "month", Duration(days=7), Duration(days=1)]),
    st.sampled_from([BELOW, ("promotional",), ()]),
    _some(CHANNELS),
)
_hours = st.tuples(st.sampled_from(["21:00", "11:00"]), st.sampled_from(["08:00", "13:00"]))
_calendar = st.sampled_from(list(CALENDARS))


def _quiet(hours: tuple[str, str], calendar: str, channels: tuple[str, ...], tiers: tuple[str, ...]) -> QuietHours:
    return QuietHours(*hours, channels, tiers, calendar=calendar, days_off=CALENDARS.get(calendar, ()))


_channels, _tiers = st.one_of(st.just(()), _some(CHANNELS)), st.one_of(st.just(()), _some(BELOW))
quiet_hours = st.one_of(
    st.builds(_quiet, _hours, st.just(""), _channels, _tiers),
    st.builds(_quiet, st.just(("", "")), _calendar, _channels, _tiers),
    st.builds(_quiet, _hours, _calendar, _channels, _tiers),
)
policies = st.builds(
    lambda caps, quiet, consent, unknown, holdout: replace(
        POLICY, caps=caps, quiet_hours=quiet, consent=consent, unknown_timezone=unknown, holdout=holdout
    ),
    st.lists(caps, max_size=3, unique_by=lambda c: c.name).map(tuple),
    st.lists(quiet_hours, max_size=3).map(tuple),
    st.sampled_from([(), (ConsentRule("email", "granted"),), (ConsentRule("email", soft=SOFT), ConsentRule("sms", "granted"))]),
    st.sampled_from([None, {}, {"sms": "drop"}]),
    st.sampled_from([None, Holdout("global", 0.1, ("promotional",))]),
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Policy, Facts, Message, datetime]:
    """What `decide` takes, now and then with the customer's queue worked out, as deliveries have it. Nothing but hours, caps,
    holds and pauses stands in the way of half of them."""
    policy, known, message, now = draw(policies), draw(facts), draw(messages), draw(near(before=720, after=720))
    if draw(st.booleans()):
        known = welcome(holds=known.holds, slots=known.slots, planned=known.planned, quiet=known.quiet, pauses=known.pauses)
        message = replace(message, expires_at=None)
    if known.planned and draw(st.booleans()):
        known = replace(known, queue={p.enrollment: at for p, at in moments(policy, known, known.planned, now)})
    return policy, known, message, now
