"""A whole Sojourn for one test: a project written to a folder, deployed to a fresh database, with a real worker on the
session's Temporal.

Messages go to a `Sink`, a channel of this process that answers what a test tells it to.
"""

from __future__ import annotations

import asyncio
import itertools
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Row

from engine.app.deploying import deploy
from engine.app.testing.sink import Sink
from engine.app.wiring import Worker, open_worker
from engine.authoring.project import load_project
from engine.core.incoming import Accepted, Incoming
from engine.settings.project import CohortSettings, RelaySettings, Settings
from engine.store import parking
from engine.store.database import fetch, transaction
from engine.temporal.grouping import BOTH

POLICY = """
tiers:
  - {name: transactional, skip: [consent, caps, quiet_hours, holds]}
  - {name: service, skip: [consent, caps, holds], expires: 7d}
  - {name: lifecycle, expires: 3d}
  - {name: promotional, expires: 24h}
uncounted: [transactional]
timezone: UTC
topics: [news, offers]
consent:
  email: {default: granted}
  sms: {default: granted}
senders:
  email: {from: "Test Co <care@test.example>", postal_address: "1 Main St"}
"""

TRACKING = """
events:
  signed_up: {properties: {plan: string, order_id: string}}
  confirmed: {properties: {order_id: string}}
  cancelled: {properties: {order_id: string}}
  complaint_filed: {properties: {ticket_id: string}}
  complaint_resolved: {properties: {ticket_id: string}}
  pinged: {properties: {number: integer}}
attributes: {first_name: string, email: string, phone: string, country: string, timezone: string}
"""

HELLO = (
    "---\nsubject: Hello {{ customer.first_name }}\n---\n"
    "Hi {{ customer.first_name }} {{ unsubscribe_url }} {{ postal_address }}\n"
)

_numbers = itertools.count()


def write_project(folder: Path, files: Mapping[str, str]) -> Path:
    """A project folder with `files` (path → text) over working defaults for policy, tracking and a template."""
    defaults = {
        "journeys/policy.yaml": POLICY,
        "journeys/tracking.yaml": TRACKING,
        "templates/email/hello.txt": HELLO,
        "templates/email/again.txt": HELLO.replace("Hi", "Again"),
        "templates/sms/hello.txt": "Hi {{ customer.first_name }}",
    }
    for path, text in {**defaults, **files}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(textwrap.dedent(text).lstrip("\n"))
    return folder


