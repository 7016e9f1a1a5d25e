"""What governance promises, on a page: told what was accepted and what was handed over, in the order in which it took effect, it
says which promise was broken. It knows nothing of how the engine keeps them. Source: semantics.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from engine.core.policy import Cap, Policy
from tests.proofs.project import DELAYS, JOURNEYS

OVERDUE = timedelta(days=7)
"""A send that should have been asked for so long ago stands in nobody's way."""


@dataclass(frozen=True)
class Sent:
    """A message that the customer got, or may have got, and when it was handed over."""

    key: str
    enrollment: int
    tier: str
    channel: str
    topic: str
    journey: str
    at: datetime


@dataclass(frozen=True)
class Registered:
    """A message that time alone brings: it is due, or it waits."""

    enrollment: int
    entered: datetime
    tier: str
    channel: str
    topic: str
    journey: str
    due: datetime
    planned: datetime
    waits: bool = False


@dataclass
class Hold:
    """A pause. `closed`: an event has ended it."""

    name: str
    key: str
    pause: tuple[str, ...]
    opened: datetime
    until: datetime
    enrollment: int = 0
    closed: datetime | None = None


@dataclass
class Model:
    """One customer. `statements`: (channel, topic, state), oldest first."""

    policy: Policy
    zone: ZoneInfo
    statements: list[tuple[str, str | None, str]] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    sent: dict[str, Sent] = field(default_factory=dict)
    entered: dict[int, Registered] = field(default_factory=dict)

    # What happens

    def happened(self, name: str, properties: dict[str, Any], at: datetime) -> None:
        """An event was accepted."""
        if name == "consent_changed":
            self.statements.append((properties["channel"], properties["topic"], properties["state"]))
        if name == "complaint_filed":
            rule = next(r for r in self.policy.holds if r.name == "complaint")
            until = self._local_days(at, rule.at_most.days)
            self.holds.append(Hold(rule.name, properties["ticket_id"], rule.pause, at, until))
        if name == "complaint_resolved":
            for hold in self.holds:
                if hold.key == properties["ticket_id"] and hold.closed is None and not hold.enrollment:
                    hold.closed = at

    def enrolled(self, enrollment: int, journey: str, at: datetime) -> None:
        """An event has begun a passage."""
        tier, _, channel, topic, _, _ = JOURNEYS[journey]
        due = at + timedelta(hours=DELAYS.get(journey, 0))
        self.entered[enrollment] = Registered(enrollment, at, tier, channel, topic, journey, due, due)
        for rule in self.policy.holds:
            if rule.while_in == journey:
                until = self._local_days(at, rule.at_most.days)
                self.holds.append(Hold(rule.name, "", rule.pause, at, until, enrollment))

    def sends(self, one: Sent, others: Iterable[Registered], ended: set[int]) -> list[str]:
        """`one` is handed over: which promises that breaks. `others`: who is registered and still waits afterwards. `ended`:
        enrollments that are over by now, of which nobody knows since when."""
        broken = []
        skips = next(t.skip for t in self.policy.tiers if t.name == one.tier)
        if "consent" not in skips and not self.agreed(one.channel, one.topic):
            broken.append("sent against consent")
        if "quiet_hours" not in skips and self.quiet(one.at):
            broken.append("sent in quiet hours")
        if "holds" not in skips and self.held(one.tier, one.at, ended):
            broken.append("sent against a hold")
        before = [s for k, s in self.sent.items() if k != one.key]
        if one.tier not in self.policy.uncounted:
            broken += [f"more than {c.name} allows" for c in self._full(one, one.at, before)]
            if not broken and all(c.per == "rolling" for c in self.policy.caps):
                aside = self._set_aside(one, others, before)
                broken += [f"{c.name} was kept for {aside}" for c in self._full(one, one.at, [*before, *aside])]
        self.sent[one.key] = one
        return broken

    def overlooked(self, others: list[Registered], now: datetime) -> list[Registered]:
        """Who waits though there is room, however much those before it might need. Only of caps that roll, which free at once."""
        if any(c.per != "rolling" for c in self.policy.caps):
            return []
        found = []
        for one in others:
            if not one.waits or not self._may_go(one, now) or self.quiet(now):
                continue
            ahead = [self._as_sent(o, now) for o in others if self._order(o) < self._order(one)]
            if not self._full(one, now, [*self.sent.values(), *ahead]):
                found.append(one)
        return found

    # What is promised

    def agreed(self, channel: str, topic: str) -> bool:
        """Each breadth's last word counts; a wide withdrawal is lifted only by a grant as wide."""
        for breadth in {(c, t) for c, t, _ in self.statements if c in (channel, "*") and t in (topic, None)}:
            said = [i for i, (c, t, _) in enumerate(self.statements) if (c, t) == breadth]
            if self.statements[said[-1]][2] == "withdrawn":
                later = [s for s in self.statements[said[-1] :] if s[0] in (channel, "*") and s[1] in (topic, None)]
                if "*" in breadth or None in breadth or not any(s[2] == "granted" for s in later):
                    return False
        return True

    def held(self, tier: str, at: datetime, ended: set[int]) -> bool:
        """Whether a hold is open."""
        mine = [h for h in self.holds if tier in h.pause and h.enrollment not in ended]
        return any(h.closed is None and h.opened <= at < h.until for h in mine)

    def quiet(self, at: datetime) -> bool:
        """From 21:00 to 08:00, local time."""
        return not 8 <= at.astimezone(self.zone).hour < 21

    def _after_quiet(self, at: datetime) -> datetime:
        there = at.astimezone(self.zone)
        if not self.quiet(at):
            return at
        day = there.date() + timedelta(days=there.hour >= 21)
        return datetime(day.year, day.month, day.day, 8, tzinfo=self.zone)

    def _full(self, one: Sent | Registered, at: datetime, others: Iterable[Sent]) -> list[Cap]:
        """The caps that have no room for `one` at `at`, with `others`."""
        full = []
        for cap in self.policy.caps:
            if not _counts(cap, one):
                continue
            times = [s.at for s in others if s.tier not in self.policy.uncounted and _counts(cap, s)]
            if cap.per == "rolling":
                assert cap.rolling is not None
                length = timedelta(days=cap.rolling.days, seconds=cap.rolling.seconds)
                near = sorted([*(t for t in times if abs(t - at) < length), at])
                if any(b - a < length and a <= at <= b for a, b in zip(near, near[cap.limit :], strict=False)):
                    full.append(cap)
            elif sum(self._period(cap, t) == self._period(cap, at) for t in times) >= cap.limit:
                full.append(cap)
        return full

    def _period(self, cap: Cap, at: datetime) -> object:
        day = at.astimezone(self.zone).date()
        return {"day": day, "week": day.isocalendar()[:2], "month": (day.year, day.month)}[str(cap.per)]

    def _set_aside(self, one: Sent, others: Iterable[Registered], before: list[Sent]) -> list[Sent]:
        """The slots of those who go first, as far as they surely have one: each where it fits."""
        me = self.entered[one.enrollment]
        aside: list[Sent] = []
        for other in sorted(others, key=self._order):
            first = self._rank(other.tier) < self._rank(one.tier) or (
                other.tier == one.tier
                and (other.entered, other.enrollment) < (me.entered, me.enrollment)
                and (other.waits or other.due <= one.at)
            )
            if other.enrollment == one.enrollment or not first or not self._may_go(other, one.at):
                continue
            at = self._after_quiet(max(other.due, one.at))
            if not self._full(other, at, [*before, *aside]):
                aside.append(self._as_sent(other, at))
        return aside

    def _may_go(self, one: Registered, now: datetime) -> bool:
        """Whether only time and caps are in its way, and no hold ever was: those free at a time of day."""
        delayed = [h for h in self.holds if one.tier in h.pause and (h.closed or h.until) > one.planned and h.opened <= now]
        overdue = not one.waits and one.due <= now - OVERDUE
        skips = next(t.skip for t in self.policy.tiers if t.name == one.tier)
        return not delayed and not overdue and "caps" not in skips and self.agreed(one.channel, one.topic)

    def _rank(self, tier: str) -> int:
        return next(i for i, t in enumerate(self.policy.tiers) if t.name == tier)

    def _order(self, one: Registered) -> tuple[int, datetime, int]:
        return self._rank(one.tier), one.entered, one.enrollment

    def _as_sent(self, one: Registered, at: datetime) -> Sent:
        return Sent("", one.enrollment, one.tier, one.channel, one.topic, one.journey, at)

    def _local_days(self, at: datetime, days: int) -> datetime:
        naive = at.astimezone(self.zone).replace(tzinfo=None) + timedelta(days=days)
        return naive.replace(tzinfo=self.zone)


def _counts(cap: Cap, one: Sent | Registered) -> bool:
    return (not cap.tiers or one.tier in cap.tiers) and (not cap.channels or one.channel in cap.channels)
