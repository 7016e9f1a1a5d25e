"""The inbox: messages that stay with us until their customer reads them in the company's own app. One per key, for ever.

A message belongs to whoever it was sent to and to those they are merged with: reads and marks take all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, rows, run

THEIRS = "customer_id in (select id from customers where id = :customer or merged_into = :customer)"


async def put(c: Connection, items: Sequence[dict[str, Any]]) -> dict[str, int]:
    """New messages: key, customer, channel, title, body, data (JSON text). Key → number, also of those that were there already,
    which stay as they are; whoever is erased, or unknown, gets none. The customers' rows are locked: an erasure misses none."""
    await fetch(
        c,
        "select 1 from customers where id = any(cast(:ids as bigint[])) order by id for share",
        ids=[item["customer"] for item in items],
    )
    await run(
        c,
        "insert into inbox (customer_id, channel, key, title, body, data, created_at) "
        "select coalesce(p.merged_into, p.id), r.channel, r.key, r.title, r.body, cast(r.data as jsonb), sojourn_now() "
        "from jsonb_to_recordset(cast(:rows as jsonb)) as r(key text, customer bigint, channel text, title text, body text, "
        "data text) join customers p on p.id = r.customer and p.erased_at is null on conflict (key) do nothing",
        rows=rows(items),
    )
    found = await fetch(
        c, "select key, id from inbox where key = any(cast(:keys as text[]))", keys=[item["key"] for item in items]
    )
    return {r.key: r.id for r in found}


async def page(c: Connection, customer: int, before: int | None, limit: int, archived: bool) -> list[Row[Any]]:
    """The customer's messages, newest first, numbers below `before`: those in the archive, or those that aren't."""
    return await fetch(
        c,
        f"select id, title, body, data, created_at, read_at, archived_at from inbox where {THEIRS} "
        "and (archived_at is not null) = :archived and id < coalesce(cast(:before as bigint), 9223372036854775807) "
        "order by id desc limit :n",
        customer=customer,
        before=before,
        archived=archived,
        n=limit,
    )


async def unread(c: Connection, customer: int, most: int) -> int:
    """How many they haven't read nor archived; counted up to `most`."""
    statement = f"select 1 from inbox where {THEIRS} and read_at is null and archived_at is null limit :most"
    return len(await fetch(c, statement, customer=customer, most=most))


async def mark(c: Connection, customer: int, read: Sequence[int], archived: Sequence[int]) -> int:
    """Put down that messages were read, and archived (which reads them too); the first time stays. How many are theirs."""
    return await run(
        c,
        "update inbox set read_at = coalesce(read_at, sojourn_now()), "
        "archived_at = case when id = any(cast(:archived as bigint[])) then coalesce(archived_at, sojourn_now()) "
        f"else archived_at end where {THEIRS} and id = any(cast(:all as bigint[]))",
        customer=customer,
        archived=list(archived),
        all=[*read, *archived],
    )
