"""A client of the API as a process of its own: `python -m bench.client KIND NUMBER name=value…`, figures as JSON on its output.

`batches` sends batches of 100 events over several connections, `singly` one `track` call after the other at a rate; `bare`
writes the rows of such batches into the same PostgreSQL with nothing but an INSERT, to compare with. Each says when it is ready
and waits for the word to begin.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

from bench.stack import WRITE_KEY
from engine.store.database import connect, fetch, rows, run, transaction

BATCH = 100
"""Events of one request."""

CONNECTIONS = 4
"""Requests that one client has under way."""

PATIENCE = 60.0


def properties(n: int) -> dict[str, Any]:
    """What event `n` says: as much as a page view does."""
    return {
        "path": f"/products/{n % 500}",
        "title": f"Product {n % 500}",
        "referrer": "https://search.example/",
        "price": n % 90,
        "list": "new",
    }


def bodies(number: int, total: int, customers: int) -> Iterator[bytes]:
    """The requests of client `number`: batches of events that no journey names, of customers who are known."""
    for first in range(0, total, BATCH):
        batch = [
            {
                "type": "track",
                "messageId": f"{number}-{n}",
                "userId": f"u{(n * 7919 + number) % customers}",
                "event": "product_viewed",
                "timestamp": "2026-03-02T10:00:00Z",
                "properties": properties(n),
                "context": {"library": {"name": "bench", "version": "1"}},
            }
            for n in range(first, min(first + BATCH, total))
        ]
        yield json.dumps({"batch": batch}).encode()


def ready() -> None:
    """Say so, and wait for the word to begin."""
    print("ready", flush=True)
    sys.stdin.readline()


async def batches(number: int, port: int, total: int, customers: int) -> dict[str, float]:
    """`total` events; when the first request left and the last answer came, by the clock of the machine."""
    waiting = iter(list(bodies(number, total, customers)))
    ready()
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", auth=(WRITE_KEY, ""), timeout=PATIENCE) as http:

        async def one() -> None:
            for body in waiting:
                answer = await http.post("/v1/batch", content=body)
                assert answer.json() == {"success": True}, answer.text

        await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return {"began": began, "ended": time.monotonic()}


async def singly(number: int, port: int, rate: int, seconds: int, customers: int) -> dict[str, Any]:
    """`rate` calls a second, each sent when its time has come, whether or not those before it are answered; milliseconds of
    each."""
    took: list[float] = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", auth=(WRITE_KEY, ""), timeout=PATIENCE) as http:

        async def one(n: int) -> None:
            call = {
                "messageId": f"s{number}-{n}",
                "userId": f"u{n % customers}",
                "event": "product_viewed",
                "properties": properties(n),
            }
            due = began + n / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            answer = await http.post("/v1/track", json=call)
            took.append((time.monotonic() - due) * 1000)
            assert answer.json() == {"success": True}, answer.text

        ready()
        began = time.monotonic() + 0.2
        await asyncio.gather(*(one(n) for n in range(rate * seconds)))
    return {"ms": sorted(took)}


async def bare(number: int, total: int, customers: int) -> dict[str, float]:
    """The rows of `batches`, 100 to a transaction over as many connections, into a table with the same columns and indexes."""
    database = connect(os.environ["SOJOURN_DATABASE_URL"], pool=CONNECTIONS)
    at = datetime.now(UTC)
    waiting = iter(list(_rows(number, total, customers, at)))
    if number == 0:
        async with transaction(database) as c:
            await run(c, "create table bare (like events including all)")
    ready()
    began = time.monotonic()

    async def one() -> None:
        for written in waiting:
            async with transaction(database) as c:
                await fetch(c, BARE, rows=written)

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    ended = time.monotonic()
    await database.dispose()
    return {"began": began, "ended": ended}


BARE = """
insert into bare (source, message_id, customer_id, name, properties, depth, occurred_at, accepted_at)
select source, message_id, customer_id, name, properties, depth, occurred_at, accepted_at
from jsonb_to_recordset(cast(:rows as jsonb)) as r(source text, message_id text, customer_id bigint, name text,
    properties jsonb, depth smallint, occurred_at timestamptz, accepted_at timestamptz) returning id
"""


def _rows(number: int, total: int, customers: int, at: datetime) -> Iterator[str]:
    for first in range(0, total, BATCH):
        yield rows(
            {
                "source": "bare",
                "message_id": f"{number}-{n}",
                "customer_id": (n * 7919 + number) % customers + 1,
                "name": "product_viewed",
                "properties": properties(n),
                "depth": 0,
                "occurred_at": at,
                "accepted_at": at,
            }
            for n in range(first, min(first + BATCH, total))
        )


KINDS: dict[str, Any] = {"batches": batches, "singly": singly, "bare": bare}

if __name__ == "__main__":
    kind, given = sys.argv[1], dict(word.split("=") for word in sys.argv[3:])
    print(json.dumps(asyncio.run(KINDS[kind](int(sys.argv[2]), **{name: int(value) for name, value in given.items()}))))