@dataclass(slots=True)
class Running:
    """A running Sojourn. `email` and `sms` are sinks, and so are `others`, by name."""

    folder: Path
    worker: Worker
    email: Sink
    sms: Sink
    customers: dict[str, int] = field(default_factory=dict)
    others: dict[str, Sink] = field(default_factory=dict)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    work: asyncio.Task[None] | None = None

    def resume(self) -> None:
        """Let the worker work."""
        self.stop = asyncio.Event()
        self.work = asyncio.create_task(self.worker.run(self.stop))

    async def pause(self) -> None:
        """Stop the worker in order; events are taken in meanwhile."""
        self.stop.set()
        if self.work is not None:
            await self.work
        self.work = None

    async def deploy(self) -> None:
        """Compile and deploy the folder as it is now."""
        await deploy(self.worker.core.database, load_project(self.folder, {"email", "sms", *self.others}), "test")

    def known(self, user: str, **traits: Any) -> Incoming:
        """What makes a customer known, with an e-mail address unless told otherwise, for `accept`."""
        values = {"email": f"{user}@example.com", "first_name": user.title(), **traits}
        return Incoming("identify", "test", f"i{next(_numbers)}", traits=values, identifiers={"user_id": user})

    async def identify(self, user: str, **traits: Any) -> int:
        """Make a customer known; the customer's id."""
        answer = await self.accept([self.known(user, **traits)])
        self.customers[user] = answer[0].customer
        return answer[0].customer

    def event(self, user: str, event: str, at: datetime | None = None, **properties: Any) -> Incoming:
        """An event for `accept`."""
        identifiers = {"user_id": user}
        return Incoming("track", "test", f"e{next(_numbers)}", event, properties, identifiers=identifiers, occurred_at=at)

    async def track(self, user: str, event: str, at: datetime | None = None, **properties: Any) -> Accepted:
        """One event."""
        return (await self.accept([self.event(user, event, at, **properties)]))[0]

    async def accept(self, batch: list[Incoming]) -> list[Accepted]:
        """Through the door."""
        return await self.worker.core.intake.accept(batch)

    async def query(self, statement: str, **values: Any) -> Sequence[Row[Any]]:
        """Rows straight from the store."""
        async with transaction(self.worker.core.database) as c:
            return await fetch(c, statement, **values)

    async def until(self, ready: Callable[[], Any], seconds: float = 60.0) -> None:
        """Wait until `ready` (sync or async) is true; fail with a picture of the store when it isn't in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer = ready()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(0.05)
        rows = await self.query("select id, journey, status, reason, step, wake_at from enrollments order by id limit 20")
        messages = await self.query("select key, status, reason, detail, words from messages order by id limit 20")
        pending = await self.query("select count(*) from inputs where relayed_at is null")
        raise AssertionError(f"not in {seconds} s: {rows} {messages} pending inputs: {pending}")

    async def settled(self, seconds: float = 60.0) -> None:
        """Wait until every enrollment has ended."""

        async def over() -> bool:
            return not (await self.query("select 1 from enrollments where status <> 'ended' limit 1"))

        await self.until(over, seconds)

    async def messages(self) -> Sequence[Row[Any]]:
        """The ledger, oldest first."""
        return await self.query(
            "select key, enrollment_id, customer_id, step, channel, status, reason, detail, slot_at, until, planned_at, sent_at, "
            "tries from messages order by id"
        )

    async def decisions(self) -> Sequence[Row[Any]]:
        """Every decision of the gates, oldest first."""
        return await self.query("select key, at, decision, reason, rule, detail, until from decisions order by id")

    async def ends(self) -> list[tuple[str, str, str]]:
        """(journey, status, reason) of every enrollment, oldest first."""
        rows = await self.query("select journey, status, reason from enrollments order by id")
        return [(r.journey, r.status, r.reason) for r in rows]

    async def waiting_in(self, step: str, count: int = 1) -> None:
        """Wait until `count` enrollments are recorded as waiting in `step`."""

        async def there() -> bool:
            found = await self.query("select 1 from enrollments where step = :step and wake_at is not null", step=step)
            return len(found) >= count

        await self.until(there)

    async def message_is(self, status: str, count: int = 1) -> None:
        """Wait until `count` messages of the ledger have `status`."""

        async def there() -> bool:
            return (await self.statuses()).get(status, 0) >= count

        await self.until(there)

    async def relayed(self) -> None:
        """Wait until Temporal has every input."""

        async def none_pending() -> bool:
            return not await self.query("select 1 from inputs where relayed_at is null limit 1")

        await self.until(none_pending)

    async def unpark(self) -> list[int]:
        """What `sojourn retry` does to everybody who is parked."""
        ids = [r.id for r in await self.query("select id from enrollments where status = 'parked'")]
        async with transaction(self.worker.core.database) as c:
            return await parking.unpark(c, ids)

    async def statuses(self) -> dict[str, int]:
        """Messages by status."""
        return {r.status: r.n for r in await self.query("select status, count(*) as n from messages group by 1")}


@asynccontextmanager
async def running(
    folder: Path,
    database_url: str,
    temporal_address: str,
    prefix: str,
    *,
    sandboxed: bool = False,
    served: Sequence[str] = ("email", "sms"),
    lanes: Sequence[str] = BOTH,
    keeps_chores: bool = False,
    others: Mapping[str, str] | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Sojourn in this process on `folder`, deployed and working. `served`: the channels that this worker has. `others`: further
    ones, with the attribute that each sends to. Who keeps chores deletes their Schedules at the end: they would go on."""
    email, sms = Sink("email", "email"), Sink("sms", "phone")
    more = {name: Sink(name, address) for name, address in (others or {}).items()}
    values = Settings(
        cohort=CohortSettings(max_size=settings.pop("max_size", 500)),
        relay=RelaySettings(partitions=settings.pop("partitions", 2)),
        **settings,
    )
    async with open_worker(
        values,
        database_url,
        temporal_address,
        prefix=prefix,
        channels={sink.name: sink for sink in (email, sms, *more.values()) if sink.name in (*served, *more)},
        sandboxed=sandboxed,
        lanes=lanes,
        keeps_chores=keeps_chores,
        heartbeat_seconds=10.0,
    ) as worker:
        run = Running(folder, worker, email, sms, others=more)
        await run.deploy()
        run.resume()
        try:
            yield run
        finally:
            await run.pause()


def utc(text: str) -> datetime:
    """An aware UTC moment from "2026-03-02 10:00"."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
