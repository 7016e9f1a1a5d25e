"""Enrollments and their numbered inputs: who is in which journey, what happened to them, and how they end.

Callers hold the lock of the customers concerned (`customers.lock`), which is what makes numbers and uniqueness exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Row

from engine.observe import tracing
from engine.store import ledger, planned
from engine.store.database import Connection, fetch, rows, run

CHANNEL = "sojourn_inputs"
"""PostgreSQL NOTIFY channel on which it is said that the relay has work."""


async def of_customers(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """Enrollments of these customers that an event can concern: live or parked, or ended with their goal window open; with
    what they entered by (`entry`, `entry_name`, `entered_at`). Their rows are locked in id order, as everyone locks them."""
    return await fetch(
        c,
        "select e.id, e.customer_id, e.journey, e.plan, e.key, e.number, e.status, e.vars, e.entered_at, e.goal_at, "
        "e.goal_until, e.depth, v.properties as entry, v.name as entry_name, v.occurred_at as entry_at "
        "from enrollments e join events v on v.id = e.entry_event "
        "where e.customer_id = any(cast(:ids as bigint[])) "
        "and (e.status <> 'ended' or (e.goal_at is null and e.goal_until > sojourn_now())) order by e.id "
        "for no key update of e",
        ids=list(ids),
    )


async def insert(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """New enrollments with their first input (number 1, kind `begin`): id, customer_id, journey, plan, key, number, holdout,
    global_holdout (its name, where the customer is in it), depth, entry_event, entered_at, goal_until, lane, urgent (the relay
    brings it before the others, for good), once (what only one person may be in for); `ended_at` and `reason` where one batch
    began and ended it."""
    if items:
        await run(
            c,
            """with r as (
                select * from jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, customer_id bigint, journey text,
                    plan text, key text, number integer, holdout boolean, depth smallint, entry_event bigint,
                    entered_at timestamptz, goal_until timestamptz, lane smallint, once text, ended_at timestamptz, reason text,
                    global_holdout text, urgent boolean, trace text)
            ), e as (
                insert into enrollments (id, customer_id, journey, plan, key, number, holdout, depth, entry_event,
                    entered_at, goal_until, once, global_holdout, urgent, status, ended_at, reason)
                select id, customer_id, journey, plan, key, number, holdout, depth, entry_event, entered_at, goal_until, once,
                    global_holdout, urgent, case when ended_at is null then 'live' else 'ended' end, ended_at,
                    coalesce(reason, '') from r
            )
            insert into inputs (enrollment_id, seq, lane, urgent, kind, at, event_id, trace)
            select id, 1, lane, urgent, 'begin', entered_at, entry_event, coalesce(trace, :trace) from r order by id""",
            rows=rows(items),
            trace=tracing.carried(),
        )


async def append_inputs(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """Number and write inputs, in order: enrollment_id, kind, at, event_id, matched, reason. They stay in the lane in which their
    enrollment began, also where it has come to another customer since."""
    if items:
        await run(
            c,
            """with r as (
                select *, row_number() over () as ord from jsonb_to_recordset(cast(:rows as jsonb)) as r(enrollment_id bigint,
                    kind text, at timestamptz, event_id bigint, matched jsonb, reason text, trace text)
            ), n as (
                select enrollment_id, count(*) as n from r group by 1
            ), e as (
                update enrollments set last_seq = last_seq + n.n from n where enrollments.id = n.enrollment_id
                returning enrollments.id, coalesce(enrollments.lane, enrollments.customer_id % 64) as lane, enrollments.urgent,
                    enrollments.last_seq - n.n as base
            )
            insert into inputs (enrollment_id, seq, lane, urgent, kind, at, event_id, matched, reason, trace)
            select r.enrollment_id, e.base + row_number() over (partition by r.enrollment_id order by r.ord),
                e.lane, e.urgent, r.kind, r.at, r.event_id, coalesce(r.matched, '[]'), coalesce(r.reason, ''),
                coalesce(r.trace, :trace)
            from r join e on e.id = r.enrollment_id order by r.ord""",
            rows=rows(items),
            trace=tracing.carried(),
        )


async def end(c: Connection, items: Sequence[dict[str, Any]], *, close_tasks: bool) -> list[int]:
    """End enrollments (id, reason, at) that haven't ended: closes the holds that lasted while they ran, releases what they had
    reserved or deferred (what may have arrived already counts as sent), closes their open tasks if `close_tasks`, and wakes the
    customer's messages that those holds paused. The ids that ended now."""
    if not items:
        return []
    ended = await fetch(
        c,
        "update enrollments set status = 'ended', reason = r.reason, ended_at = r.at, wake_at = null "
        "from jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, reason text, at timestamptz) "
        "where enrollments.id = r.id and status <> 'ended' returning enrollments.id",
        rows=rows(items),
    )
    ids = [r.id for r in ended]
    if not ids:
        return []
    await ledger.drop(c, ids, "live", "the journey had ended")
    await planned.forget(c, ids)
    if close_tasks:
        await run(
            c,
            "update tasks set status = 'closed', closed_at = sojourn_now() "
            "where enrollment_id = any(cast(:ids as bigint[])) and status = 'open'",
            ids=ids,
        )
    closed = await fetch(
        c,
        "update holds set closed_at = sojourn_now() where enrollment_id = any(cast(:ids as bigint[])) "
        "and closed_at is null returning customer_id, pause",
        ids=ids,
    )
    await wake_deferred(c, [(r.customer_id, r.pause) for r in closed])
    return ids


