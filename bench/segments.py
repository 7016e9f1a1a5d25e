"""What segments cost: a sweep of everybody, the first time and again, and one event among ever more customers.

Customers and their events are made by PostgreSQL, as an import would have left them; the sweep and the events are the engine's.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from bench import bare, project
from bench.stack import WrongResult
from engine.app.deploying import deploy
from engine.authoring.project import load_project
from engine.core.incoming import Incoming
from engine.delivery.deployments import Deployments
from engine.intake.door import Intake
from engine.intake.sweeping import Sweep
from engine.store.database import Database, connect, fetch, run, transaction

EVENTS_EACH = 10
"""Events of each customer."""

SEGMENTS = """
segments:
  buyers: {did: order_completed, within: 730d}
  regulars: {did: order_completed, at_least: 5, within: 365d}
  recent: {did: order_completed, within: 30d}
  lapsing: {all: [{did: order_completed}, {did_not: order_completed, within: 60d}]}
  lookers: {all: [{did: product_viewed, within: 14d}, {did_not: order_completed, within: 14d}]}
  spenders: {if: customer.years_value >= 500}
  italian: {all: [{if: customer.country == "IT"}, {did: product_viewed, within: 365d}]}
  italian_spenders: {all: [{segment: italian}, {segment: spenders}]}
  skincare: {did: order_completed, where: event.category == "skincare", within: 180d}
  dormant: {if: customer.last_order_at < now - days(120)}
"""

TRACKING = (
    project.TRACKING.replace(
        "events:",
        "events:\n  order_completed: {properties: {order_id: string, category: string, total: number}}\n"
        "  product_viewed: {properties: {product_id: string}}",
    ).replace("country: string", "country: string, timezone: string")
    + """
computed:
  years_value: {sum: event.total, of: order_completed, within: 365d, default: 0}
  last_order_at: {latest: event.occurred_at, of: order_completed}
"""
)

PEOPLE = """
insert into customers (id, attributes, created_at, updated_at)
overriding system value
select n, jsonb_build_object('country', (array['IT', 'DE', 'FR', 'US'])[1 + n % 4],
    'timezone', (array['Europe/Rome', 'Europe/Berlin', 'America/New_York', 'Asia/Tokyo'])[1 + n % 4]), at, at
from (select n, sojourn_now() - interval '2 years' as at from generate_series(cast(:first as bigint), cast(:last as bigint)) n) s
"""

HISTORY = """
insert into events (source, message_id, customer_id, name, properties, occurred_at, accepted_at)
select 'old', customer || '/' || k, customer, case when k % 2 = 0 then 'order_completed' else 'product_viewed' end,
    case when k % 2 = 0 then jsonb_build_object('order_id', customer || '/' || k, 'total', 20 + (customer * 7 + k * 13) % 400,
        'category', (array['skincare', 'hair', 'food'])[1 + (customer + k) % 3])
    else jsonb_build_object('product_id', 'p' || (customer + k) % 1000) end, at, at
from (select customer, k, sojourn_now() - make_interval(days => cast((customer * 31 + k * 97) % 700 as integer)) as at
    from generate_series(cast(:first as bigint), cast(:last as bigint)) customer, generate_series(1, cast(:each as bigint)) k) s
