"""Plays the YAML tests of journeys on the real engine: PostgreSQL, a time-skipping Temporal server, intake, relay, worker, gates.

Time never runs here, it jumps: when nothing is under way anywhere, both clocks move to the next event or the next wake, whichever
comes first. Each test is a customer of its own, so all tests of the same journeys are played at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from engine.app.deploying import deploy
from engine.app.wiring import Worker, open_worker
from engine.authoring.project import Compiled
from engine.authoring.shape_tests import Test
from engine.core.incoming import Incoming
from engine.core.logical import LogicalClock
from engine.core.plan import Plan, Split
from engine.core.policy import Policy
from engine.core.wire import share
from engine.settings.project import RelaySettings, Settings
from engine.store import clock as clock_store
from engine.store.database import connect, transaction
from tests.harness import Running, Sink
from tests.journeys.expectations import Line, moment

AHEAD = timedelta(milliseconds=200)
"""The database's clock goes this much before Temporal's, so that nothing that is due is ever decided a moment too early."""

ROUNDED = timedelta(seconds=1.5)
"""A cohort's timer is rounded up to the second: this long after a wake it has gone off."""

BEFORE = timedelta(days=1)
"""Customers are known, and their consents given, this long before the first event."""

PATIENCE_SECONDS = 60.0
CALM = (EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,)
TASKS = (
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
)
ACTIVITY_OVER = (
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
)


@dataclass(slots=True)
class Passage:
    """One YAML test being played: its customer, and its events that are still to come."""

    test: Test
    user: str
    zone: ZoneInfo
    customer: int = 0
    coming: list[tuple[datetime, Incoming]] = field(default_factory=list)
    until: datetime | None = None

    @classmethod
    def of(cls, number: int, test: Test, zone: str) -> Passage:
        """The test as written; `zone` for a customer who has none."""
        user = f"customer-{number}"
        local = ZoneInfo((test.customer.model_extra or {}).get("timezone", zone))
        coming = []
        for i, happened in enumerate(test.events):
            at = moment(happened.at, local)
            item = Incoming(
                "track", "journey-test", f"{user}/{i}", happened.event, dict(happened.model_extra or {}), identifiers={"user_id": user}
            )  # fmt: skip
            coming.append((at, replace(item, occurred_at=at)))
        return cls(test, user, local, coming=coming, until=moment(test.until, local) if test.until else None)

    def watched(self, at: datetime) -> bool:
        """Whether the test's clock still runs at `at`."""
        return self.until is None or at <= self.until


