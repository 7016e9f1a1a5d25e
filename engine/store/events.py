"""Events: stored once per source and message id, on disk before anybody is told that they were accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, rows, run


async def known(c: Connection, names: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these (source, message id) that are stored already."""
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
    """Every event of these names of these customers, in order of occurrence: customer_id, name, properties, occurred_at."""
    return await fetch(
        c,
        "select customer_id, name, properties, occurred_at from events "
        "where customer_id = any(cast(:ids as bigint[])) and name = any(cast(:names as text[])) order by occurred_at, id",
        ids=list(customers),
        names=list(names),
    )


async def quarantine(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """Keep aside what can't be taken as it is: source, at, reason, body."""
    if items:
        await run(
            c,
            "insert into quarantine (source, at, reason, body) select source, at, reason, body from "
            "jsonb_to_recordset(cast(:rows as jsonb)) as r(source text, at timestamptz, reason text, body jsonb)",
            rows=rows(items),
        )
