"""Tasks for people: the queue that ships. One task per key, for ever, however often it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from engine.store.database import Connection, rows, run


async def insert(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """New tasks: key, enrollment_id, customer_id, queue, title, body, assignee, once, due_at. A key or a `once` that exists
    changes nothing, and an enrollment that has ended (its row is locked by the caller) gets none: nobody would close it."""
    if items:
        await run(
            c,
            "insert into tasks (key, enrollment_id, customer_id, queue, title, body, assignee, once, due_at, created_at) "
            "select key, enrollment_id, customer_id, queue, title, body, assignee, once, due_at, sojourn_now() "
            "from jsonb_to_recordset(cast(:rows as jsonb)) as r(key text, enrollment_id bigint, customer_id bigint, queue text, "
            "title text, body text, assignee text, once text, due_at timestamptz) "
            "where exists (select 1 from enrollments e where e.id = r.enrollment_id and e.status <> 'ended') "
            "on conflict do nothing",
            rows=rows(items),
        )


async def complete(c: Connection, items: Sequence[tuple[int, int]], at: datetime) -> None:
    """Mark open tasks (task id, customer) as done."""
    if items:
        await run(
            c,
            "update tasks set status = 'done', closed_at = :at "
            "from unnest(cast(:ids as bigint[]), cast(:owners as bigint[])) as w(id, customer_id) "
            "where tasks.id = w.id and tasks.customer_id = w.customer_id and status = 'open'",
            ids=[i for i, _ in items],
            owners=[o for _, o in items],
            at=at,
        )
