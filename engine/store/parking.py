"""Enrollments that wait for a person: why they were parked, and how they go on. Parking makes no input, a retry always does.

What may quote a customer's data stands with the enrollment as long as it is parked, and never goes through Temporal. What it was
parked for is kept without that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.store import planned
from engine.store.database import Connection, fetch, rows, run
from engine.store.enrollments import append_inputs, lock_rows


async def explain(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """Why live enrollments are about to be parked, in full: id, reason. It may hold what Temporal must not: `park` keeps it."""
    if items:
        await lock_rows(c, [i["id"] for i in items])
        await run(
            c,
            "update enrollments set reason = r.reason from jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, reason text) "
            "where enrollments.id = r.id and status = 'live'",
            rows=rows(items),
        )


async def park(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """Park live enrollments with a reason, and keep what for when that is over: id, reason, short (its beginning, which quotes
    nobody and is what is kept), step, op, visit, attempt, state, seq (the highest input that they had seen; None: unknown).
    Where `explain` has said more under the same reason, that stays. One that a person has retried or skipped since goes on: this
    is the parking that was mended, told a second time. What the parked ones had registered sets nothing aside any more."""
    if items:
        found = await fetch(
            c,
            "with r as (select * from jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, reason text, short text, "
            "step text, op integer, visit integer, attempt integer, state jsonb, seq integer)), "
            "parked as (update enrollments set status = 'parked', parked_at = sojourn_now(), "
            "reason = case when starts_with(enrollments.reason, r.reason) then enrollments.reason else r.reason end, "
            "step = coalesce(r.step, enrollments.step), "
            "state = coalesce(r.state, enrollments.state), wake_at = null "
            "from r where enrollments.id = r.id and status = 'live' and not exists (select 1 from inputs i "
            "where i.enrollment_id = enrollments.id and i.seq > r.seq and i.kind in ('retry', 'skip')) "
            "returning enrollments.id, parked_at, last_seq), "
            "kept as (insert into parkings (enrollment_id, seq, at, op, visit, attempt, step, reason) "
            "select id, coalesce(r.seq, last_seq), parked_at, op, visit, attempt, r.step, r.short from parked join r using (id) "
            "on conflict do nothing) select id from parked",
            rows=rows(items),
        )
        await planned.forget(c, [r.id for r in found])


async def unpark(c: Connection, ids: Sequence[int]) -> list[int]:
    """Parked enrollments live again; each gets a `retry` input. The ids it concerned."""
    found = await fetch(
        c,
        "update enrollments set status = 'live', reason = '', parked_at = null where id = any(cast(:ids as bigint[])) "
        "and status = 'parked' returning id, sojourn_now() as at",
        ids=list(ids),
    )
    await append_inputs(c, [{"enrollment_id": r.id, "kind": "retry", "at": r.at} for r in sorted(found, key=lambda r: r.id)])
    return [r.id for r in found]
