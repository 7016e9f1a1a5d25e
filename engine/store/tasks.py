"""Tasks for people: our own list, and what is known of those that are handed to a program of the company's as well (`receiver`).
One task per key, for ever, however often it is asked for.

    waiting ─▶ handed_over ─▶ there ─▶ finished     closed by itself, or the program says that it is done
       ▲            │     └─▶ unknown               nobody knows whether it has the task: it isn't handed over again
                                                    (`handed_over` where it may be, for a while)
       └────────────┘   └──────────▶ left           it refuses to close it: a person has to
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, rows, run


async def insert(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """New tasks: key, enrollment_id, queue, title, body, assignee, once, due_at, receiver ("": our own list only). A key or a
    `once` that exists changes nothing, and an enrollment that has ended (its row is locked by the caller) gets none: nobody would
    close it."""
    if items:
        await run(
            c,
            "insert into tasks (key, enrollment_id, customer_id, queue, title, body, assignee, once, due_at, created_at, "
            "receiver, handover) select r.key, e.id, e.customer_id, r.queue, r.title, r.body, r.assignee, r.once, r.due_at, "
            "sojourn_now(), r.receiver, case when r.receiver = '' then '' else 'waiting' end "
            "from jsonb_to_recordset(cast(:rows as jsonb)) as r(key text, enrollment_id bigint, queue text, "
            "title text, body text, assignee text, once text, due_at timestamptz, receiver text) "
            "join enrollments e on e.id = r.enrollment_id and e.status <> 'ended' on conflict do nothing",
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


async def claim(c: Connection, keys: Sequence[str], owner: str, lease_seconds: float) -> dict[str, Row[Any]]:
    """Take open tasks for handing over: those that wait, and those that were handed over without an answer. Key → receiver, tries
    (this one included), `uncertain` (of the second kind), and title, body, queue, assignee, due_at, created_at. Nobody else gets
    them while the lease lasts."""
    found = await fetch(
        c,
        "update tasks t set handover = 'handed_over', tries = t.tries + 1, lease_owner = :owner, "
        "lease_until = clock_timestamp() + make_interval(secs => :lease) "
        "from (select id, handover = 'handed_over' as uncertain from tasks where key = any(cast(:keys as text[])) "
        "and status = 'open' and (handover = 'waiting' or (handover = 'handed_over' and lease_until < clock_timestamp())) "
        "order by id for update) w where t.id = w.id returning t.key, t.receiver, t.tries, w.uncertain, "
        "t.title, t.body, t.queue, t.assignee, t.due_at, t.created_at",
        keys=list(keys),
        owner=owner,
        lease=lease_seconds,
    )
    return {r.key: r for r in found}


async def under_way(c: Connection, keys: Sequence[str]) -> dict[str, float]:
    """Key → seconds until it may be taken again, of open tasks that aren't known to be there: somebody's, or waiting."""
    found = await fetch(
        c,
        "select key, greatest(extract(epoch from lease_until - clock_timestamp()), 0) as left from tasks "
        "where key = any(cast(:keys as text[])) and handover in ('waiting', 'handed_over') and status = 'open'",
        keys=list(keys),
    )
    return {r.key: float(r.left) for r in found}


async def give_up(c: Connection, enrollments: Sequence[int], step: str | None = None) -> None:
    """Close the open tasks of these (locked) enrollments that wait to be handed over, in one step or in all: nobody tries
    again."""
    await run(
        c,
        "update tasks t set status = 'closed', closed_at = sojourn_now() from (select id from tasks "
        "where enrollment_id = any(cast(:ids as bigint[])) and status = 'open' and handover in ('waiting', 'handed_over') "
        "and lease_owner is null and coalesce(split_part(key, '/', 2) = cast(:step as text), true) order by id for update) w "
        "where t.id = w.id",
        ids=list(enrollments),
        step=step,
    )


async def record(c: Connection, owner: str, items: Sequence[dict[str, Any]]) -> None:
    """What became of tasks that `owner` took: key, handover, remote_id, words, wait (seconds until it may be taken again)."""
    if items:
        await run(
            c,
            "update tasks set handover = r.handover, words = r.words, "
            "remote_id = case when r.remote_id = '' then tasks.remote_id else r.remote_id end, lease_owner = null, "
            "tries = case when r.handover = 'there' and tasks.handover = 'handed_over' then 0 else tasks.tries end, "
            "lease_until = clock_timestamp() + make_interval(secs => r.wait) "
            "from jsonb_to_recordset(cast(:rows as jsonb)) as r(key text, handover text, remote_id text, words text, "
            "wait double precision) where tasks.key = r.key and tasks.lease_owner = :owner",
            rows=rows(items),
            owner=owner,
        )


async def to_finish(c: Connection, owner: str, most: int, lease_seconds: float) -> list[Row[Any]]:
    """Take at most `most` tasks that are over here and still open where they were handed to, or may be there: key, receiver,
    remote_id, tries, handover (`there` or `handed_over`)."""
    return await fetch(
        c,
        "update tasks t set tries = t.tries + 1, lease_owner = :owner, "
        "lease_until = clock_timestamp() + make_interval(secs => :lease) from (select id from tasks "
        "where handover in ('there', 'handed_over') and status <> 'open' and coalesce(lease_until <= clock_timestamp(), true) "
        "order by id limit :most for update skip locked) w where t.id = w.id "
        "returning t.key, t.receiver, t.remote_id, t.tries, t.handover",
        owner=owner,
        most=most,
        lease=lease_seconds,
    )


async def told_of(c: Connection, receiver: str, keys: Sequence[str], remote_ids: Sequence[str]) -> list[Row[Any]]:
    """The tasks that `receiver` names by our key or its own id: id, key, remote_id, customer_id, queue, status."""
    what = "select id, key, remote_id, customer_id, queue, status from tasks where receiver = :receiver"
    return await fetch(
        c,
        f"{what} and key = any(cast(:keys as text[])) union {what} and remote_id <> '' and remote_id = any(cast(:ids as text[]))",
        receiver=receiver,
        keys=list(keys),
        ids=list(remote_ids),
    )


async def finished_there(c: Connection, ids: Sequence[int]) -> None:
    """Their receiver says that these tasks are done: it needn't be told."""
    if ids:
        await run(
            c,
            "update tasks set handover = 'finished' where id = any(cast(:ids as bigint[])) and handover in ('there', 'unknown')",
            ids=sorted(ids),
        )