async def wake_deferred(c: Connection, concerned: Sequence[tuple[int, Sequence[str] | None]]) -> None:
    """Have the messages of these (customer, tiers; None: all of them) that the gates deferred decided afresh: one `again` input
    each. One that a provider put off stays put off. The caller holds the locks of their enrollments."""
    if not concerned:
        return
    found = await fetch(
        c,
        "select distinct m.enrollment_id from messages m "
        "join jsonb_to_recordset(cast(:rows as jsonb)) as r(customer_id bigint, tiers jsonb) on r.customer_id = m.customer_id "
        "join enrollments e on e.id = m.enrollment_id and e.status = 'live' "
        "where m.status = 'deferred' and m.reason <> 'provider' and (r.tiers is null or r.tiers ? m.tier) order by 1",
        rows=rows({"customer_id": i, "tiers": None if t is None else list(t)} for i, t in concerned),
    )
    if found:
        await try_again(c, [r.enrollment_id for r in found])


async def reach_goals(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """Count goals (id, at, value) for enrollments that haven't reached theirs."""
    if items:
        await run(
            c,
            "update enrollments set goal_at = r.at, goal_value = r.value "
            "from jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, at timestamptz, value double precision) "
            "where enrollments.id = r.id and goal_at is null",
            rows=rows(items),
        )


async def contexts(c: Connection, wanted: Sequence[tuple[int, int]]) -> dict[int, Row[Any]]:
    """For (enrollment, input number or 0): all that its conditions and templates may see. Rows: id, customer_id, journey, plan,
    key, status, reason, holdout, depth, entered_at, vars, attributes, entry/entry_name/entry_at and
    event/event_name/event_at (None without one)."""
    found = await fetch(
        c,
        "select e.id, e.customer_id, e.journey, e.plan, e.key, e.status, e.reason, e.holdout, e.depth, e.entered_at, e.vars, "
        "p.attributes, v.properties as entry, v.name as entry_name, v.occurred_at as entry_at, "
        "x.properties as event, x.name as event_name, x.occurred_at as event_at "
        "from unnest(cast(:ids as bigint[]), cast(:seqs as integer[])) as w(id, seq) join enrollments e on e.id = w.id "
        "join customers p on p.id = e.customer_id join events v on v.id = e.entry_event "
        "left join inputs i on w.seq > 0 and i.enrollment_id = w.id and i.seq = w.seq left join events x on x.id = i.event_id",
        ids=[i for i, _ in wanted],
        seqs=[s for _, s in wanted],
    )
    return {r.id: r for r in found}


async def matched_inputs(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """Every event input of these enrollments that matched a wait, in order of occurrence: enrollment_id, seq, at, matched."""
    return await fetch(
        c,
        "select i.enrollment_id, i.seq, i.at, i.matched from inputs i where i.enrollment_id = any(cast(:ids as bigint[])) "
        "and i.kind = 'event' order by i.at, i.seq",
        ids=list(ids),
    )


async def record_positions(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """The projection of where enrollments stand: id, step, wake_at, state (what a rebuild starts from). A state that
    has seen fewer inputs than the one that is there comes late, and is left."""
    if items:
        await lock_rows(c, [i["id"] for i in items])
        await run(
            c,
            "update enrollments set step = r.step, wake_at = r.wake_at, state = r.state from "
            "jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, step text, wake_at timestamptz, state jsonb) "
            "where enrollments.id = r.id and status <> 'ended' "
            "and coalesce((r.state ->> 6)::int, 0) >= coalesce((enrollments.state ->> 6)::int, 0)",  # it may have moved meanwhile
            rows=rows(items),
        )


async def record_deferrals(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """The projection for those whose command waits for another try: id, step, wake_at, kept_back (whether because of a pause).
    What a rebuild starts from stays as it is."""
    if items:
        await lock_rows(c, [i["id"] for i in items])
        await run(
            c,
            "update enrollments set step = r.step, wake_at = r.wake_at, kept_back = r.kept_back from "
            "jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, step text, wake_at timestamptz, kept_back boolean) "
            "where enrollments.id = r.id and status <> 'ended'",
            rows=rows(items),
        )


async def try_again(c: Connection, ids: Sequence[int]) -> None:
    """An `again` input for each of these enrollments, whose rows the caller has locked."""
    at = (await fetch(c, "select sojourn_now()"))[0][0]
    await append_inputs(c, [{"enrollment_id": i, "kind": "again", "at": at} for i in ids])


async def write_vars(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """Merge `vars` into enrollments that haven't ended: id, vars."""
    if items:
        await lock_rows(c, [i["id"] for i in items])
        await run(
            c,
            "update enrollments set vars = enrollments.vars || r.vars from "
            "jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, vars jsonb) where enrollments.id = r.id "
            "and enrollments.status <> 'ended'",  # what comes late must not stay behind when somebody was erased
            rows=rows(items),
        )


async def lock_customers(c: Connection, enrollments: Sequence[int]) -> list[int]:
    """Lock these enrollments' customers, then all of those customers' unfinished enrollments: each in id order, so that two
    transactions never wait for each other. The customers' ids."""
    locked = sorted(set((await lock_owners(c, enrollments)).values()))
    await fetch(
        c,
        "select id from enrollments where customer_id = any(cast(:ids as bigint[])) and status <> 'ended' "
        "order by id for no key update",
        ids=locked,
    )
    return locked


async def lock_owners(c: Connection, enrollments: Sequence[int]) -> dict[int, int]:
    """Enrollment → its customer, all of whom are locked in id order: whose they are behind the locks, also where a merge that was
    under way has just given them to somebody else."""
    held: dict[int, int] = {}
    while enrollments:
        found = await fetch(
            c, "select id, customer_id from enrollments where id = any(cast(:ids as bigint[]))", ids=list(enrollments)
        )
        owners = {r.id: r.customer_id for r in found}
        if owners == held:
            break
        held = owners
        await fetch(
            c,
            "select id from customers where id = any(cast(:ids as bigint[])) order by id for no key update",
            ids=sorted(set(held.values())),
        )
    return held


async def lock_all(c: Connection, customers: Sequence[int]) -> None:
    """Lock every enrollment of these (locked) customers in id order, also those that have ended."""
    await fetch(
        c,
        "select id from enrollments where customer_id = any(cast(:ids as bigint[])) order by id for no key update",
        ids=list(customers),
    )


async def lock_rows(c: Connection, ids: Sequence[int]) -> None:
    """Lock enrollments in id order before several of them are changed."""
    await fetch(
        c, "select id from enrollments where id = any(cast(:ids as bigint[])) order by id for no key update", ids=list(ids)
    )


async def tell_relay(c: Connection) -> None:
    """Wake the relay when this transaction commits."""
    await run(c, "select pg_notify(:channel, '')", channel=CHANNEL)


async def waiting(c: Connection, steps: Sequence[tuple[str, str]], after: int, until: int, count: int) -> list[Row[Any]]:
    """id and step of the next `count` live enrollments after number `after`, up to `until`, that are recorded as waiting in one
    of these (plan, step), or with the step "" are inside the plan at all. Not those to whom the relay has yet to say that time
    passed (`$time`)."""
    return await fetch(
        c,
        "select e.id, e.step from enrollments e where e.id > :after and e.id <= :until and e.status = 'live' and exists ("
        "select 1 from unnest(cast(:plans as text[]), cast(:steps as text[])) as w(plan, step) "
        "where w.plan = e.plan and w.step in (e.step, '')) and not exists (select 1 from inputs i join events v on "
        "v.id = i.event_id where i.enrollment_id = e.id and i.relayed_at is null and v.name = '$time') order by e.id limit :n",
        plans=[p for p, _ in steps],
        steps=[s for _, s in steps],
        after=after,
        until=until,
        n=count,
    )
