"""Whom a broadcast has still to reach: the page of customers that is looked through next, and those who were found, with
their moments.

Callers have the broadcast by `broadcasts.hold`, or the customers' rows locked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, rows, run


async def dated_page(c: Connection, after: int, until: int, count: int, attribute: str) -> list[Row[Any]]:
    """The next `count` customers after id `after`, up to `until`, who have `attribute`: id, attributes. Locked in id order,
    so that nobody's date changes until it is written down."""
    return await fetch(
        c,
        "select id, attributes from customers where id > :after and id <= :until and erased_at is null "
        "and merged_into is null and attributes ? :attribute order by id limit :n for no key update",
        after=after,
        until=until,
        n=count,
        attribute=attribute,
    )


async def put(c: Connection, items: Sequence[Mapping[str, Any]]) -> None:
    """People to reach, or to reach at another moment: broadcast_id, customer_id, due_at, occurrence."""
    if items:
        await run(
            c,
            "insert into broadcast_people (broadcast_id, customer_id, due_at, occurrence) "
            "select broadcast_id, customer_id, due_at, coalesce(occurrence, '') from jsonb_to_recordset(cast(:rows as jsonb)) "
            "as r(broadcast_id bigint, customer_id bigint, due_at timestamptz, occurrence text) order by 1, 2 "
            "on conflict (broadcast_id, customer_id) do update set due_at = excluded.due_at, occurrence = excluded.occurrence",
            rows=rows(items),
        )


async def drop(c: Connection, pairs: Sequence[tuple[int, int]]) -> None:
    """These (broadcast, customer) aren't to be reached any more, or have been."""
    if pairs:
        await run(
            c,
            "delete from broadcast_people p using unnest(cast(:broadcasts as bigint[]), cast(:customers as bigint[])) "
            "as w(broadcast_id, customer_id) where p.broadcast_id = w.broadcast_id and p.customer_id = w.customer_id",
            broadcasts=[b for b, _ in pairs],
            customers=[i for _, i in pairs],
        )


async def due(c: Connection, broadcast: int, at: datetime, count: int) -> list[int]:
    """The next `count` customers whose moment has come, the earliest first."""
    found = await fetch(
        c,
        "select customer_id from broadcast_people where broadcast_id = :id and due_at <= :at order by due_at, customer_id "
        "limit :n",
        id=broadcast,
        at=at,
        n=count,
    )
    return [r.customer_id for r in found]


async def of(c: Connection, broadcasts: Sequence[int], customers: Sequence[int]) -> list[Row[Any]]:
    """What is planned for these customers, whose rows the caller has locked: broadcast_id, customer_id, due_at, occurrence."""
    return await fetch(
        c,
        "select broadcast_id, customer_id, due_at, occurrence from broadcast_people "
        "where broadcast_id = any(cast(:ids as bigint[])) and customer_id = any(cast(:customers as bigint[]))",
        ids=list(broadcasts),
        customers=list(customers),
    )


async def next_due(c: Connection, broadcast: int) -> datetime | None:
    """When the next of those who are still to be reached is."""
    found = await fetch(c, "select min(due_at) as at from broadcast_people where broadcast_id = :id", id=broadcast)
    at: datetime | None = found[0].at
    return at


async def carry(c: Connection, pairs: Sequence[tuple[int, int]]) -> list[Row[Any]]:
    """Those of these (gone, kept) who are merged away are to be reached as who stays, once: gone, broadcast_id, `came` (False:
    who stays was to be reached already)."""
    return await fetch(
        c,
        "with taken as (delete from broadcast_people p using unnest(cast(:gone as bigint[]), cast(:kept as bigint[])) as "
        "w(gone, kept) where p.customer_id = w.gone returning w.gone, w.kept, p.broadcast_id, p.due_at, p.occurrence), "
        "chosen as (select distinct on (broadcast_id, kept) * from taken order by broadcast_id, kept, due_at, gone), "
        "put as (insert into broadcast_people (broadcast_id, customer_id, due_at, occurrence) "
        "select broadcast_id, kept, due_at, occurrence from chosen on conflict do nothing returning broadcast_id, customer_id) "
        "select t.gone, t.broadcast_id, p.customer_id is not null as came from taken t "
        "left join chosen s on (s.broadcast_id, s.gone) = (t.broadcast_id, t.gone) "
        "left join put p on (p.broadcast_id, p.customer_id) = (s.broadcast_id, s.kept)",
        gone=[g for g, _ in pairs],
        kept=[k for _, k in pairs],
    )


async def give_back(c: Connection, gone: int, kept: int, came: Sequence[int], doubled: Sequence[int]) -> None:
    """What `carry` said of a merge that is taken back: whoever is still to be reached as `kept` is so as who they were. Who was
    reached meanwhile was reached as one."""
    await run(
        c,
        "update broadcast_people set customer_id = :gone where customer_id = :kept "
        "and broadcast_id = any(cast(:ids as bigint[]))",
        gone=gone,
        kept=kept,
        ids=list(came),
    )
    await run(
        c,
        "insert into broadcast_people (broadcast_id, customer_id, due_at, occurrence) select broadcast_id, :gone, due_at, "
        "occurrence from broadcast_people where customer_id = :kept and broadcast_id = any(cast(:ids as bigint[])) "
        "on conflict do nothing",
        gone=gone,
        kept=kept,
        ids=list(doubled),
    )