@dataclass(slots=True)
class Timeline:
    """A running engine whose time stands still until it is moved. `clock`: what Temporal's time means."""

    sojourn: Running
    environment: WorkflowEnvironment
    clock: LogicalClock
    sinks: Sequence[Sink]
    passages: Sequence[Passage]

    async def introduce(self, policy: Policy, plans: Sequence[Plan]) -> None:
        """Make the customers known through the door, under ids that fall into the arms that their tests name."""
        number = 1
        for p in self.passages:
            while not _falls_right(number, p.test, policy, plans):
                number += 1
            await self.sojourn.query("select setval(pg_get_serial_sequence('customers', 'id'), :n, false)", n=number)
            traits = dict(p.test.customer.model_extra or {})
            named = {"user_id": p.user}
            batch = [Incoming("identify", "journey-test", f"{p.user}/identify", traits=traits, identifiers=named)]
            for channel, topics in p.test.customer.consents.items():
                for topic, state in topics.items():
                    said = {"channel": channel, "topic": topic, "state": state}
                    key = f"{p.user}/consent/{channel}/{topic}"
                    batch.append(Incoming("track", "journey-test", key, "consent_changed", said, identifiers=named))
            answers = await self.sojourn.accept(batch)
            assert [number] * len(batch) == [a.customer for a in answers]
            assert [""] * len(batch) == [a.quarantined for a in answers]
            p.customer = number
            number += 1

    async def play(self) -> None:
        """Until nobody is inside any more, or every test's clock has ended."""
        while True:
            await self.settle()
            by_customer = {p.customer: p for p in self.passages}
            due = [at for p in self.passages for at, _ in p.coming]
            due += [w + ROUNDED for c, w in await self.wakes() if by_customer[c].watched(w)]
            if not due:
                return
            await self.move_to(min(due))
            now = await self.now()
            batch = sorted((at, p.user, i) for p in self.passages for i, (at, _) in enumerate(p.coming) if at <= now)
            items = {(p.user, i): item for p in self.passages for i, (_, item) in enumerate(p.coming)}
            for p in self.passages:
                p.coming = [c for c in p.coming if c[0] > now]
            answers = await self.sojourn.accept([items[user, i] for _, user, i in batch])
            assert [""] * len(batch) == [a.quarantined for a in answers]

    async def now(self) -> datetime:
        """Logical time, as Temporal has it."""
        return self.clock.logical(await self.environment.get_current_time())

    async def move_to(self, at: datetime) -> None:
        """Move both clocks to `at`, the database's first. Timers on the way go off."""
        span = at - await self.now()
        if span > timedelta():
            await self.sojourn.query(
                "update clock set real_epoch = clock_timestamp(), logical_epoch = :at returning one", at=at + AHEAD
            )
            await self.environment.sleep(span)

    async def settle(self) -> None:
        """Wait until nothing is under way: no input on its way to a cohort, no task, no activity, no wake that is due."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            if await self._calm():
                now = await self.now()
                if all(w + ROUNDED > now for _, w in await self.wakes()):
                    return
            await asyncio.sleep(0.02)
        raise AssertionError(f"no rest in {PATIENCE_SECONDS} s: {await self.sojourn.picture()}")

    async def _calm(self) -> bool:
        before = await self._inputs()
        if before[1]:
            return False
        cohorts = await self.sojourn.query("select distinct cohort_id as id from enrollments where status = 'live'")
        histories = await asyncio.gather(*(self._history(r.id) for r in cohorts if r.id is not None))
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

    async def wakes(self) -> list[tuple[int, datetime]]:
        """(customer, when) of every live enrollment: its wait's end, or when its deferred message is tried again."""
        found = await self.sojourn.query(
            "select e.customer_id, coalesce(m.until, e.wake_at) as wake from enrollments e left join lateral (select max(until) as "
            "until from messages where enrollment_id = e.id and status in ('deferred', 'reserved')) m on true "
            "where e.status = 'live'"
        )
        return [(r.customer_id, r.wake.astimezone(UTC)) for r in found if r.wake is not None]

    async def lines(self, passage: Passage) -> list[Line]:
        """What happened to one customer while the test's clock ran, in order of time."""
        texts = {m.key: " ".join(m.content.fields.values()) for sink in self.sinks for m in sink.seen}
        found: list[Line] = []
        for r in await self.sojourn.query(
            "select key, journey, channel, template, status, reason, sent_at, decided_at from messages where customer_id = :c",
            c=passage.customer,
        ):
            base = {"journey": r.journey, "template": r.template}
            if r.status == "sent":
                found.append({"at": r.sent_at, "send": r.channel, **base, "text": texts[r.key]})
            elif r.status == "dropped":
                found.append({"at": r.decided_at, "drop": r.channel, **base, "reason": r.reason})
        for r in await self.sojourn.query(
            "select d.at, d.reason, d.until, m.journey, m.channel, m.template from decisions d join messages m on m.key = d.key "
            "where d.decision = 'defer' and d.customer_id = :c",
            c=passage.customer,
        ):
            told = {"journey": r.journey, "template": r.template, "reason": r.reason, "until": r.until}
            found.append({"at": r.at, "defer": r.channel, **told})
        for r in await self.sojourn.query(
            "select t.created_at, t.queue, t.title, e.journey from tasks t join enrollments e on e.id = t.enrollment_id "
            "where t.customer_id = :c",
            c=passage.customer,
        ):
            found.append({"at": r.created_at, "task": r.queue, "journey": r.journey, "title": r.title})
        for r in await self.sojourn.query(
            "select ended_at, journey, reason, status, step from enrollments where customer_id = :c and status <> 'live'",
            c=passage.customer,
        ):
            if r.status == "ended":
                found.append({"at": r.ended_at, "exit": r.reason, "journey": r.journey})
            else:
                found.append({"at": await self.now(), "parked": r.reason, "journey": r.journey})
        return sorted((x for x in found if passage.watched(x["at"])), key=lambda x: x["at"])


