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

SECONDS, A_DAY_AND_NIGHT = timedelta(seconds=2), timedelta(hours=36)
"""How late a message may go that nothing has been in the way of since: where that frees at once, and where at a time of day."""


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
    """One customer. `statements`: (channel, topic, state), oldest first; after a merge, one such list for each of those who
    became one. `carried`: messages that had their slots before. `ended`: enrollments that were over when all was last at rest."""

    policy: Policy
    zone: ZoneInfo
    statements: list[list[tuple[str, str | None, str]]] = field(default_factory=lambda: [[]])
    holds: list[Hold] = field(default_factory=list)
    sent: dict[str, Sent] = field(default_factory=dict)
    entered: dict[int, Registered] = field(default_factory=dict)
    carried: set[str] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)

    # What happens

    def merge(self, other: Model, zone: ZoneInfo) -> None:
        """Another customer was this one all along: what either got counts, what holds either holds, a consent that one took
        back is none. `zone`: the newer one."""
        self.zone = zone
        self.statements += other.statements
        self.holds += other.holds
        self.sent |= other.sent
        self.entered |= other.entered

    def happened(self, name: str, properties: dict[str, Any], at: datetime) -> None:
        """An event was accepted."""
        if name == "consent_changed":
            for history in self.statements:
                history.append((properties["channel"], properties["topic"], properties["state"]))
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
        if one.tier not in self.policy.uncounted and one.key not in self.carried:
            broken += [f"more than {c.name} allows" for c in self._full(one, one.at, before)]
            if not broken and all(c.per == "rolling" for c in self.policy.caps):
                aside = self._set_aside(one, others, before)
                broken += [f"{c.name} was kept for {aside}" for c in self._full(one, one.at, [*before, *aside])]
        self.sent[one.key] = one
        return broken

    def late(
        self, one: Registered, wakes: datetime, before: list[Registered], slots: list[Sent], now: datetime
    ) -> datetime | None:
        """A moment at which nothing is in the way of `one`, which waits, whatever those `before` it take, though it is asked for
        only at `wakes`, later. `slots`: what messages have taken that may yet come, or may have come.

        Caps that roll and quiet hours free at once. What a hold or the calendar delayed goes within a day and its night."""
        at_once = self._may_go(one, now) and all(c.per == "rolling" for c in self.policy.caps)
        patience = SECONDS if at_once else A_DAY_AND_NIGHT
        if not self.agreed(one.channel, one.topic):
            return None
        taken = [*self.sent.values(), *slots]
        for moment in self._openings(one, now, wakes, taken):
            at = self._after_quiet(moment)
            if at + patience >= wakes or self.held(one.tier, at, self.ended):
                continue
            if not self._full(one, at, [*taken, *(self._as_sent(o, at) for o in before)]):
                return at
        return None

    def _openings(self, one: Registered, now: datetime, until: datetime, taken: list[Sent]) -> list[datetime]:
        """When something that only time ends may end."""
        ends = {now, *(h.closed or h.until for h in self.holds if one.tier in h.pause)}
        for cap in self.policy.caps:
            if cap.rolling is not None:
                ends |= {s.at + timedelta(days=cap.rolling.days, seconds=cap.rolling.seconds) for s in taken}
            else:
                days = range(1, (until - now).days + 1)
                ends |= {self._local_days(now, n).replace(hour=0, minute=0, second=0, microsecond=0) for n in days}
        return sorted(e for e in ends if now <= e < until)

    # What is promised

    def agreed(self, channel: str, topic: str) -> bool:
        """Each breadth's last word counts; a wide withdrawal is lifted only by a grant as wide. All who became one must agree."""
        for told in self.statements:
            for breadth in {(c, t) for c, t, _ in told if c in (channel, "*") and t in (topic, None)}:
                said = [i for i, (c, t, _) in enumerate(told) if (c, t) == breadth]
                if told[said[-1]][2] == "withdrawn":
                    later = [s for s in told[said[-1] :] if s[0] in (channel, "*") and s[1] in (topic, None)]
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

    def goes_before(self, one: Registered, other: Registered) -> bool:
        """Whether it stands before it in the queue: tier first, then the earlier enrollment, then the lower number."""
        return self._order(one) < self._order(other)

    def _order(self, one: Registered) -> tuple[int, datetime, int]:
        return self._rank(one.tier), one.entered, one.enrollment

    def _as_sent(self, one: Registered, at: datetime) -> Sent:
        return Sent("", one.enrollment, one.tier, one.channel, one.topic, one.journey, at)

    def _local_days(self, at: datetime, days: int) -> datetime:
        naive = at.astimezone(self.zone).replace(tzinfo=None) + timedelta(days=days)
        return naive.replace(tzinfo=self.zone)


def _counts(cap: Cap, one: Sent | Registered) -> bool:
    return (not cap.tiers or one.tier in cap.tiers) and (not cap.channels or one.channel in cap.channels)
