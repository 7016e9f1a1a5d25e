"""What the relay needs: pending inputs, cohorts with room, leases. Inputs stay pending until Temporal has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, run
from engine.store.enrollments import lock_rows

USUAL, URGENT = "lane/", "urgent/"
"""What the names of leases begin with."""

UNDONE = "undone"
"""Note of an end that was taken back: whoever is rebuilt never hears of it."""

DONE = "done"
"""Note of a `move` that was carried out, or overtaken by a later one: whoever is rebuilt never hears of it."""

MOVED = "moved"
"""Note of a pending input whose enrollment goes on in another cohort, which hasn't been told yet where it stood."""


async def pending(c: Connection, lanes: Sequence[int], limit: int, *, urgent: bool) -> list[Row[Any]]:
    """The oldest inputs that Temporal doesn't have yet, of urgent enrollments or of the others, with their note, their trace and
    their enrollment's plan, cohort and status."""
    return await fetch(
        c,
        "select i.id, i.enrollment_id, i.seq, i.kind, i.at, i.matched, i.reason, i.note, i.trace, e.plan, e.cohort_id, e.status "
        "from inputs i join enrollments e on e.id = i.enrollment_id "
        f"where i.relayed_at is null and {'i.urgent' if urgent else 'not i.urgent'} "
        "and i.lane = any(cast(:lanes as smallint[])) order by i.id limit :limit",
        lanes=list(lanes),
        limit=limit,
    )


async def any_urgent(c: Connection, lanes: Sequence[int]) -> bool:
    """Whether an input of an urgent enrollment is pending."""
    found = await fetch(
        c,
        "select exists (select 1 from inputs where relayed_at is null and urgent and lane = any(cast(:lanes as smallint[])))",
        lanes=list(lanes),
    )
    return bool(found[0][0])


async def waiting_seconds(c: Connection) -> dict[bool, float]:
    """Urgent or not → for how many real seconds the oldest input has waited for a relay, where one waits."""
    found = await fetch(
        c,
        "select w.urgent, extract(epoch from sojourn_now() - coalesce(e.accepted_at, i.at)) / clock.scale as seconds "
        "from clock, (select true as urgent, (select min(id) from inputs where relayed_at is null and urgent) as id union all "
        "select false, (select id from inputs where relayed_at is null and not urgent order by id limit 1)) as w "
        "join inputs i on i.id = w.id left join events e on e.id = i.event_id",
    )
    return {r.urgent: float(r.seconds) for r in found}


async def newest_cohorts(c: Connection, limit: int) -> list[int]:
    """The newest cohorts with somebody inside."""
    found = await fetch(
        c,
        "select k.id from cohorts k where exists (select 1 from enrollments e where e.cohort_id = k.id and e.status <> 'ended') "
        "order by k.id desc limit :limit",
        limit=limit,
    )
    return [r.id for r in found]


async def relayed(c: Connection, ids: Sequence[int], note: str | None = None) -> None:
    """These inputs (by id) need no more relaying; `note` says why where Temporal didn't get them. Only pending ones are indexed
    by id: without the condition every input there ever was would be looked at."""
    if ids:
        await run(
            c,
            "update inputs set relayed_at = clock_timestamp(), note = coalesce(:note, note) where id = "
            "any(cast(:ids as bigint[])) and relayed_at is null",
            ids=list(ids),
            note=note,
        )


async def open_cohort(c: Connection, plan: str, owner: str, max_size: int, max_age_seconds: int) -> tuple[int, int]:
    """A cohort of `plan` that still admits, and its room: the newest open one of `owner`, else a new one. Closes those that are
    full or too old to admission."""
    await run(
        c,
        "update cohorts set open = false where plan = :plan and owner = :owner and open and (admitted >= :size or "
        "opened_at < clock_timestamp() - make_interval(secs => :age))",
        plan=plan,
        owner=owner,
        size=max_size,
        age=max_age_seconds,
    )
    found = await fetch(
        c,
        "select id, admitted from cohorts where plan = :plan and owner = :owner and open order by id desc limit 1",
        plan=plan,
        owner=owner,
    )
    if not found:
        found = await fetch(
            c, "insert into cohorts (plan, owner) values (:plan, :owner) returning id, admitted", plan=plan, owner=owner
        )
    return found[0].id, max_size - found[0].admitted


async def homeless(c: Connection, enrollments: Sequence[int]) -> list[int]:
    """Those of `enrollments` that still have no cohort and haven't ended, locked in id order: whoever admits locks them first,
    so that nobody comes to live in two."""
    found = await fetch(
        c,
        "select id from enrollments where id = any(cast(:ids as bigint[])) and cohort_id is null and status <> 'ended' "
        "order by id for no key update",
        ids=list(enrollments),
    )
    return [r.id for r in found]


async def admit(c: Connection, cohort: int, enrollments: Sequence[int]) -> None:
    """Commit members (see `homeless`) to a cohort, before Temporal hears of them."""
    await run(
        c,
        "update enrollments set cohort_id = :cohort where id = any(cast(:ids as bigint[]))",
        cohort=cohort,
        ids=list(enrollments),
    )
    await run(c, "update cohorts set admitted = admitted + :n where id = :cohort", cohort=cohort, n=len(enrollments))


