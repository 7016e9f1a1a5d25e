"""The real engine, whose time is moved from here: PostgreSQL, a time-skipping Temporal server, intake, relay, worker, gates.

Days never pass here, time jumps: when nothing is under way anywhere, both clocks move to the next event or the next wake,
whichever comes first. Each test is a customer of its own, so tests of the same journeys are played at once.

    Restless              the engine didn't come to rest: a bug, of a journey or of ours
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy.engine import Row
from temporalio.client import WorkflowHistory
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from engine.app.deploying import deploy
from engine.app.offline import stand_ins
from engine.app.testing.expectations import Line
from engine.app.testing.happened import lines_of
from engine.app.testing.passages import BEFORE, NotTaken, Passage, begins
from engine.app.testing.passing import Chores
from engine.app.testing.resting import at_rest, completed
from engine.app.testing.sink import Sink
from engine.app.wiring import Worker, open_worker
from engine.authoring.project import Compiled
from engine.authoring.shape_tests import Test
from engine.core.incoming import Accepted, Incoming
from engine.core.logical import LogicalClock
from engine.settings.project import RelaySettings, Settings
from engine.store import clock as clock_store
from engine.store.database import connect, fetch, transaction

AHEAD = timedelta(milliseconds=200)
"""The database's clock goes this much before Temporal's, so that nothing that is due is ever decided a moment too early."""

ROUNDED = timedelta(seconds=1.5)
"""A cohort's timer is rounded up to the second: this long after a wake it has gone off."""

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""When the journeys were deployed: before any of their schedules was over."""

PATIENCE_SECONDS = 60.0
"""How long the engine may be busy at one moment, in real time, before that is a failure."""


LATE = timedelta(seconds=30)
"""So much later than on the simulator something may be at the end of a test's clock, and is still part of it: by the two above,
for each message on the way to it, and by the real time that things take."""


class Restless(Exception):
    """Something goes on and on at one moment. The words say what."""


@dataclass(frozen=True, slots=True)
class Wake:
    """When a live enrollment goes on by itself, and whose it is."""

    enrollment: int
    customer: int
    at: datetime


@dataclass(slots=True)
class Timeline:
    """A running engine whose time is moved from here. `clock`: what the time of the Temporal server means. `sinks`: its channels.
    `chores`: what time alone brings about. `calls`: those that were made, in a form as `happened` tells it, with their
    `customer`."""

    worker: Worker
    environment: WorkflowEnvironment
    clock: LogicalClock
    sinks: Mapping[str, Sink]
    passages: Sequence[Passage]
    chores: Chores
    calls: list[Line] = field(default_factory=list)
    _lasting: tuple[frozenset[int], datetime] | None = None
    _completed: set[int] = field(default_factory=set)

    async def query(self, statement: str, **values: Any) -> Sequence[Row[Any]]:
        """Rows straight from the store."""
        async with transaction(self.worker.core.database) as c:
            return await fetch(c, statement, **values)

    async def accept(self, batch: Sequence[Incoming]) -> list[Accepted]:
        """Through the door. Raises NotTaken."""
        answers = await self.worker.core.intake.accept(list(batch)) if batch else []
        for item, answer in zip(batch, answers, strict=True):
            if answer.quarantined:
                raise NotTaken(f"{item.name or item.kind} isn't taken: {answer.quarantined}")
        return answers

    async def play(self, until: datetime | None = None) -> None:
        """Until nothing is to come but what comes again for ever, or every test's clock has ended; with `until`, no further than
        that."""
        await self.chores.do(await self.now())
        await self._settle()
        while upcoming := await self._upcoming():
            if until is not None and min(upcoming) > until:
                await self._move_to(until)
                return
            await self._move_to(min(upcoming))
            await self._send_in(await self.now())
            await self.chores.do(await self.now())
            await self._settle()

    async def lines(self, passage: Passage) -> list[Line]:
        """What happened to the customer of `passage`."""
        async with transaction(self.worker.core.database) as c:
            found = await lines_of(c, passage.customer, self.sinks.values(), await self.now())
        calls = [{k: v for k, v in x.items() if k != "customer"} for x in self.calls if x["customer"] == passage.customer]
        return sorted((x for x in [*found, *calls] if passage.watched(x["at"] - LATE)), key=lambda x: x["at"])

    async def _upcoming(self) -> list[datetime]:
        """When something will happen: events that are still to come, and within their tests' clocks wakes and what time alone
        brings about; what comes again for ever only where something else is to come, or every clock ends."""
        passages = {p.customer: p for p in self.passages}
        standing = [w for w in await self._wakes() if w.customer in passages and passages[w.customer].watched(w.at - LATE)]
        ends = all(p.until is not None for p in self.passages)
        coming = [at for p in self.passages for at, _ in p.coming]
        if not ends and not coming and not await self._lasts(standing):
            await self.chores.bring_in_no_more()
        moments = await self.chores.moments(await self.now())
        found = coming + [w.at + ROUNDED for w in standing] + self._watched(moments.once)
        return found + self._watched(moments.again) if found or ends else found

    async def _lasts(self, standing: Sequence[Wake]) -> bool:
        """Whether something is still to come of what was when the last event had come in, as on the simulator: what comes again
        brings people in so long and no longer."""
        now = await self.now()
        if self._lasting is None:
            by_calendar = self._watched((await self.chores.moments(now)).by_calendar)
            self._lasting = frozenset(w.enrollment for w in standing), max(by_calendar, default=now)
        waiting, last = self._lasting
        return now < last or any(w.enrollment in waiting for w in standing)

    def _watched(self, moments: Iterable[datetime]) -> list[datetime]:
        """Those at which any test's clock still runs."""
        return [at for at in moments if any(p.watched(at) for p in self.passages)]

    async def _send_in(self, now: datetime) -> None:
        """Every event whose time has come, through the door, in order."""
        due = sorted(((at, p.user, item) for p in self.passages for at, item in p.coming if at <= now), key=lambda d: d[:2])
        for p in self.passages:
            p.coming = [c for c in p.coming if c[0] > now]
        await self.accept([item for _, _, item in due])

    async def now(self) -> datetime:
        """Where the timeline stands."""
        return self.clock.logical(await self.environment.get_current_time())

    async def _move_to(self, at: datetime) -> None:
        """Move both clocks to `at`, the database's first. Temporal's timers on the way go off."""
        span = at - await self.now()
        if span > timedelta():
            await self.query("update clock set real_epoch = clock_timestamp(), logical_epoch = :at returning one", at=at + AHEAD)
            await self.environment.sleep(span)

    async def _settle(self) -> None:
        """Wait until nothing is under way: no input on its way to a cohort, no task, no activity, no wake that is due."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            if await self._calm():
                now = await self.now()
                if all(w.at + ROUNDED > now for w in await self._wakes()):
                    return
            await asyncio.sleep(0.02)
        standing = await self.query("select id, journey, status, reason, step, wake_at from enrollments order by id")
        raise Restless(f"no rest within {PATIENCE_SECONDS:.0f} s at {await self.now()}: {standing}")

    async def _calm(self) -> bool:
        """Whether every cohort has all its inputs and waits, also one whose members have all ended: to terminate a workflow in
        the middle of a task would stop the test server's time for good. Only activities make new inputs, so none can have come
        meanwhile where the newest is still the same."""
        before = await self._inputs()
        if before[1]:
            return False
        cohorts = [r.id for r in await self.query("select id from cohorts") if r.id not in self._completed]
        histories = await asyncio.gather(*(self._history(cohort) for cohort in cohorts))
        self._completed.update(cohort for cohort, h in zip(cohorts, histories, strict=True) if completed(h))
        return all(at_rest(h) for h in histories) and before == await self._inputs()

    async def _inputs(self) -> tuple[int, int]:
        """(the newest input, how many Temporal doesn't have yet)."""
        found = await self.query(
            "select coalesce(max(id), 0) as newest, count(*) filter (where relayed_at is null) as pending from inputs"
        )
        return found[0].newest, found[0].pending

    async def _history(self, cohort: int) -> WorkflowHistory:
        name = self.worker.relay.journeys.cohort_id(cohort)
        return await self.environment.client.get_workflow_handle(name).fetch_history()

    async def _wakes(self) -> list[Wake]:
        """Of the live enrollments: the end of a wait, or when a deferred message is decided again."""
        found = await self.query(
            "select e.id, e.customer_id, coalesce(m.until, e.wake_at) as wake from enrollments e left join lateral ("
            "select max(until) as until from messages where enrollment_id = e.id and status in ('deferred', 'reserved')"
            ") m on true where e.status = 'live'"
        )
        return [Wake(r.id, r.customer_id, r.wake.astimezone(UTC)) for r in found if r.wake is not None]


OnTimeline = Callable[[Compiled, Sequence[str], Sequence[Test]], AbstractAsyncContextManager[Timeline]]
"""`timeline` on a database and a server that are there already."""


@asynccontextmanager
async def timeline(
    compiled: Compiled,
    journeys: Sequence[str],
    tests: Sequence[Test],
    *,
    database_url: str,
    environment: WorkflowEnvironment,
    prefix: str,
    channels: Mapping[str, str],
) -> AsyncIterator[Timeline]:
    """The engine with `journeys` and no others deployed, and the customers of `tests` known, a day before the first event.
    `channels`: name → the attribute that it sends to. Raises NobodyFits and NotTaken."""
    plans = {name: compiled.plans[name] for name in journeys}
    passages = [Passage.of(n, t, compiled.policy, plans) for n, t in enumerate(tests)]
    start = min(begins(t, compiled.policy) for t in tests).astimezone(UTC) - BEFORE
    await _begin(database_url, LONG_AGO)
    sinks = {name: Sink(name, address) for name, address in channels.items()}
    settings = Settings(relay=RelaySettings(partitions=2))
    host = environment.client.service_client.config.target_host
    async with open_worker(settings, database_url, host, prefix=prefix, channels=sinks) as worker:
        worker.carrier = None  # what has something to do at a moment is done at that moment, by `chores`
        await deploy(worker.core.database, replace(compiled, plans=plans), "test")
        async with transaction(worker.core.database) as c:
            chores = Chores(worker.core, await worker.core.deployments.current(c))
        await chores.begin()
        clock = LogicalClock(1.0, await environment.get_current_time(), start)
        await _begin(database_url, start + AHEAD)
        worker.relay.journeys = replace(worker.relay.journeys, clock=clock)
        played = Timeline(worker, environment, clock, sinks, passages, chores)
        taken = 0
        for passage in passages:
            taken = passage.falls(compiled.policy, list(plans.values()), taken)
            await played.query("select setval(pg_get_serial_sequence('customers', 'id'), :id, false)", id=taken)
            await played.accept(passage.introduction())
        async with _answering_calls(worker, played):
            stop = asyncio.Event()
            task = asyncio.create_task(worker.run(stop))
            try:
                with stand_ins(plans.values()):
                    yield played
            finally:
                await _terminate(played)
                stop.set()
                await task


async def _begin(database_url: str, at: datetime) -> None:
    """Let it be `at` in the database."""
    database = connect(database_url, pool=1)
    async with transaction(database) as c:
        await clock_store.begin(c, 1.0, at)
    await database.dispose()


@asynccontextmanager
async def _answering_calls(worker: Worker, played: Timeline) -> AsyncIterator[None]:
    """Every `call` is answered by its own customer's test, and leaves nobody's house."""

    async def answer(request: httpx.Request) -> httpx.Response:
        enrollment = int(request.headers["Idempotency-Key"].split("/")[0])
        found = await played.query("select customer_id, journey from enrollments where id = :id", id=enrollment)
        passage = next(p for p in played.passages if p.customer == found[0].customer_id)
        status, body = passage.answer(str(request.url))
        told = {"call": f"{request.method} {request.url}", "journey": found[0].journey, "status": str(status)}
        played.calls.append({"at": await played.now(), **told, "customer": passage.customer})
        return httpx.Response(status, json=body)

    acting = worker.workers.activities.acting
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        acting.http = http
        yield


async def _terminate(played: Timeline) -> None:
    """Leave no cohort behind on the shared server: its timers would go off in a later test's time."""
    for r in await played.query("select id from cohorts"):
        name = played.worker.relay.journeys.cohort_id(r.id)
        with suppress(RPCError):  # it is over already
            await played.environment.client.get_workflow_handle(name).terminate()
