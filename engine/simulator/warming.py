"""Senders that are warmed up, in a simulation: so many messages on the first day, more on each later one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from engine.core.facts import HoldFact
from engine.delivery.warming import put_off, quota


@dataclass(frozen=True, slots=True)
class Begun:
    """A channel whose sender is new: its first day is that of its first message. Numbers as in `delivery.warming.Warmup`."""

    start: int
    double: int
    full: int | None = None


@dataclass(slots=True)
class Warming:
    """How far each channel is. `first`: channel → the day (UTC) on which it began · `used`: channel → (day, messages of it)."""

    channels: dict[str, Begun]
    first: dict[str, date] = field(default_factory=dict)
    used: dict[str, tuple[int, int]] = field(default_factory=dict)

    def in_the_way(self, channel: str, tiers: Sequence[str], now: datetime) -> HoldFact | None:
        """What keeps a message of these `tiers` from the channel until tomorrow; None where it has room."""
        begun = self.channels.get(channel)
        if begun is None:
            return None
        day = self._day(channel, now)
        most = quota(begun.start, begun.double, day)
        before, sent = self.used.get(channel, (day, 0))
        if (begun.full is not None and most >= begun.full) or before != day or sent < most:
            return None
        begins = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
        return put_off(channel, tiers, day, most, begins, begins + timedelta(days=1))

    def sent(self, channel: str, now: datetime) -> None:
        """A message went."""
        if channel in self.channels:
            day = self._day(channel, now)
            before, sent = self.used.get(channel, (day, 0))
            self.used[channel] = (day, sent + 1 if before == day else 1)

    def _day(self, channel: str, now: datetime) -> int:
        today = now.astimezone(UTC).date()
        return (today - self.first.setdefault(channel, today)).days
