"""Plays the YAML tests of journeys on the real engine: PostgreSQL, a time-skipping Temporal server, intake, relay, worker, gates.

Days never pass here, time jumps: when nothing is under way anywhere, both clocks move to the next event or the next wake,
whichever comes first. Each test is a customer of its own, so tests of the same journeys are played at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from engine.app.deploying import deploy
from engine.app.wiring import Worker, open_worker
from engine.authoring.project import Compiled
from engine.authoring.shape_tests import Test
from engine.core.logical import LogicalClock
from engine.settings.project import RelaySettings, Settings
from engine.store import clock as clock_store
from engine.store.database import connect, transaction
from tests.harness import Running, Sink
from tests.journeys.expectations import Line
from tests.journeys.passages import Passage

AHEAD = timedelta(milliseconds=200)
"""The database's clock goes this much before Temporal's, so that nothing that is due is ever decided a moment too early."""

ROUNDED = timedelta(seconds=1.5)
"""A cohort's timer is rounded up to the second: this long after a wake it has gone off."""

BEFORE = timedelta(days=1)
"""Customers are known, and their consents given, this long before the first event."""

PATIENCE_SECONDS = 60.0
"""How long the engine may be busy at one moment, in real time, before that is a failure."""


@dataclass(slots=True)
class Timeline:
    """A running engine whose time is moved from here. `clock`: what the time of the Temporal server means."""

    sojourn: Running
    environment: WorkflowEnvironment
    clock: LogicalClock
    sinks: Sequence[Sink]
    passages: Sequence[Passage]

    async def play(self, until: datetime | None = None) -> None:
        """Until nobody waits for anything any more, or every test's clock has ended; with `until`, no further than that."""
        await self._settle()
        while upcoming := await self._upcoming():
            if until is not None and min(upcoming) > until:
                await self._move_to(until)
                return
            await self._move_to(min(upcoming))
            await self._send_in(await self._now())
            await self._settle()

    async def lines(self, passage: Passage) -> list[Line]:
        """What happened to the customer of `passage`."""
        return await passage.lines(self.sojourn, self.sinks, await self._now())

    async def _upcoming(self) -> list[datetime]:
        """When something will happen: events that are still to come, and wakes within their tests' clocks."""
        passages = {p.customer: p for p in self.passages}
        wakes = [wake + ROUNDED for customer, wake in await self._wakes() if passages[customer].watched(wake)]
        return [at for p in self.passages for at, _ in p.coming] + wakes

    async def _send_in(self, now: datetime) -> None:
        """Every event whose time has come, through the door, in order."""
        due = sorted(((at, p.user, item) for p in self.passages for at, item in p.coming if at <= now), key=lambda d: d[:2])
        for p in self.passages:
            p.coming = [c for c in p.coming if c[0] > now]
        answers = await self.sojourn.accept([item for _, _, item in due])
        assert [""] * len(due) == [a.quarantined for a in answers]

    async def _now(self) -> datetime:
        return self.clock.logical(await self.environment.get_current_time())

    async def _move_to(self, at: datetime) -> None:
        """Move both clocks to `at`, the database's first. Temporal's timers on the way go off."""
        span = at - await self._now()
        if span > timedelta():
            await self.sojourn.query(
                "update clock set real_epoch = clock_timestamp(), logical_epoch = :at returning one", at=at + AHEAD
            )
            await self.environment.sleep(span)

    async def _settle(self) -> None:
        """Wait until nothing is under way: no input on its way to a cohort, no task, no activity, no wake that is due."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            if await self._calm():
                now = await self._now()
                if all(wake + ROUNDED > now for _, wake in await self._wakes()):
                    return
            await asyncio.sleep(0.02)
        standing = await self.sojourn.query("select id, journey, status, reason, step, wake_at from enrollments order by id")
        raise AssertionError(f"no rest within {PATIENCE_SECONDS} s at {await self._now()}: {standing}")

    async def _calm(self) -> bool:
        """Whether every cohort has all its inputs and waits, also one whose members have all ended: to terminate a workflow in
        the middle of a task would stop the test server's time for good. Only activities make new inputs, so none can have come
        meanwhile where the newest is still the same."""
        before = await self._inputs()
        if before[1]:
            return False
        cohorts = await self.sojourn.query("select id from cohorts")
        histories = await asyncio.gather(*(self._history(r.id) for r in cohorts))
        return all(_at_rest(h) for h in histories) and before == await self._inputs()

    async def _inputs(self) -> tuple[int, int]:
        """(the newest input, how many Temporal doesn't have yet)."""
        found = await self.sojourn.query(
            "select coalesce(max(id), 0) as newest, count(*) filter (where relayed_at is null) as pending from inputs"
        )
        return found[0].newest, found[0].pending

    async def _history(self, cohort: int) -> WorkflowHistory:
        name = self.sojourn.worker.relay.journeys.cohort_id(cohort)
        return await self.environment.client.get_workflow_handle(name).fetch_history()

    async def _wakes(self) -> list[tuple[int, datetime]]:
        """(customer, when) of the live enrollments: the end of a wait, or when a deferred message is decided again."""
        found = await self.sojourn.query(
            "select e.customer_id, coalesce(m.until, e.wake_at) as wake from enrollments e left join lateral ("
            "select max(until) as until from messages where enrollment_id = e.id and status in ('deferred', 'reserved')"
            ") m on true where e.status = 'live'"
        )
        return [(r.customer_id, r.wake.astimezone(UTC)) for r in found if r.wake is not None]


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
) -> AsyncIterator[Timeline]:
    """The engine with `journeys` and no others deployed, and the customers of `tests` known, a day before the first event."""
    passages = [Passage.of(n, t, compiled.policy) for n, t in enumerate(tests)]
    start = min(at for p in passages for at, _ in p.coming).astimezone(UTC) - BEFORE
    clock = LogicalClock(1.0, await environment.get_current_time(), start)
    await _begin(database_url, start + AHEAD)
    sinks = [Sink("email", "email"), Sink("sms", "phone"), Sink("push", "push_token")]
    channels = {s.name: s for s in sinks}
    settings = Settings(relay=RelaySettings(partitions=2))
    host = environment.client.service_client.config.target_host
    async with open_worker(settings, database_url, host, prefix=prefix, channels=channels) as worker:
        worker.relay.journeys = replace(worker.relay.journeys, clock=clock)
        plans = {name: compiled.plans[name] for name in journeys}
        await deploy(worker.core.database, replace(compiled, plans=plans), "test")
        played = Timeline(Running(Path(), worker, sinks[0], sinks[1]), environment, clock, sinks, passages)
        taken = 0
        for passage in passages:
            taken = await passage.introduce(played.sojourn, compiled.policy, list(plans.values()), taken)
        async with _answering_calls(worker, played):
            stop = asyncio.Event()
            task = asyncio.create_task(worker.run(stop))
            try:
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
    """Every `call` is answered by the `calls` of its own customer's test; a URL that the test doesn't name isn't found."""

    async def answer(request: httpx.Request) -> httpx.Response:
        enrollment = int(request.headers["Idempotency-Key"].split("/")[0])
        owner = (await played.sojourn.query("select customer_id from enrollments where id = :id", id=enrollment))[0].customer_id
        calls = next(p.test.calls for p in played.passages if p.customer == owner)
        found = next((c for c in calls if c.url == str(request.url)), None)
        return httpx.Response(404) if found is None else httpx.Response(int(found.status), json=found.json_)

    acting = worker.workers.activities.acting
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        acting.http = http
        yield


async def _terminate(played: Timeline) -> None:
    """Leave no cohort behind on the shared server: its timers would go off in a later test's time."""
    for r in await played.sojourn.query("select id from cohorts"):
        name = played.sojourn.worker.relay.journeys.cohort_id(r.id)
        with suppress(RPCError):  # it is over already
            await played.environment.client.get_workflow_handle(name).terminate()


_TASK = (
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
)
_ANSWERED = (
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
)


def _at_rest(history: WorkflowHistory) -> bool:
    """Whether a workflow waits: its last task is done, and every activity that it asked for has answered."""
    kinds = [e.event_type for e in history.events]
    asked = kinds.count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
    last = next((k for k in reversed(kinds) if k in _TASK), None)
    return asked == sum(kinds.count(k) for k in _ANSWERED) and last == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
