"""What computed attributes cost: an event that concerns six of them, alone and in batches of 500, while the store has more and
more customers; and filling them in for everybody. What is kept is checked against a group-by over the events.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import bare, project
from bench.stack import WrongResult
from engine.app.deploying import deploy
from engine.authoring.project import load_project
from engine.core.incoming import Incoming
from engine.delivery.deployments import Deployments
from engine.intake.backfill import Backfill
from engine.intake.door import Intake
from engine.store import clock as clock_store
from engine.store.database import Database, connect, fetch, run, transaction

BATCH = 500
"""Events of one transaction."""

TRACKING = project.TRACKING.replace(
    "attributes:",
    "  ordered: {properties: {total: number, category: string}}\n  viewed: {properties: {product: string}}\nattributes:",
)

COMPUTED = """
computed:
  spent: {sum: event.total, of: ordered}
  orders: {count: ordered}
  last_order_at: {latest: event.occurred_at, of: ordered}
  liked: {most_frequent: event.category, of: ordered}
  spent_lately: {sum: event.total, of: ordered, within: 60d}
  warmth: {score: [{of: ordered, add: 10}, {of: viewed, add: 1}], half_life: 30d}
"""

FILL = """
with people as (
    insert into customers (id, created_at, updated_at) select n, sojourn_now(), sojourn_now()
    from generate_series(cast(:first as bigint), cast(:last as bigint)) as n returning id
), named as (
    insert into identifiers (kind, value, customer_id) select 'user_id', 'u' || id, id from people returning customer_id
)
insert into events (source, message_id, customer_id, name, properties, occurred_at, accepted_at)
select 'old', id || '/' || k, id, case when k % 2 = 0 then 'ordered' else 'viewed' end,
    jsonb_build_object('total', (id * 7 + k * 13) % 10000 / 100.0, 'category', 'c' || (id + k) % 5, 'product', 'p' || k),
    sojourn_now() - make_interval(days => cast(k * 9 as integer)), sojourn_now()
from people, generate_series(1, 10) as k
"""
"""Ten old events for each customer."""


@dataclass(frozen=True, slots=True)
class ComputedSizes:
    """`customers` in the store when events are timed. `events` one by one and `batches`, at each of them, after some that aren't
    counted."""

    customers: tuple[int, int, int] = (10_000, 50_000, 200_000)
    events: int = 300
    batches: int = 12


FULL = ComputedSizes()
QUICK = ComputedSizes((500, 1_000, 2_000), 40, 3)

NAMES = ("10k", "50k", "200k")


@dataclass(slots=True)
class Shop:
    """The door and its store. `said`: how many events have come."""

    database: Database
    intake: Intake
    deployments: Deployments
    folder: Path
    dice: random.Random
    said: int = 0

    async def deploy(self, computed: str) -> None:
        """The project with these computed attributes."""
        (self.folder / "journeys/tracking.yaml").write_text(TRACKING + computed)
        await deploy(self.database, load_project(self.folder, {"email"}), "bench")

    async def fill(self, first: int, last: int) -> None:
        """Customers `first` to `last`, with their events."""
        async with transaction(self.database) as c:
            await run(c, FILL, first=first, last=last)
        tables = ("customers", "identifiers", "events", "computed")
        await bare.maintain(self.database, *(f"vacuum analyze {table}" for table in tables))

    async def fill_in(self) -> float:
        """Customers a second."""
        work, begin = Backfill(self.database, self.deployments), time.perf_counter()
        await work.begin_again()
        while not (done := await work.page()).done:
            pass
        return done.customers / (time.perf_counter() - begin)

    def orders(self, customers: int, count: int) -> list[Incoming]:
        """Orders of so many of the first `customers`."""
        made = []
        for _ in range(count):
            self.said += 1
            who = {"user_id": f"u{self.dice.randint(1, customers)}"}
            values = {"total": self.dice.randint(1, 10_000) / 100, "category": f"c{self.said % 5}"}
            made.append(Incoming("track", "bench", f"o{self.said}", "ordered", values, identifiers=who))
        return made

    async def one_by_one(self, customers: int, count: int) -> float:
        """The median of the milliseconds for one event."""
        return await bare.event_ms(self.intake, self.orders(customers, count + 10), 10)

    async def in_batches(self, customers: int, count: int) -> float:
        """Events a second."""
        took = 0.0
        for turn in range(count + 1):
            batch = self.orders(customers, BATCH)
            begin = time.perf_counter()
            await self.intake.accept(batch)
            took += time.perf_counter() - begin if turn else 0.0
        return count * BATCH / took

    async def check(self) -> None:
        """What is kept of everybody is what their events come to, to the cent. Raises WrongResult."""
        async with transaction(self.database) as c:
            wrong = await fetch(
                c,
                "select e.customer_id, e.total, e.n from (select customer_id, count(*) as n, "
                "sum(cast(properties->>'total' as numeric)) as total from events where name = 'ordered' group by 1) as e "
                "left join computed t on t.customer_id = e.customer_id and t.name = 'spent' "
                "left join computed o on o.customer_id = e.customer_id and o.name = 'orders' "
                "where abs(coalesce(cast(t.value as numeric), -1) - e.total) >= 0.005 "
                "or coalesce(cast(o.value as bigint), -1) <> e.n limit 5",
            )
        if wrong:
            raise WrongResult(f"what is kept isn't what the events come to: {[tuple(r) for r in wrong]}")


async def _measure(folder: Path, url: str, sizes: ComputedSizes) -> dict[str, Any]:
    project.write(folder, sink_url=None, max_size=BATCH)
    database = connect(url)
    figures: dict[str, Any] = {}
    try:
        async with transaction(database) as c:
            await clock_store.settle(c, 1.0)
        deployments = Deployments()
        shop = Shop(database, Intake(database, deployments), deployments, folder, random.Random(7))
        filled = 0
        for name, customers in zip(NAMES, sizes.customers, strict=True):
            await shop.deploy(COMPUTED)
            await shop.fill(filled + 1, customers)
            filled = customers
            figures["computed.filled_in_per_s"] = await shop.fill_in()
            figures[f"computed.event_ms_at_{name}"] = await shop.one_by_one(customers, sizes.events)
            figures[f"computed.events_per_s_at_{name}"] = await shop.in_batches(customers, sizes.batches)
            await shop.check()
        await shop.deploy("")
        figures["computed.event_ms_without"] = await shop.one_by_one(filled, sizes.events)
        figures["computed.events_per_s_without"] = await shop.in_batches(filled, sizes.batches)
    finally:
        await database.dispose()
    return figures


def measure(folder: Path, sizes: ComputedSizes) -> dict[str, float]:
    """Every figure about computed attributes, on a durable PostgreSQL in the fresh folder `folder`."""
    with bare.postgres(folder) as url:
        return asyncio.run(_measure(folder / "project", url, sizes))


def keys(names: Sequence[str] = NAMES) -> set[str]:
    """The keys of the figures."""
    each = {f"computed.{what}_at_{name}" for what in ("event_ms", "events_per_s") for name in names}
    return each | {"computed.filled_in_per_s", "computed.event_ms_without", "computed.events_per_s_without"}
