"""The one queue of each customer: the sends that enrollments have registered, and the messages that wait for a slot.

A row stands for at most one send of one enrollment: it is written when the enrollment begins or goes to sleep, changed when the
gates defer the message, and gone as soon as the message has left, was dropped, or the enrollment has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, rows, run

OVERDUE_DAYS = 7
"""A send that should have been decided so long ago stands in nobody's way any more: whatever it waits for isn't time."""


async def of_customers(c: Connection, ids: Sequence[int], until: datetime | None) -> list[Row[Any]]:
    """What these customers have registered to be sent before `until` (None: at any time), without what is paused: enrollment_id,
    customer_id, journey, step, tier, channels (those still to be tried), topic, entered_at, planned_at, due, expires_at,
    send_window, waiting, until, tags, charged."""
    return await fetch(
        c,
        "select p.enrollment_id, p.customer_id, p.journey, p.step, p.tier, p.channels, p.topic, p.entered_at, p.planned_at, "
        "p.due, p.expires_at, p.send_window, p.waiting, p.until, p.tags, p.charged from planned p "
        "join enrollments e on e.id = p.enrollment_id left join journeys j on j.name = p.journey "
        "where p.customer_id = any(cast(:ids as bigint[])) and j.paused_at is null and e.paused_at is null "
        "and p.due < coalesce(cast(:until as timestamptz), 'infinity') "
        "and (p.waiting or p.due > sojourn_now() - make_interval(days => :overdue))",
        ids=list(ids),
        until=until,
        overdue=OVERDUE_DAYS,
    )


async def register(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """Write or replace the registrations of live enrollments that aren't held out: enrollment_id, key, step, tier, channels,
    topic, planned_at, due, expires_at, send_window, waiting, until, tags, charged. `key`: of the message, where an earlier try
    may have decided it already; then nothing is registered unless it waits. The caller holds the enrollments' locks, or made
    them."""
    if items:
        await run(
            c,
            "insert into planned (enrollment_id, customer_id, journey, step, tier, channels, topic, entered_at, planned_at, due, "
            "expires_at, send_window, waiting, until, tags, charged) "
            "select r.enrollment_id, e.customer_id, e.journey, r.step, r.tier, r.channels, r.topic, e.entered_at, r.planned_at, "
            "r.due, r.expires_at, r.send_window, coalesce(r.waiting, false), r.until, r.tags, coalesce(r.charged, '{}') from "
            "jsonb_to_recordset(cast(:rows as jsonb)) as r(enrollment_id bigint, key text, step text, tier text, channels jsonb, "
            "topic text, planned_at timestamptz, due timestamptz, expires_at timestamptz, send_window jsonb, waiting boolean, "
            "until timestamptz, tags text[], charged text[]) "
            "join enrollments e on e.id = r.enrollment_id and e.status = 'live' and not e.holdout "
            "left join messages m on m.key = r.key where r.waiting or m.key is null "
            "on conflict (enrollment_id) do update set step = excluded.step, tier = excluded.tier, channels = excluded.channels, "
            "topic = excluded.topic, planned_at = excluded.planned_at, due = excluded.due, expires_at = excluded.expires_at, "
            "send_window = excluded.send_window, waiting = excluded.waiting, until = excluded.until, tags = excluded.tags, "
            "charged = excluded.charged",
            rows=rows(items),
        )


async def forget(c: Connection, enrollments: Sequence[int]) -> dict[int, int]:
    """Take the registrations of these enrollments back; enrollment → customer of those that there were."""
    if not enrollments:
        return {}
    found = await fetch(
        c,
        "delete from planned where enrollment_id = any(cast(:ids as bigint[])) returning enrollment_id, customer_id",
        ids=list(enrollments),
    )
    return {r.enrollment_id: r.customer_id for r in found}


async def waiting(c: Connection, ids: Sequence[int]) -> list[int]:
    """Those of these customers who have a message that waits."""
    if not ids:
        return []
    found = await fetch(
        c,
        "select distinct customer_id from planned where customer_id = any(cast(:ids as bigint[])) and waiting order by 1",
        ids=list(ids),
    )
    return [r.customer_id for r in found]


async def know_channels(c: Connection, addresses: Mapping[str, str]) -> None:
    """Note where channels find a customer's address: channel → attribute ("": it needs none)."""
    await run(
        c,
        "insert into channels (name, address) select name, address from "
        "jsonb_to_recordset(cast(:rows as jsonb)) as r(name text, address text) "
        "on conflict (name) do update set address = excluded.address where channels.address <> excluded.address",
        rows=rows({"name": name, "address": address} for name, address in addresses.items()),
    )


async def addresses(c: Connection) -> dict[str, str]:
    """What `know_channels` noted."""
    return {r.name: r.address for r in await fetch(c, "select name, address from channels")}


async def moved(c: Connection, items: Sequence[Mapping[str, Any]]) -> None:
    """Messages that wait may go earlier: enrollment_id, until. Their rows say so; telling the cohorts is the caller's."""
    if items:
        await run(
            c,
            "update planned set until = r.until from jsonb_to_recordset(cast(:rows as jsonb)) as r(enrollment_id bigint, "
            "until timestamptz) where planned.enrollment_id = r.enrollment_id",
            rows=rows(items),
        )
