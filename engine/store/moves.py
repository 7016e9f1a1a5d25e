"""Enrollments on their way to another plan: who is to be asked, who has been let go by a cohort, where they go on.

Callers of what changes enrollments hold the locks of their customers and of themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Row

from engine.core.moving import MATCHING
from engine.core.wire import Json
from engine.store.database import Connection, fetch, rows, run
from engine.store.relay import DONE


async def begin(c: Connection, deployment: int, items: Sequence[Mapping[str, Any]]) -> None:
    """What a deployment moves: journey, plan, named (old step → new step). Earlier moves of these journeys are over."""
    if items:
        await run(
            c,
            "update moves set done_at = clock_timestamp() where done_at is null and journey = any(cast(:names as text[]))",
            names=[item["journey"] for item in items],
        )
        await run(
            c,
            "insert into moves (deployment, journey, plan, named) select :deployment, journey, plan, named from "
            "jsonb_to_recordset(cast(:rows as jsonb)) as r(journey text, plan text, named jsonb) order by journey",
            deployment=deployment,
            rows=rows(items),
        )


async def give_up(c: Connection, journeys: Mapping[str, str]) -> None:
    """End what is not done of moves to another plan than these journeys (name → plan hash) have now."""
    await run(
        c,
        "update moves set done_at = clock_timestamp() from jsonb_each_text(cast(:plans as jsonb)) p "
        "where done_at is null and journey = p.key and plan <> p.value",
        plans=rows([dict(journeys)])[1:-1],
    )


async def unfinished(c: Connection) -> Row[Any] | None:
    """The oldest move of which not everybody has been asked, locked: id, deployment, journey, plan, named, after."""
    found = await fetch(
        c,
        "select id, deployment, journey, plan, named, after from moves where done_at is null order by id limit 1 for update",
    )
    return found[0] if found else None


async def next_inside(c: Connection, journey: str, plan: str, after: int, count: int) -> list[int]:
    """The next enrollments of a journey after number `after` that haven't ended and are on another plan than `plan`."""
    found = await fetch(
        c,
        "select id from enrollments where journey = :journey and status in ('live', 'parked') and plan <> :plan and id > :after "
        "order by id limit :n",
        journey=journey,
        plan=plan,
        after=after,
        n=count,
    )
    return [r.id for r in found]