async def mark_moved(c: Connection, enrollments: Sequence[int]) -> None:
    """Note on the pending inputs of these enrollments that their new cohort must be told where they stood: a relay that dies
    before it has done so leaves that to the next one."""
    if enrollments:
        await run(
            c,
            "update inputs set note = :note where enrollment_id = any(cast(:ids as bigint[])) and relayed_at is null",
            note=MOVED,
            ids=list(enrollments),
        )


async def close_cohort(c: Connection, cohort: int) -> None:
    """The cohort's workflow is over: nobody is admitted any more."""
    await run(c, "update cohorts set open = false where id = :cohort", cohort=cohort)


async def reopen_members(c: Connection, cohort: int, enrollments: Sequence[int]) -> list[int]:
    """Take live enrollments out of a `cohort` that is over, so that they are rebuilt in another from their recorded state; the
    ids of those taken out. One that another relay has moved already stays where it is."""
    await lock_rows(c, enrollments)
    found = await fetch(
        c,
        "update enrollments set cohort_id = null where id = any(cast(:ids as bigint[])) and status <> 'ended' "
        "and cohort_id = :cohort returning id",
        ids=list(enrollments),
        cohort=cohort,
    )
    return [r.id for r in found]


async def members(c: Connection, cohort: int) -> list[int]:
    """Everybody who is still in `cohort`."""
    return (await members_of(c, [cohort])).get(cohort, [])


async def members_of(c: Connection, cohorts: Sequence[int]) -> dict[int, list[int]]:
    """Cohort → everybody who is still in it, for those with anybody."""
    found = await fetch(
        c,
        "select cohort_id, array_agg(id order by id) as ids from enrollments "
        "where cohort_id = any(cast(:cohorts as bigint[])) and status <> 'ended' group by 1",
        cohorts=list(cohorts),
    )
    return {r.cohort_id: r.ids for r in found}


async def plans_of(c: Connection, cohorts: Sequence[int]) -> dict[int, str]:
    """Cohort → the hash of its plan, for those that there are."""
    found = await fetch(c, "select id, plan from cohorts where id = any(cast(:cohorts as bigint[]))", cohorts=list(cohorts))
    return {r.id: r.plan for r in found}


async def ended(c: Connection, enrollments: Sequence[int]) -> set[int]:
    """Those of `enrollments` that have ended."""
    found = await fetch(
        c,
        "select id from enrollments where id = any(cast(:ids as bigint[])) and status = 'ended'",
        ids=list(enrollments),
    )
    return {r.id for r in found}


async def states(c: Connection, enrollments: Sequence[int]) -> dict[int, Any]:
    """Enrollment → recorded state (None: it never recorded one)."""
    found = await fetch(c, "select id, state from enrollments where id = any(cast(:ids as bigint[]))", ids=list(enrollments))
    return {r.id: r.state for r in found}


async def inputs_of(c: Connection, enrollments: Sequence[int]) -> list[Row[Any]]:
    """Every input of these enrollments in order, to rebuild them from; without ends taken back and moves that are done."""
    return await fetch(
        c,
        "select id, enrollment_id, seq, kind, at, matched, reason from inputs "
        "where enrollment_id = any(cast(:ids as bigint[])) and (note is null or note not in (:undone, :done)) "
        "order by enrollment_id, seq",
        ids=list(enrollments),
        undone=UNDONE,
        done=DONE,
    )


async def traces(c: Connection, enrollments: Sequence[int]) -> list[str]:
    """The trace of what happened last to each of these enrollments, of those that have one."""
    found = await fetch(
        c,
        "select (select i.trace from inputs i where i.enrollment_id = e.id and i.trace is not null order by i.seq desc limit 1) "
        "as trace from unnest(cast(:ids as bigint[])) as e(id)",
        ids=list(enrollments),
    )
    return [r.trace for r in found if r.trace is not None]


async def take_lanes(c: Connection, lanes: Sequence[int], owner: str, seconds: float, *, urgent: bool) -> int:
    """Take or keep a lease on each of these lanes for `seconds` of real time, for their urgent enrollments or for the others; how
    many `owner` has now. Another one keeps what it has, however it divides the lanes. The rows stay locked until the transaction
    ends."""
    found = await fetch(
        c,
        "insert into leases (name, owner, until) select cast(:what as text) || w.lane, :owner, clock_timestamp() + "
        "make_interval(secs => :seconds) from unnest(cast(:lanes as smallint[])) as w(lane) order by w.lane "
        "on conflict (name) do update set owner = excluded.owner, until = excluded.until "
        "where leases.owner = excluded.owner or leases.until < clock_timestamp() returning name",
        what=URGENT if urgent else USUAL,
        lanes=list(lanes),
        owner=owner,
        seconds=seconds,
    )
    return len(found)


async def drop_lanes(c: Connection, lanes: Sequence[int], owner: str, *, urgent: bool) -> None:
    """Give the owner's leases on these lanes back, so that another process need not wait for their end."""
    await run(
        c,
        "delete from leases where owner = :owner and name in (select cast(:what as text) || w.lane "
        "from unnest(cast(:lanes as smallint[])) as w(lane))",
        what=URGENT if urgent else USUAL,
        lanes=list(lanes),
        owner=owner,
    )
