"""What time alone brings about on the real engine whose time is moved: by the very code of its chores, at the moments at which
they have something to do.

A broadcast is carried here page by page, as its workflow does, so that all of a moment's is done before time moves on. How fast
it goes (`rate`) isn't played, as on the simulator. Segments, stages and waits that time changes are looked at when the simulator
does: at the exact moment at which something has been too long ago, and on the hour where a condition asks for `now`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial

from engine.app.testing.chosen import asks_the_time
from engine.app.wiring import Core
from engine.core.clock import Duration
from engine.core.occasions import Anniversary, Schedule, coming_up
from engine.core.plan import Entry
from engine.core.wire import load
from engine.delivery.deployment import Deployment, Needs
from engine.delivery.people import People
from engine.intake.awaiting import Awaiting
from engine.intake.fan_out import FanOut
from engine.intake.planning import AHEAD, schedule_of
from engine.intake.sweeping import Sweep
from engine.simulator.moving import DAY, HOUR, lapse
from engine.simulator.recalling import Recall
from engine.store import broadcasts
from engine.store.database import Connection, fetch, run, transaction
from engine.store.database import now as store_now

OPEN = "select id, kind, entry, began_at, next_at from broadcasts where state = 'open' and next_at is not null"
"""Broadcasts that have something to do, now or later."""

AT_ONCE = 50
"""Broadcasts that are asked for at a time."""

STOPPED = (
    "create schema stopped",
    "create table stopped.moment (at timestamptz not null)",
    "create function stopped.sojourn_now() returns timestamptz language sql stable as 'select at from stopped.moment'",
    "set local search_path = stopped, public",
)
GOES_ON = ("set local search_path = public", "drop schema stopped cascade")
"""Around what happens at an exact moment: the database's own clock is never quite where it was set. What is true from midnight
on would be true a moment too early for the hour at which that is looked at."""

BEFORE_ALL = datetime.min.replace(tzinfo=UTC)

_lapse = lru_cache(10_000)(lapse)  # the same events are looked at whenever time moves


@dataclass(frozen=True, slots=True)
class Moments:
    """When something will happen. `once`: and then has happened; `by_calendar`: those at which an entry brings people in ·
    `again`: and will happen again and again, for ever."""

    once: Sequence[datetime] = ()
    again: Sequence[datetime] = ()
    by_calendar: Sequence[datetime] = ()


@dataclass(slots=True)
class Chores:
    """Of one deployment. `looks`: when somebody may be in another segment or stage, or what they wait for true, by time alone."""

    core: Core
    deployment: Deployment
    looks: list[datetime] = field(default_factory=list)
    _recall: Recall = field(init=False)
    _schedules: list[Schedule] = field(init=False)
    _hourly: bool = field(init=False)
    _plans_next: datetime = BEFORE_ALL

    def __post_init__(self) -> None:
        self._recall = Recall.of(self.deployment)
        self._hourly = asks_the_time(self.deployment)
        self._schedules = [schedule_of(p.entries[place]) for p, place in self.deployment.scheduled if p.status == "live"]

    async def begin(self) -> None:
        """Before anybody is known: find out that nobody is in any segment, or has any date."""
        work = Sweep(self.core.deployments, self.core.intake)
        while await work.round():
            pass
        await self._fan_out.plan_ahead()
        await self._carry()

    async def do(self, now: datetime) -> None:
        """Everything that has something to do by `now`."""
        due = [at for at in self.looks if at <= now]
        if due:
            await self.core.intake.collision_free(partial(self._look, at=max(due)))
        if self._schedules and self._plans_next <= now:
            await self._fan_out.plan_ahead()
            self._plans_next = now + AHEAD / 2
        await self._carry()

    async def moments(self, now: datetime) -> Moments:
        """What is to come after `now`, or is due already."""
        again = [await self._next_look(now)] if self._hourly else []
        async with transaction(self.core.database) as c:
            once = await self._lapses(c, now)
            self.looks = [*once, *again]
            by_calendar = list[datetime]()
            for r in await fetch(c, OPEN):
                (again if _recurs(r.kind, load(Entry, r.entry), r.began_at) else by_calendar).append(r.next_at.astimezone(UTC))
        for schedule in self._schedules:
            first = next((at for _, at in coming_up(schedule, now) if at > now), None)
            if first is not None:
                (by_calendar if schedule.once is not None else again).append(first)
        return Moments([*once, *by_calendar], again, by_calendar)

    async def bring_in_no_more(self) -> None:
        """Let no entry that comes again bring anybody in from now on. Those that come once have come by then."""
        self._schedules = []
        async with transaction(self.core.database) as c:
            recurring = [r.id for r in await fetch(c, OPEN) if _recurs(r.kind, load(Entry, r.entry), r.began_at)]
            await broadcasts.close(c, recurring, "done", await store_now(c))

    @property
    def _fan_out(self) -> FanOut:
        core = self.core
        return FanOut(core.database, core.deployments, core.intake, core.clock)

    async def _carry(self) -> None:
        """Bring broadcasts as far as they go by now."""
        while turns := await self._take():
            for broadcast, turn in turns:
                over = False
                while not over:
                    over, pause = await self._fan_out.round(broadcast, turn)
                    if pause > 0:
                        await self._forget_pace(broadcast)

    async def _take(self) -> list[tuple[int, int]]:
        """Broadcasts that have something to do, with the numbers of their turns, as if a workflow carried them."""
        async with transaction(self.core.database) as c:
            turns = [(r.id, r.turn) for r in await broadcasts.ready(c, AT_ONCE)]
            await broadcasts.carried(c, turns)
        return turns

    async def _forget_pace(self, broadcast: int) -> None:
        """Let the next page follow at once."""
        async with transaction(self.core.database) as c:
            await run(c, "update broadcasts set paced_until = clock_timestamp() where id = :id", id=broadcast)

    async def _lapses(self, c: Connection, now: datetime) -> list[datetime]:
        """Moments to come at which what somebody did will be too long ago for a segment or stage that somebody hears of."""
        spans = list(self._spans())
        people, found = People(self.deployment, Needs(), now), set[datetime]()
        statement = (
            "select e.name, e.occurred_at, e.customer_id, c.attributes from events e join customers c on c.id = e.customer_id "
            "where e.name = any(cast(:names as text[]))"
        )
        for r in await fetch(c, statement, names=sorted({name for name, _ in spans})) if spans else ():
            zone = people.zone(r.customer_id, r.attributes)
            found |= {_lapse(r.occurred_at.astimezone(UTC), within, zone) for name, within in spans if name == r.name}
        return sorted(at for at in found if at > now)

    def _spans(self) -> Iterator[tuple[str, Duration]]:
        """(event, how long it counts)."""
        yield from self._recall.windows
        for name, within in self._recall.tallied:
            for event in self.deployment.definitions.all[name].computed.events:
                yield event, within

    async def _next_look(self, now: datetime) -> datetime:
        """The first full hour of the next day at which time will have changed something; the last one where it won't have."""
        begin = now.replace(minute=0, second=0, microsecond=0)
        if not await self._changes(begin + DAY * HOUR):
            return begin + DAY * HOUR
        before, by = 0, DAY
        while by - before > 1:
            middle = (before + by) // 2
            if await self._changes(begin + middle * HOUR):
                by = middle
            else:
                before = middle
        return begin + by * HOUR

    async def _changes(self, at: datetime) -> bool:
        """Whether looking at everybody would find anything if it were `at` now, and nothing else happened."""
        return await self.core.intake.collision_free(partial(self._look, at=at), dry_run=True)

    async def _look(self, c: Connection, *, at: datetime) -> bool:
        """Look at everybody at exactly `at`, as the chores do, and have what they find said; whether that is anything."""
        for statement in STOPPED:
            await run(c, statement)
        await run(c, "insert into stopped.moment (at) values (:at)", at=at)
        newest = "select coalesce(max(id), 0) as id from events"
        before = (await fetch(c, newest))[0].id
        sweep = Sweep(self.core.deployments, self.core.intake)
        while await sweep.page(c):
            pass
        awaiting, more = Awaiting(self.core.database, self.core.deployments, self.core.intake), True
        while more:
            said, more = await awaiting.page(c)
            await self.core.intake.accept_within(c, said)
        for statement in GOES_ON:
            await run(c, statement)
        return bool((await fetch(c, newest))[0].id > before)


def _recurs(kind: str, entry: Entry, began_at: datetime | None) -> bool:
    """Whether what a broadcast has to do next comes again for ever: a schedule begins again, those whom it found have their
    turn once."""
    if kind == "schedule":
        return began_at is None and schedule_of(entry).once is None
    return kind == "date" and load(Anniversary, entry.options["date"]).every is not None
