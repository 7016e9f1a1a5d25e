"""Journeys and enrollments that an operator pauses: what they ask for waits, and comes back when they are resumed.

Whoever decides by a pause shares a lock with which nobody pauses or resumes: after a pause nothing leaves that wasn't handed over
before, and whoever is kept back is found by the resume. It is taken before all others. A group of calls, or a batch of tasks for
another program, that was looked at just before a pause still goes out: calls at once, tasks within five seconds or so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, run

PAUSE_LOCK = 7_235_783


async def stand_still(c: Connection) -> None:
    """Until this transaction ends nobody pauses or resumes anything."""
    await run(c, "select pg_advisory_xact_lock_shared(:n)", n=PAUSE_LOCK)


async def alone(c: Connection) -> None:
    """Until this transaction ends nobody decides by a pause; those who were at it are through."""
    await run(c, "select pg_advisory_xact_lock(:n)", n=PAUSE_LOCK)


async def pause_journey(c: Connection, journey: str, reason: str) -> bool:
    """Pause a journey; whether it wasn't paused before. One that was keeps its moment and takes the new reason, if there is
    one."""
    found = await fetch(
        c,
        "update journeys j set paused_at = coalesce(b.paused_at, sojourn_now()), "
        "paused_reason = coalesce(nullif(:reason, ''), case when b.paused_at is null then null else b.paused_reason end) "
        "from (select name, paused_at, paused_reason from journeys where name = :name for update) b where j.name = b.name "
        "returning b.paused_at is null as fresh",
        name=journey,
        reason=reason,
    )
    return bool(found) and bool(found[0].fresh)


async def resume_journey(c: Connection, journey: str) -> bool:
    """Let a journey go on; whether it was paused. Who is kept back is for `kept_back`."""
    touched = await run(
        c,
        "update journeys set last_paused_at = paused_at, resumed_at = sojourn_now(), paused_at = null, paused_reason = null "
        "where name = :name and paused_at is not null",
        name=journey,
    )
    return touched == 1


async def pause(c: Connection, enrollments: Sequence[int]) -> list[int]:
    """Pause those of these (locked) enrollments that are inside and aren't paused; which these were."""
    found = await fetch(
        c,
        "update enrollments set paused_at = sojourn_now() where id = any(cast(:ids as bigint[])) and status <> 'ended' "
        "and paused_at is null returning id",
        ids=list(enrollments),
    )
    return sorted(r.id for r in found)


async def resume(c: Connection, enrollments: Sequence[int]) -> list[int]:
    """Let those of these (locked) enrollments go on that are inside and paused; which these were."""
    found = await fetch(
        c,
        "update enrollments set last_paused_at = paused_at, resumed_at = sojourn_now(), paused_at = null "
        "where id = any(cast(:ids as bigint[])) and status <> 'ended' and paused_at is not null returning id",
        ids=list(enrollments),
    )
    return sorted(r.id for r in found)


async def kept_back(c: Connection, journey: str) -> list[int]:
    """Live enrollments of a journey whose next command waits because of a pause that is over, in the order of their numbers."""
    found = await fetch(
        c,
        "select e.id from enrollments e join journeys j on j.name = e.journey where e.journey = :journey and e.kept_back "
        "and e.status = 'live' and e.paused_at is null and j.paused_at is null order by e.id",
        journey=journey,
    )
    return [r.id for r in found]


async def let_go(c: Connection, enrollments: Sequence[int]) -> list[int]:
    """Those of these (locked) enrollments that were kept back and no longer are: nothing pauses them. To have them ask again is
    the caller's."""
    found = await fetch(
        c,
        "update enrollments e set kept_back = false from journeys j where j.name = e.journey and e.kept_back "
        "and e.id = any(cast(:ids as bigint[])) and e.status = 'live' and e.paused_at is null and j.paused_at is null "
        "returning e.id",
        ids=list(enrollments),
    )
    return sorted(r.id for r in found)


async def over(c: Connection, enrollments: Sequence[int]) -> None:
    """These (locked) enrollments are no longer kept back, whatever became of what they asked for."""
    if enrollments:
        await run(c, "update enrollments set kept_back = false where id = any(cast(:ids as bigint[]))", ids=list(enrollments))


async def behind(c: Connection, journey: str) -> list[int]:
    """Customers with a message of another journey that waits, before which one of this journey may have come."""
    found = await fetch(
        c,
        "select distinct p.customer_id as id from planned p join planned w on w.customer_id = p.customer_id and w.waiting "
        "and w.journey <> p.journey where p.journey = :journey order by 1",
        journey=journey,
    )
    return [r.id for r in found]


async def journey(c: Connection, name: str) -> Row[Any]:
    """How a journey that was deployed stands: paused_at (None: it isn't), kept_back (how many of its enrollments that aren't
    paused by themselves)."""
    return (
        await fetch(
            c,
            "select j.paused_at, (select count(*) from enrollments e where e.journey = j.name and e.kept_back "
            "and e.status = 'live' and e.paused_at is null) as kept_back from journeys j where j.name = :name",
            name=name,
        )
    )[0]


async def journeys(c: Connection) -> set[str]:
    """The names of the journeys that are paused."""
    return {r.name for r in await fetch(c, "select name from journeys where paused_at is not null")}


async def left_behind(c: Connection) -> list[Row[Any]]:
    """Journeys that nothing pauses with enrollments that are still kept back, because a resume was cut off: journey, n."""
    return await fetch(
        c,
        "select e.journey, count(*) as n from enrollments e join journeys j on j.name = e.journey where e.kept_back "
        "and e.status = 'live' and e.paused_at is null and j.paused_at is null group by 1 order by 1",
    )


async def steps(c: Connection, enrollments: Sequence[int]) -> list[Row[Any]]:
    """Where these (locked) enrollments stand, as far as that is recorded: id, plan, status, step. A message that is under way or
    parked says it better than the recorded position, which lags behind. Those at their beginning and those that have ended are
    missing."""
    return await fetch(
        c,
        "select e.id, e.plan, e.status, coalesce(m.step, e.step) as step from enrollments e left join lateral ("
        "select step from messages where customer_id = e.customer_id and enrollment_id = e.id "
        "and status in ('deferred', 'reserved', 'handed_over', 'parked') order by id desc limit 1) m on true "
        "where e.id = any(cast(:ids as bigint[])) and e.status <> 'ended' and coalesce(m.step, e.step) is not null order by e.id",
        ids=list(enrollments),
    )


async def skip(c: Connection, enrollments: Sequence[int], step: str, at: datetime) -> None:
    """Note that this step of these (locked) enrollments is skipped; who was parked in it lives again. `at`: as the input says, so
    that the step's next visit begins no earlier."""
    await run(
        c,
        "update enrollments set status = 'live', reason = '', parked_at = null, kept_back = false, skipped = :step, "
        "skipped_at = :at where id = any(cast(:ids as bigint[])) and status <> 'ended'",
        ids=list(enrollments),
        step=step,
        at=at,
    )
