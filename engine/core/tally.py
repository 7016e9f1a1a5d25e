"""How full the caps are: when the slots that each counts are taken, kept in order, so that a queue is worked out in one pass.

Slots are only ever added: a stretch of time without room stays without. That is what makes asking again cheap.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from engine.core import clock
from engine.core.clock import Duration
from engine.core.facts import Aside, Message, PlannedFact, SlotFact
from engine.core.policy import Cap

Counted = SlotFact | PlannedFact | Message
"""What a cap may count."""

_UTC = clock.zone("UTC")


class Tally:
    """One cap. `ats`: when its slots are taken or set aside, in order."""

    __slots__ = ("_ends", "_full", "_taken", "ats", "rule", "zone")

    def __init__(self, rule: Cap, zone: ZoneInfo, taken: Iterable[datetime] = ()) -> None:
        self.rule, self.zone = rule, zone
        self.ats = sorted(taken)
        self._taken = self.ats  # a list of its own as soon as something is set aside
        if rule.per != "rolling":
            self._ends = []
        elif self._length.months:
            self._ends = [_leaves(at, self._length) for at in self.ats]
        else:
            whole = _absolute(self._length)
            self._ends = [at + whole for at in self.ats]
        self._full: dict[datetime, datetime] = {}

    @property
    def _length(self) -> Duration:
        return self.rule.rolling or Duration()

    def add(self, at: datetime, *, aside: bool) -> None:
        """One more slot, taken `at`, or set aside for then."""
        if aside and self._taken is self.ats:
            self._taken = self.ats.copy()
        place = bisect_right(self.ats, at)
        self.ats.insert(place, at)
        if self.rule.per == "rolling":
            self._ends.insert(place, _leaves(at, self._length))
        if not aside and self._taken is not self.ats:
            self._taken.insert(bisect_right(self._taken, at), at)

    def aside(self) -> Aside:
        """What is set aside, not taken: when, and how many then."""
        return tuple(sorted((Counter(self.ats) - Counter(self._taken)).items()))

    def rolling(self, now: datetime) -> int:
        """The most slots in any one window that a message sent at `now` would be in. Windows are open at their beginning: a
        slot exactly as old as the window no longer counts."""
        return max(map(self._until, self._ends_of(now)))

    def rolling_aside(self, now: datetime) -> int:
        """How many of those slots are only set aside; of several windows as full, in the first."""
        end = max(self._ends_of(now), key=self._until)
        left = bisect_right(self._taken, end, key=lambda at: _leaves(at, self._length))
        return self._until(end) - (bisect_right(self._taken, end) - left)

    def _ends_of(self, now: datetime) -> list[datetime]:
        # Where the windows with `now` end that may be the fullest: there, and with each later slot that one can hold.
        if not self.ats or self.ats[-1] <= now:
            return [now]
        return [now, *self.ats[bisect_right(self.ats, now) : bisect_left(self.ats, _leaves(now, self._length))]]

    def _until(self, end: datetime) -> int:
        return bisect_right(self.ats, end) - bisect_right(self._ends, end)

    def taken_near(self, now: datetime) -> bool:
        """Whether a slot that is taken, not only set aside, lies in one window that rolls with `now`."""
        first = bisect_right(self._taken, now, key=lambda at: _leaves(at, self._length))
        return first < len(self._taken) and self._taken[first] < _leaves(now, self._length)

    def rolling_room(self, moment: datetime, limit: int) -> datetime:
        """The first moment from `moment` on at which a window that rolls has room under `limit`, the same in every call."""
        ats, ends = self.ats, self._ends
        found = self._known_full(moment)
        first = bisect_right(ends, found)  # `limit` slots from here on that lie within one window leave no room in it
        while first + limit <= len(ats):
            last = ats[first + limit - 1]
            if last > found and last >= _leaves(found, self._length):
                break
            if ends[first] > last and ends[first] > found:
                found = self._known_full(ends[first])
                first = max(first + 1, bisect_right(ends, found))
            else:
                first += 1
        return self._learn_full(moment, found)

    def calendar(self, start: datetime, end: datetime) -> int:
        """Slots from `start` to before `end`."""
        return bisect_left(self.ats, end) - bisect_left(self.ats, start)

    def calendar_taken(self, start: datetime, end: datetime) -> int:
        """The same without what is only set aside."""
        return bisect_left(self._taken, end) - bisect_left(self._taken, start)

    def calendar_room(self, start: datetime, limit: int) -> datetime:
        """The beginning of the first window with room under `limit`, the same in every call, of those that begin at `start` or
        later."""
        per: Literal["day", "week", "month"] = self.rule.per if self.rule.per != "rolling" else "day"
        found = self._known_full(start)
        while True:
            begin, end = clock.calendar_window(found, per, self.zone)
            if self.calendar(begin, end) < limit:
                return self._learn_full(start, found)
            found = self._known_full(end)

    def _known_full(self, moment: datetime) -> datetime:
        """Where to go on looking from `moment`."""
        while moment in self._full:
            moment = self._full[moment]
        return moment

    def _learn_full(self, moment: datetime, found: datetime) -> datetime:
        """Remember that there is no room from `moment` to `found`, also for whoever comes upon the way between."""
        while moment < found:
            following = self._full.get(moment)
            self._full[moment] = found
            if following is None:
                break
            moment = following
        return found


class Book:
    """The tallies of all caps for one customer. `counts`: whether a cap counts something."""

    __slots__ = ("_counts", "_tallies")

    def __init__(
        self, rules: Iterable[Cap], zone: ZoneInfo, counts: Callable[[Cap, Counted], bool], slots: Iterable[SlotFact]
    ) -> None:
        self._counts = counts
        slots = list(slots)
        self._tallies = {id(r): Tally(r, zone, [s.at for s in slots if counts(r, s)]) for r in rules}

    def aside(self, one: Message) -> tuple[Aside, ...]:
        """What is set aside, cap by cap; nothing of those that don't count `one`."""
        return tuple([t.aside() if self._counts(t.rule, one) else () for t in self._tallies.values()])

    def set_aside(self, told: Iterable[Aside]) -> None:
        """Set aside what another book's `aside` told. ValueError where that has more or fewer caps."""
        for tally, slots in zip(self._tallies.values(), told, strict=True):
            for at, count in slots:
                for _ in range(count):
                    tally.add(at, aside=True)

    def of(self, rule: Cap) -> Tally:
        """The tally of one of the policy's caps."""
        return self._tallies[id(rule)]

    def add(self, one: SlotFact | PlannedFact, at: datetime, *, aside: bool) -> None:
        """`one` takes its slots at `at`."""
        for tally in self._tallies.values():
            if self._counts(tally.rule, one):
                tally.add(at, aside=aside)


def _leaves(at: datetime, length: Duration) -> datetime:
    """When a slot taken at `at` leaves the window that rolls: absolute time, only months are the calendar's (in UTC).

    What was taken on a day that the later month doesn't have leaves when that month is over: a window that began on the 28th of
    January ends on the 28th of February, so what came on the 29th must not leave before. Slots leave in the order they came."""
    if length.months:
        later = clock.add(at, Duration(months=length.months), _UTC)
        if later.day != at.astimezone(UTC).day:
            later = datetime.combine(later.date() + timedelta(days=1), time(), UTC)
        at = later
    return at + _absolute(length)


@lru_cache(maxsize=1024)
def _absolute(length: Duration) -> timedelta:
    return timedelta(days=length.days, seconds=length.seconds)
