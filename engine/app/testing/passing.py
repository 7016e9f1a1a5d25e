"""What time alone brings about on the real engine whose time is moved: by the very code of its chores, at the moments at which
they have something to do.

A broadcast is carried here page by page, as its workflow does, so that all of a moment's is done before time moves on. How fast
it goes (`rate`) isn't played, as on the simulator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from engine.app.testing.passages import Passage
from engine.app.wiring import Core
from engine.authoring.model_segments import Did, walk
from engine.authoring.project import Compiled
from engine.core.clock import add
from engine.core.occasions import Anniversary, Schedule, coming_up
from engine.core.plan import Entry, Plan
from engine.core.wire import load
from engine.intake.fan_out import FanOut
from engine.intake.interpreting import ENTERED, LEFT, STAGE_CHANGED
from engine.intake.planning import schedule_of
from engine.intake.sweeping import Sweep
from engine.store import broadcasts
from engine.store.database import fetch, run, transaction

MOVES = (ENTERED, LEFT, STAGE_CHANGED)
"""Events that say that somebody moved."""

AT_ONCE = 50
"""Broadcasts that are asked for at a time."""


@dataclass(frozen=True, slots=True)
class Moments:
    """When something will happen. `once`: and then has happened · `again`: and will happen again and again, for ever."""

    once: Sequence[datetime] = ()
    again: Sequence[datetime] = ()


@dataclass(slots=True)
class Chores:
    """`schedules`: those by which somebody may enter. `lapses`: when time alone moves somebody into another segment or stage: at
    the engine's own hours that would be noticed within the hour."""

    core: Core
    schedules: Sequence[Schedule] = ()
    lapses: list[datetime] = field(default_factory=list)

    @property
    def fan_out(self) -> FanOut:
        """What plans broadcasts and carries them."""
        core = self.core
        return FanOut(core.database, core.deployments, core.intake, core.clock)

    async def do(self, now: datetime) -> None:
        """Everything that has something to do by `now`."""
        if any(at <= now for at in self.lapses):
            self.lapses = [at for at in self.lapses if at > now]
            await self.sweep()
        if self.schedules:
            await self.fan_out.plan_ahead()
        await self.carry()

    async def sweep(self) -> None:
        """Look at everybody."""
        work = Sweep(self.core.deployments, self.core.intake)
        while await work.round():
            pass

    async def carry(self) -> None:
        """Bring broadcasts as far as they go by now."""
        while turns := await self._take():
            for broadcast, turn in turns:
                over = False
                while not over:
                    over, pause = await self.fan_out.round(broadcast, turn)
                    if pause > 0:
                        await self._forget_pace(broadcast)

    async def moments(self, now: datetime) -> Moments:
        """What is to come after `now`, or is due already."""
        once, again = list(self.lapses), list[datetime]()
        async with transaction(self.core.database) as c:
            statement = "select kind, entry, began_at, next_at from broadcasts where state = 'open' and next_at is not null"
            for r in await fetch(c, statement):
                (again if _recurs(r.kind, load(Entry, r.entry), r.began_at) else once).append(r.next_at.astimezone(UTC))
        for schedule in self.schedules:
            first = next((at for _, at in coming_up(schedule, now) if at > now), None)
            if first is not None:
                (once if schedule.once is not None else again).append(first)
        return Moments(once, again)

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


def _recurs(kind: str, entry: Entry, began_at: datetime | None) -> bool:
    """Whether what a broadcast has to do next comes again for ever: a schedule begins again, those whom it found have their
    turn once."""
    if kind == "schedule":
        return began_at is None and schedule_of(entry).once is None
    return kind == "date" and load(Anniversary, entry.options["date"]).every is not None


def schedules_of(plans: Sequence[Plan]) -> list[Schedule]:
    """Those by which somebody may enter one of these journeys."""
    return [schedule_of(e) for plan in plans for e in plan.entries if e.kind == "schedule" and plan.status == "live"]


def lapses(compiled: Compiled, passages: Sequence[Passage]) -> list[datetime]:
    """When what somebody did has been long ago for a segment or stage, where a journey of their test begins with that."""
    segments, stages = compiled.segments.segments, compiled.segments.stages
    written = [*(s.condition for s in segments), *(s.condition for s in stages if s.condition is not None)]
    spans = {part.within for condition in written for part in walk(condition) if isinstance(part, Did) and part.within}
    moved = {name for name, plan in compiled.plans.items() if any(e.event in MOVES for e in plan.entries)}
    concerned = [p for p in passages if moved & {*p.test.journeys, p.test.journey}]
    return [m for p in concerned for at, _ in p.coming for by in spans if p.watched(m := add(at, by, p.zone))]
