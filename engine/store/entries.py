"""What an entry asks of the store before anybody is enrolled: numbers, and who was or is in the journey already.

The caller holds the lock of the customers concerned.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch


async def new_ids(c: Connection, count: int) -> list[int]:
    """`count` fresh enrollment ids."""
    found = await fetch(
        c, "select nextval(pg_get_serial_sequence('enrollments', 'id')) as id from generate_series(1, :n)", n=count
    )
    return [r.id for r in found]


async def earlier(c: Connection, candidates: Sequence[tuple[int, str, str]]) -> dict[tuple[int, str, str], Row[Any]]:
    """(customer, journey, key) → last entry (`entered_at`), how many (`n`) and the highest `number`, where there was one."""
    if not candidates:
        return {}
    found = await fetch(
        c,
        "select e.customer_id, e.journey, e.key, max(e.entered_at) as entered_at, count(*) as n, max(e.number) as number "
        "from enrollments e join unnest(cast(:ids as bigint[]), cast(:journeys as text[]), cast(:keys as text[])) "
        "as w(customer_id, journey, key) using (customer_id, journey, key) group by 1, 2, 3",
        ids=[i for i, _, _ in candidates],
        journeys=[j for _, j, _ in candidates],
        keys=[k for _, _, k in candidates],
    )
    return {(r.customer_id, r.journey, r.key): r for r in found}


async def entered(c: Connection, ids: Sequence[int], since: datetime) -> list[Row[Any]]:
    """Every entry of these customers at `since` or later, whatever became of it: customer_id, journey, entered_at."""
    return await fetch(
        c,
        "select customer_id, journey, entered_at from enrollments "
        "where customer_id = any(cast(:ids as bigint[])) and entered_at >= :since",
        ids=list(ids),
        since=since,
    )


async def shared(c: Connection, claims: Sequence[tuple[str, str]]) -> list[Row[Any]]:
    """Who is or was in a journey for a `once_per` value: journey, once, key, last `entered_at`, `live` (a customer inside, else
    None). Each (journey, value) stays claimed by this transaction until it ends, so that no two people enter for it at once."""
    names = sorted(set(claims))
    values = {"journeys": [j for j, _ in names], "onces": [o for _, o in names]}
    await fetch(
        c,
        "select pg_advisory_xact_lock(hashtextextended(w.journey || '/' || w.once, 0)) from "
        "unnest(cast(:journeys as text[]), cast(:onces as text[])) as w(journey, once)",
        **values,
    )
    return await fetch(
        c,
        "select e.journey, e.once, e.key, max(e.entered_at) as entered_at, "
        "max(e.customer_id) filter (where e.status <> 'ended') as live from enrollments e join "
        "unnest(cast(:journeys as text[]), cast(:onces as text[])) as w(journey, once) using (journey, once) group by 1, 2, 3",
        **values,
    )
