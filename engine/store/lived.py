"""One enrollment as it was lived: everything recorded that a replay of it can go by. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch


async def enrollments_of(c: Connection, customer: int, journey: str | None) -> list[Row[Any]]:
    """The customer's enrollments (in one journey, or all), oldest first, with all that conditions may see of them: as
    `enrollments.contexts`, without an event, and last_seq, state, step, wake_at, ended_at, erased_at, `merged` (whether somebody
    was merged into the customer) and `emptied` (whether retention has taken the properties of the event they began with)."""
    return await fetch(
        c,
        "select e.id, e.customer_id, e.journey, e.plan, e.key, e.status, e.reason, e.holdout, e.depth, e.entered_at, e.vars, "
        "e.last_seq, e.state, e.step, e.wake_at, e.ended_at, p.attributes, p.erased_at, v.properties as entry, "
        "v.name as entry_name, v.occurred_at as entry_at, v.emptied, "
        "exists (select 1 from customers m where m.merged_into = p.id) as merged "
        "from enrollments e join customers p on p.id = e.customer_id join events v on v.id = e.entry_event "
        "where e.customer_id = :id and (cast(:journey as text) is null or e.journey = :journey) order by e.entered_at, e.id",
        id=customer,
        journey=journey,
    )


async def inputs(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """What reached these enrollments, in order: enrollment_id, seq, kind, at, matched, was (what it matched when it came, where a
    move has changed that since), reason, note, relayed_at, and of the event behind it event, event_name, event_at, accepted_at,
    emptied (None where there is none)."""
    return await fetch(
        c,
        "select i.enrollment_id, i.seq, i.kind, i.at, i.matched, i.was, i.reason, i.note, i.relayed_at, v.properties as event, "
        "v.name as event_name, v.occurred_at as event_at, v.accepted_at, v.emptied "
        "from inputs i left join events v on v.id = i.event_id where i.enrollment_id = any(cast(:ids as bigint[])) "
        "order by i.enrollment_id, i.seq",
        ids=list(ids),
    )


async def moved(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """How these enrollments went on after each of their moves, in order: enrollment_id, seq, at, asked, followed, done_to,
    first, old_plan, new_plan, behind, state."""
    return await fetch(
        c,
        "select enrollment_id, seq, at, asked, followed, done_to, first, old_plan, new_plan, behind, state from moved "
        "where enrollment_id = any(cast(:ids as bigint[])) order by enrollment_id, seq",
        ids=list(ids),
    )


async def parkings(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """What these enrollments were parked for, in order: enrollment_id, seq, at, op, visit, attempt, step, reason."""
    return await fetch(
        c,
        "select enrollment_id, seq, at, op, visit, attempt, step, reason from parkings "
        "where enrollment_id = any(cast(:ids as bigint[])) order by enrollment_id, seq",
        ids=list(ids),
    )


async def brought_about(c: Connection, customer: int, source: str) -> list[Row[Any]]:
    """The keys under which the journeys of a customer brought events about, with their moments: key, at."""
    return await fetch(
        c,
        "select message_id as key, occurred_at as at from events where customer_id = :id and source = :source order by id",
        id=customer,
        source=source,
    )


async def tasks(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """The tasks of these enrollments: enrollment_id, key, at."""
    return await fetch(
        c,
        "select enrollment_id, key, created_at as at from tasks where enrollment_id = any(cast(:ids as bigint[])) order by id",
        ids=list(ids),
    )


async def events(c: Connection, customer: int, own: Sequence[str]) -> list[Row[Any]]:
    """Everything recorded of a customer but what comes from sources in `own`, in order of occurrence: source, message_id, name,
    properties, depth, occurred_at, emptied, and of a call that enrolled, its `journey`."""
    return await fetch(
        c,
        "select v.source, v.message_id, v.name, v.properties, v.depth, v.occurred_at, v.emptied, n.journey from events v "
        "left join enrollments n on n.entry_event = v.id and v.name = '$enroll' "
        "where v.customer_id = :id and v.source <> all(cast(:own as text[])) order by v.occurred_at, v.id",
        id=customer,
        own=list(own),
    )


async def name_of(c: Connection, customer: int) -> str | None:
    """A user id of the customer, None without one."""
    found = await fetch(c, "select min(value) as name from identifiers where customer_id = :id and kind = 'user_id'", id=customer)
    return None if found[0].name is None else str(found[0].name)


async def removes_messages(c: Connection) -> bool:
    """Whether retention has ever looked for rows of the ledger to remove."""
    return bool((await fetch(c, "select exists (select 1 from retention where starts_with(kind, 'messages'))"))[0][0])
