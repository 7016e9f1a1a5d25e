"""Computed attributes as they are kept for each customer. What stands here is a function of the customer's events: whoever
changes which events those are brings it up to date in the same transaction, or forgets it.

Only holders of the customers' row locks write; a row that is missing, or of another definition, is worked out from the events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, rows, run


async def of(c: Connection, customers: Sequence[int], names: Sequence[str], timed: Sequence[str]) -> list[Row[Any]]:
    """What is kept of these customers under `names`: customer_id, name, definition, value, state (None where the value says
    it all: it does unless the name is among `timed`, or too much would have to be kept)."""
    return await fetch(
        c,
        "select customer_id, name, definition, value, "
        "case when name = any(cast(:timed as text[])) or state ? 'over' then state end as state from computed "
        "where customer_id = any(cast(:ids as bigint[])) and name = any(cast(:names as text[]))",
        ids=list(customers),
        names=list(names),
        timed=list(timed),
    )


async def with_events(c: Connection, customers: Sequence[int], names: Sequence[str], events: Sequence[int]) -> list[Row[Any]]:
    """What is kept of these (locked) customers under `names`, and in the same statement these events as they are stored:
    customer_id, name, definition (None: it is an event), state, id, properties, occurred_at, emptied."""
    return await fetch(
        c,
        "select customer_id, name, definition, state, cast(null as bigint) as id, cast(null as jsonb) as properties, "
        "cast(null as timestamptz) as occurred_at, false as emptied from computed "
        "where customer_id = any(cast(:ids as bigint[])) and name = any(cast(:names as text[])) "
        "union all select customer_id, name, null, null, id, properties, occurred_at, emptied from events "
        "where id = any(cast(:events as bigint[]))",
        ids=list(customers),
        names=list(names),
        events=list(events),
    )


async def put(c: Connection, items: Sequence[Mapping[str, Any]]) -> None:
    """Keep this of (locked) customers: customer_id, name, definition, state, value."""
    if items:
        await run(
            c,
            "insert into computed (customer_id, name, definition, state, value) "
            "select customer_id, name, definition, state, value from jsonb_to_recordset(cast(:rows as jsonb)) "
            "as r(customer_id bigint, name text, definition text, state jsonb, value jsonb) "
            "on conflict (customer_id, name) do update set definition = excluded.definition, state = excluded.state, "
            "value = excluded.value",
            rows=rows(items),
        )


async def forget(c: Connection, gone: Sequence[int], kept: Sequence[int]) -> None:
    """Keep nothing of these (locked) customers, whose events are others than before: it is worked out anew. What was predicted
    of `kept` stays until the next fit."""
    await run(
        c,
        "delete from computed where customer_id = any(cast(:gone as bigint[])) or (customer_id = any(cast(:kept as bigint[])) "
        "and not coalesce(state ? 'fit' and state ? 'at', false))",
        gone=list(gone),
        kept=list(kept),
    )


async def tidy(c: Connection, customers: Sequence[int], definitions: Sequence[str]) -> None:
    """Keep of these (locked) customers only what these definitions (hashes) mean."""
    await run(
        c,
        "delete from computed where customer_id = any(cast(:ids as bigint[])) "
        "and definition <> all(cast(:definitions as text[]))",
        ids=list(customers),
        definitions=list(definitions),
    )


async def hold_backfill(c: Connection, definitions: str) -> Row[Any]:
    """How far filling in for `definitions` (a hash) has come, begun where it wasn't yet: begun_at, after_id, until_id, customers,
    done_at, anew (also what is there already). The row stays locked: one process at a time takes the next page."""
    await run(c, "delete from backfills where definitions <> :definitions", definitions=definitions)
    await run(
        c,
        "insert into backfills (definitions, until_id) select :definitions, coalesce(max(id), 0) from customers "
        "on conflict (definitions) do nothing",
        definitions=definitions,
    )
    found = await fetch(
        c,
        "select begun_at, after_id, until_id, customers, done_at, anew from backfills "
        "where definitions = :definitions for update",
        definitions=definitions,
    )
    return found[0]


async def page(c: Connection, after: int, until: int, count: int) -> list[int]:
    """The next `count` customers after id `after`, up to `until`, who weren't erased or merged away."""
    found = await fetch(
        c,
        "select id from customers where id > :after and id <= :until and erased_at is null and merged_into is null "
        "order by id limit :n",
        after=after,
        until=until,
        n=count,
    )
    return [r.id for r in found]


async def filled_in(c: Connection, definitions: str, after: int, customers: int, *, done: bool) -> None:
    """A page has been filled in: up to `after`, for so many customers; `done`: it was the last."""
    await run(
        c,
        "update backfills set after_id = :after, customers = customers + :customers, "
        "done_at = case when :done then clock_timestamp() end where definitions = :definitions",
        definitions=definitions,
        after=after,
        customers=customers,
        done=done,
    )


async def begin_again(c: Connection, definitions: str) -> None:
    """Filling in begins with the first customer, also with what is there already."""
    await run(c, "delete from backfills where definitions = :definitions", definitions=definitions)
    await hold_backfill(c, definitions)
    await run(c, "update backfills set anew = true where definitions = :definitions", definitions=definitions)
