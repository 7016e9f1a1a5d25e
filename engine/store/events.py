"""Events: stored once per source and message id, on disk before anybody is told that they were accepted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, rows


async def known(c: Connection, names: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these (source, message id) that are stored already."""
    if not names:
        return set()
    found = await fetch(
        c,
        "select v.source, v.message_id from events v join unnest(cast(:sources as text[]), cast(:ids as text[])) "
        "as w(source, message_id) using (source, message_id)",
        sources=[s for s, _ in names],
        ids=[i for _, i in names],
    )
    return {(r.source, r.message_id) for r in found}


async def insert(c: Connection, items: Sequence[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """Store events (source, message_id, customer_id, name, properties, depth, occurred_at, accepted_at);
    (source, message_id) → id of those that are new. One that is there already is left as it is and isn't in the answer."""
    if not items:
        return {}
    found = await fetch(
        c,
        "insert into events (source, message_id, customer_id, name, properties, depth, occurred_at, accepted_at) "
        "select source, message_id, customer_id, name, properties, depth, occurred_at, accepted_at "
        "from jsonb_to_recordset(cast(:rows as jsonb)) as r(source text, message_id text, customer_id bigint, name text, "
        "properties jsonb, depth smallint, occurred_at timestamptz, accepted_at timestamptz) "
        "on conflict (source, message_id) do nothing returning id, source, message_id",
        rows=rows(items),
    )
    return {(r.source, r.message_id): r.id for r in found}


async def of_names(c: Connection, customers: Sequence[int], names: Sequence[str]) -> list[Row[Any]]:
    """Every event of these names of these customers, in order of occurrence: id, customer_id, name, properties, occurred_at,
    emptied (whether retention has taken its properties)."""
    return await fetch(
        c,
        "select id, customer_id, name, properties, occurred_at, emptied from events "
        "where customer_id = any(cast(:ids as bigint[])) and name = any(cast(:names as text[])) order by occurred_at, id",
        ids=list(customers),
        names=list(names),
    )


TELLING = ("$identify", "$set", "$group")
"""Events whose properties are attributes."""


async def told_since(c: Connection, moments: Mapping[int, datetime]) -> dict[tuple[int, str], datetime]:
    """(customer, attribute) → when it was last told of, where that was after the customer's moment."""
    if not moments:
        return {}
    found = await fetch(
        c,
        "select e.customer_id, k.name, max(e.occurred_at) as at "
        "from unnest(cast(:ids as bigint[]), cast(:moments as timestamptz[])) as w(id, at) join events e "
        "on e.customer_id = w.id and e.name = any(cast(:names as text[])) and e.occurred_at > w.at "
        "cross join lateral jsonb_object_keys(e.properties) as k(name) group by 1, 2",
        ids=list(moments),
        moments=list(moments.values()),
        names=list(TELLING),
    )
    return {(r.customer_id, r.name): r.at for r in found}


async def by_id(c: Connection, event: int) -> Row[Any]:
    """One event: id, name, properties, occurred_at."""
    return (await fetch(c, "select id, name, properties, occurred_at from events where id = :id", id=event))[0]