order by at
"""


@dataclass(frozen=True, slots=True)
class SegmentSizes:
    """`customers`: at which sizes one event is timed, the last one also with the sweep. `events`: how many are timed."""

    customers: tuple[int, int, int] = (10_000, 50_000, 200_000)
    events: int = 200


FULL = SegmentSizes()
QUICK = SegmentSizes((500, 1_000, 2_000), 20)


@dataclass(slots=True)
class Segments:
    """The engine on a PostgreSQL of its own, as far as segments need it."""

    database: Database
    intake: Intake
    sweep: Sweep
    there: int = 0

    async def fill(self, last: int) -> None:
        """Customers up to number `last`, each with events."""
        async with transaction(self.database) as c:
            await run(c, PEOPLE, first=self.there + 1, last=last)
            await run(c, HISTORY, first=self.there + 1, last=last, each=EVENTS_EACH)
            await run(c, "select setval(pg_get_serial_sequence('customers', 'id'), :last)", last=last)
        await self.settle("vacuum analyze customers", "vacuum analyze events")
        self.there = last

    async def settle(self, *statements: str) -> None:
        """Carry these out, and have what was written go to disk before anything is timed."""
        await bare.maintain(self.database, *statements, "checkpoint")

    async def again(self) -> float:
        """Seconds that working everything out anew takes, as after a deploy of ten new segments."""
        async with transaction(self.database) as c:
            await run(c, "delete from memberships")
            await run(c, "update interpretations set after_id = 0, until_id = :last", last=self.there)
        begin = time.perf_counter()
        while await self._computing():
            await self.sweep.round()
        return time.perf_counter() - begin

    async def _computing(self) -> bool:
        async with transaction(self.database) as c:
            return bool(await fetch(c, "select 1 from interpretations where until_id is not null limit 1"))

    async def swept(self) -> float:
        """Seconds that a sweep of everybody takes."""
        begin = time.perf_counter()
        while await self.sweep.round():
            pass
        return time.perf_counter() - begin

    async def event_ms(self, events: int) -> float:
        """The median of so many events, each taken in by itself, in milliseconds; the first few aren't counted."""
        batch = []
        for n in range(events + 5):
            who = 1 + n * 7919 % self.there
            properties = {"order_id": f"new/{self.there}/{n}", "total": 25, "category": "food"}
            batch.append(Incoming("track", "bench", f"{self.there}/{n}", "order_completed", properties, customer=who))
        return await bare.event_ms(self.intake, batch, 5)

    async def check(self) -> None:
        """Who is in two of the segments is who is to be. Raises WrongResult."""
        async with transaction(self.database) as c:
            (row,) = await fetch(
                c,
                "select (select count(*) from memberships where segment = 'buyers') as buyers, "
                "(select count(distinct customer_id) from events where name = 'order_completed') as all_buyers, "
                "(select count(*) from memberships where segment = 'lapsing') as lapsing, "
                "(select count(*) from (select customer_id from events where name = 'order_completed' group by 1 "
                "having max(occurred_at) <= sojourn_now() - interval '62 days') s) as least, "
                "(select count(*) from (select customer_id from events where name = 'order_completed' group by 1 "
                "having max(occurred_at) <= sojourn_now() - interval '58 days') s) as most",
            )
        if row.buyers != row.all_buyers or not row.least <= row.lapsing <= row.most:
            raise WrongResult(f"who is in which segment isn't right: {row}")


async def _measure(folder: Path, url: str, sizes: SegmentSizes) -> dict[str, float]:
    project.write(folder, sink_url=None, max_size=500)
    (folder / "journeys/segments.yaml").write_text(SEGMENTS)
    (folder / "journeys/tracking.yaml").write_text(TRACKING)
    database = connect(url)
    figures: dict[str, float] = {}
    try:
        await deploy(database, load_project(folder, {"email"}), "bench")
        deployments = Deployments()
        intake = Intake(database, deployments)
        segments = Segments(database, intake, Sweep(deployments, intake))
        for name, customers in zip(("10k", "50k", "200k"), sizes.customers, strict=True):
            await segments.fill(customers)
            first = await segments.again()
            await segments.settle("vacuum analyze memberships")
            figures[f"segments.event_ms_at_{name}"] = await segments.event_ms(sizes.events)
        figures["segments.first_seconds"] = first
        figures["segments.sweep_seconds"] = await segments.swept()
        await segments.check()
    finally:
        await database.dispose()
    return figures


def measure(folder: Path, sizes: SegmentSizes) -> dict[str, float]:
    """Every figure about segments, on a durable PostgreSQL in the fresh folder `folder`."""
    with bare.postgres(folder) as url:
        return asyncio.run(_measure(folder / "project", url, sizes))