async def standing(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """Those of these (locked) enrollments that haven't ended: id, journey, plan, step, status."""
    return await fetch(
        c,
        "select id, journey, plan, step, status from enrollments where id = any(cast(:ids as bigint[])) and status <> 'ended' "
        "order by id",
        ids=list(ids),
    )


async def progress(c: Connection, move: int, after: int, asked: int) -> None:
    """Everybody up to enrollment `after` has been asked, `asked` of them now."""
    await run(c, "update moves set after = :after, asked = asked + :n where id = :id", id=move, after=after, n=asked)


async def finish(c: Connection, move: int) -> None:
    """Everybody has been asked."""
    await run(c, "update moves set done_at = clock_timestamp() where id = :id", id=move)


async def let_go(c: Connection, cohort: int, plan: str, ids: Sequence[int]) -> list[Row[Any]]:
    """Those of `ids` that still live in `cohort` on `plan`, with the moves that they were told and that aren't done, in order:
    id, seq, at, matched, to. Whom another has taken over already isn't among them."""
    return await fetch(
        c,
        "select e.id, i.seq, i.at, i.matched, i.reason as to from enrollments e join inputs i on i.enrollment_id = e.id "
        "and i.kind = 'move' and i.note is distinct from :done where e.id = any(cast(:ids as bigint[])) "
        "and e.cohort_id = :cohort and e.plan = :plan and e.status <> 'ended' order by e.id, i.seq",
        ids=list(ids),
        cohort=cohort,
        plan=plan,
        done=DONE,
    )


async def go_on(c: Connection, cohort: int, items: Sequence[Mapping[str, Any]]) -> None:
    """Take enrollments out of `cohort`, which admits nobody any more (one who came back would not be heard there), to go on with
    another plan: id, plan, step, state, wake_at, status (where it was let go parked: as it is, for it may have been retried
    meanwhile), over (the number of the last input up to which their moves are done)."""
    await run(c, "update cohorts set open = false where id = :cohort", cohort=cohort)
    await run(
        c,
        "update enrollments set plan = r.plan, cohort_id = null, step = r.step, state = r.state, wake_at = r.wake_at, "
        "status = case when r.status = 'parked' then enrollments.status else r.status end, "
        "reason = case when r.status = 'live' then '' else enrollments.reason end from "
        "jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, plan text, step text, state jsonb, wake_at timestamptz, "
        "status text) where enrollments.id = r.id and enrollments.status <> 'ended'",
        rows=rows(items),
    )
    await run(
        c,
        "update inputs set note = :done, relayed_at = coalesce(relayed_at, clock_timestamp()) from "
        "jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, over integer) "
        "where enrollment_id = r.id and kind = 'move' and seq <= r.over",
        rows=rows({"id": item["id"], "over": item["over"]} for item in items),
        done=DONE,
    )


async def note(c: Connection, old: str, items: Sequence[Mapping[str, Any]]) -> None:
    """Keep how enrollments went on that were on plan `old`, each with the input that was appended last: id, plan, at, asked (the
    number of the move that it was let go for), followed (whether it went by one), done_to (the number up to which its moves are
    over; where it followed one, that), first (the reset that it followed before that, or null), behind, left (the state in which
    it was let go)."""
    await run(
        c,
        "insert into moved (enrollment_id, seq, at, asked, followed, done_to, first, old_plan, new_plan, behind, state) "
        'select e.id, e.last_seq, r.at, r.asked, r.followed, r.done_to, r.first, :old, r.plan, r.behind, r."left" from '
        "jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, plan text, at timestamptz, asked integer, followed boolean, "
        'done_to integer, first integer, behind boolean, "left" jsonb) join enrollments e on e.id = r.id',
        old=old,
        rows=rows(items),
    )


async def matching(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """The inputs of these enrollments that name operations of their plan: enrollment_id, seq, kind, matched."""
    return await fetch(
        c,
        "select enrollment_id, seq, kind, matched from inputs where enrollment_id = any(cast(:ids as bigint[])) "
        "and kind = any(cast(:kinds as text[])) and matched <> '[]' order by enrollment_id, seq",
        ids=list(ids),
        kinds=list(MATCHING),
    )


async def rematch(c: Connection, items: Sequence[Mapping[str, Json]]) -> None:
    """What inputs match on the plan that their enrollment has gone on with: enrollment_id, seq, matched. What they matched when
    they came is kept."""
    if items:
        await run(
            c,
            "update inputs set was = coalesce(was, inputs.matched), matched = r.matched from "
            "jsonb_to_recordset(cast(:rows as jsonb)) as r(enrollment_id bigint, seq integer, matched jsonb) "
            "where inputs.enrollment_id = r.enrollment_id and inputs.seq = r.seq",
            rows=rows(items),
        )


async def told(c: Connection, ids: Sequence[int]) -> dict[int, str]:
    """Enrollment → the plan that the newest of its moves leads to, of those of these that haven't gone on yet."""
    found = await fetch(
        c,
        "select distinct on (enrollment_id) enrollment_id, reason as plan from inputs where kind = 'move' and "
        "note is distinct from :done and enrollment_id = any(cast(:ids as bigint[])) order by enrollment_id, seq desc",
        ids=list(ids),
        done=DONE,
    )
    return {r.enrollment_id: r.plan for r in found}


async def on_their_way(c: Connection) -> dict[str, int]:
    """Journey → how many enrollments are to go on with another plan or at another step, and haven't been let go yet."""
    found = await fetch(
        c,
        "select e.journey, count(*) as n from enrollments e where e.status <> 'ended' and exists (select 1 from inputs i where "
        "i.enrollment_id = e.id and i.kind = 'move' and i.note is distinct from :done) group by 1",
        done=DONE,
    )
    return {r.journey: r.n for r in found}