@asynccontextmanager
async def timeline(
    compiled: Compiled,
    journeys: Sequence[str],
    tests: Sequence[Test],
    *,
    root: Path,
    database_url: str,
    environment: WorkflowEnvironment,
    prefix: str,
) -> AsyncIterator[Timeline]:
    """The engine with only `journeys` of the project deployed and the customers of `tests` known, a day before the first event."""
    passages = [Passage.of(n, t, compiled.policy.timezone) for n, t in enumerate(tests)]
    start = min(at for p in passages for at, _ in p.coming).astimezone(UTC) - BEFORE
    clock = LogicalClock(1.0, await environment.get_current_time(), start)
    await _set_clock(database_url, start + AHEAD)
    sinks = [Sink("email", "email"), Sink("sms", "phone"), Sink("push", "push_token")]
    host = environment.client.service_client.config.target_host
    values = Settings(relay=RelaySettings(partitions=2))
    channels = {s.name: s for s in sinks}
    async with open_worker(values, database_url, host, prefix=prefix, channels=channels, heartbeat_seconds=5.0) as worker:
        worker.relay.journeys = replace(worker.relay.journeys, clock=clock)
        plans = {name: compiled.plans[name] for name in journeys}
        await deploy(worker.core.database, replace(compiled, plans=plans), "test")
        running = Running(root, worker, sinks[0], sinks[1])
        played = Timeline(running, environment, clock, sinks, passages)
        await played.introduce(compiled.policy, list(plans.values()))
        async with _answering_calls(worker, running, passages):
            stop = asyncio.Event()
            task = asyncio.create_task(worker.run(stop))
            try:
                yield played
            finally:
                await _terminate(played)
                stop.set()
                await task


async def _set_clock(database_url: str, at: datetime) -> None:
    database = connect(database_url, pool=1)
    async with transaction(database) as c:
        await clock_store.begin(c, 1.0, at)
    await database.dispose()


@asynccontextmanager
async def _answering_calls(worker: Worker, running: Running, passages: Sequence[Passage]) -> AsyncIterator[None]:
    """Every `call` is answered by its own test's `calls`; one that the test doesn't name finds nothing there."""

    async def answer(request: httpx.Request) -> httpx.Response:
        enrollment = int(request.headers["Idempotency-Key"].split("/")[0])
        owner = (await running.query("select customer_id from enrollments where id = :e", e=enrollment))[0].customer_id
        calls = next(p.test.calls for p in passages if p.customer == owner)
        found = next((c for c in calls if c.url == str(request.url)), None)
        return httpx.Response(404) if found is None else httpx.Response(int(found.status), json=found.json_)

    acting = worker.workers.activities.acting
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        acting.http, acting.allow_private_calls = http, True
        yield


async def _terminate(played: Timeline) -> None:
    """Leave no cohort behind on the shared server: its timers would go off in the next test's time."""
    for r in await played.sojourn.query("select id from cohorts"):
        name = played.sojourn.worker.relay.journeys.cohort_id(r.id)
        with suppress(RPCError):  # it is over already
            await played.environment.client.get_workflow_handle(name).terminate()


def _at_rest(history: WorkflowHistory) -> bool:
    """Whether a workflow waits: its last task is done and every activity that it asked for has answered."""
    kinds = [e.event_type for e in history.events]
    asked = kinds.count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
    answered = sum(kinds.count(k) for k in ACTIVITY_OVER)
    return asked == answered and next((k for k in reversed(kinds) if k in TASKS), None) in CALM


def _falls_right(customer: int, test: Test, policy: Policy, plans: Sequence[Plan]) -> bool:
    """Whether this id is in a holdout as the test says, and in the arms that it names. Source: semantics.md, salted hashes."""
    shares: Mapping[str, float] = {f"journey/{p.journey}": p.holdout for p in plans}
    held = any(share(salt, str(customer)) < size for salt, size in shares.items())
    if policy.holdout is not None:
        held = held or share(f"holdout/{policy.holdout.name}", str(customer)) < policy.holdout.share
    return held == test.holdout and all(_arm(customer, p, op) == test.arms.get(op.name, _arm(customer, p, op)) for p, op in _splits(plans))


def _splits(plans: Sequence[Plan]) -> list[tuple[Plan, Split]]:
    return [(p, op) for p in plans for op in p.ops if isinstance(op, Split)]


def _arm(customer: int, plan: Plan, op: Split) -> str:
    """The arm of `op` that this customer falls into, "" for its holdout."""
    salt = f"split/{plan.journey}/{op.name}"
    if share(f"{salt}/holdout", str(customer)) < op.holdout:
        return ""
    left: Any = share(salt, str(customer)) * sum(a.weight for a in op.arms)
    for arm in op.arms:
        left -= arm.weight
        if left < 0:
            return arm.name
    return op.arms[-1].name
