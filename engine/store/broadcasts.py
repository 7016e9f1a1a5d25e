"""Broadcasts: occurrences of entries by schedule and date and by events about a thing, and the people whom each has still to
reach.

`starts_at`, `next_at` and `due_at` are logical time; `paced_until` is real time. `next_at`: when there is something to do,
null for nothing yet. `carried`: a workflow has it in its hands, number `turn`. Who works on a broadcast takes `hold` first
and customers' rows after it; nobody locks a row of `broadcasts` before customers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, rows, run

CHANNEL = "sojourn_broadcasts"
"""PostgreSQL NOTIFY channel on which it is said that a broadcast has something to do."""

LOCKS = 7_235_780
"""The class of the advisory locks of broadcasts; number 0 is that of planning."""

_ABOUT = (
    "id, journey, kind, rule, occurrence, place, entry, event_id, depth, state, created_at, starts_at, began_at, ended_at, "
    "after_id, until_id, gathered, found, skipped, entered, refused, next_at, carried, turn, "
    "cast(greatest(0, extract(epoch from paced_until - clock_timestamp())) as double precision) as pause"
)


async def hold(c: Connection, broadcast: int) -> Row[Any] | None:
    """The broadcast, whom nobody else works on or changes until this transaction ends; `pause`: real seconds until its rate
    lets it go on. None where there is none such."""
    await fetch(
        c,
        "select pg_advisory_xact_lock(cast(:locks as integer), cast(mod(:id, 2147483647) as integer))",
        locks=LOCKS,
        id=broadcast,
    )
    found = await fetch(c, f"select {_ABOUT} from broadcasts where id = :id", id=broadcast)
    return found[0] if found else None


async def plan(c: Connection, items: Sequence[Mapping[str, Any]], at: datetime) -> None:
    """Broadcasts to be, each occurrence of a rule once: journey, kind, rule, occurrence, place (of the entry in the
    journey), entry, starts_at, and event_id and depth of those that an event set off. One that is there stays as it is; a
    `date` that had been given up begins anew."""
    if items:
        await run(
            c,
            "insert into broadcasts as b (journey, kind, rule, occurrence, place, entry, event_id, depth, created_at, starts_at, "
            "next_at) "
            "select journey, kind, rule, occurrence, place, entry, event_id, coalesce(depth, 0), :at, starts_at, starts_at "
            "from jsonb_to_recordset(cast(:rows as jsonb)) as r(journey text, kind text, rule text, occurrence text, "
            "place smallint, entry jsonb, event_id bigint, depth smallint, starts_at timestamptz) order by 1, 2, 3, 4 "
            "on conflict (journey, kind, rule, occurrence) do update set state = 'open', next_at = excluded.next_at, "
            "starts_at = excluded.starts_at, after_id = 0, until_id = null, gathered = false, carried = false, "
            "turn = b.turn + 1, ended_at = null "
            "where b.kind = 'date' and b.state = 'done'",
            rows=rows(items),
            at=at,
        )


async def tell(c: Connection) -> None:
    """Have broadcasts looked at when this transaction commits."""
    await run(c, "select pg_notify(:channel, '')", channel=CHANNEL)


async def lock_planning(c: Connection) -> None:
    """Nobody else plans until this transaction ends."""
    await fetch(c, "select pg_advisory_xact_lock(cast(:locks as integer), 0)", locks=LOCKS)


async def unbegun(c: Connection) -> list[Row[Any]]:
    """Occurrences of schedules that nobody has begun: id, journey, rule, occurrence, starts_at, state; and the entries by
    date that are in force (kind `date`)."""
    return await fetch(
        c,
        "select id, journey, kind, rule, occurrence, starts_at, state from broadcasts where state in ('open', 'paused') "
        "and (kind = 'date' or (kind = 'schedule' and began_at is null)) order by id",
    )


async def redefine(c: Connection, items: Sequence[Mapping[str, Any]]) -> None:
    """Give planned broadcasts (id) the entry as it is deployed now: place, entry, starts_at; one that has begun only its
    place."""
    if items:
        await run(
            c,
            "update broadcasts b set place = r.place, entry = case when b.began_at is null then r.entry else b.entry end, "
            "starts_at = case when b.began_at is null then r.starts_at else b.starts_at end, "
            "next_at = case when b.began_at is null and b.next_at is not null then r.starts_at else b.next_at end "
            "from jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, place smallint, entry jsonb, starts_at timestamptz) "
            "where b.id = r.id and (b.place <> r.place or (b.began_at is null and (b.entry <> r.entry or b.starts_at <> "
            "r.starts_at)))",
            rows=rows(items),
        )


async def withdraw(c: Connection, ids: Sequence[int]) -> None:
    """Take unbegun occurrences back: no journey has them any more."""
    if ids:
        await run(c, "delete from broadcasts where id = any(cast(:ids as bigint[])) and began_at is null", ids=list(ids))


async def close(c: Connection, ids: Sequence[int], state: str, at: datetime) -> list[int]:
    """Give these up that are open or paused: nobody is reached any more. `state`: done or cancelled. Those it concerned."""
    # People before the broadcasts' rows, as everybody locks them.
    await run(c, "delete from broadcast_people where broadcast_id = any(cast(:ids as bigint[]))", ids=list(ids))
    found = await fetch(
        c,
        "update broadcasts set state = :state, ended_at = :at, carried = false, turn = turn + 1, next_at = null "
        "where id = any(cast(:ids as bigint[])) and state in ('open', 'paused') returning id",
        ids=list(ids),
        state=state,
        at=at,
    )
    return [r.id for r in found]


async def miss(c: Connection, ids: Sequence[int], at: datetime) -> None:
    """Nobody began these in time, and now nobody will."""
    if ids:
        await run(
            c,
            "update broadcasts set state = 'missed', ended_at = :at, carried = false, turn = turn + 1, next_at = null "
            "where id = any(cast(:ids as bigint[])) and state = 'open' and began_at is null",
            ids=list(ids),
            at=at,
        )


async def in_hands(c: Connection) -> list[Row[Any]]:
    """Broadcasts that a workflow is said to carry: id, turn."""
    return await fetch(c, "select id, turn from broadcasts where state = 'open' and carried order by id")


async def ready(c: Connection, count: int) -> list[Row[Any]]:
    """Broadcasts that have something to do and that no workflow carries: id, turn."""
    return await fetch(
        c,
        "select id, turn from broadcasts where state = 'open' and not carried and next_at <= sojourn_now() "
        "order by next_at, id limit :n",
        n=count,
    )


async def carried(c: Connection, turns: Sequence[tuple[int, int]]) -> None:
    """Workflows carry these (broadcast, turn), unless they have handed them back already."""
    if turns:
        await run(
            c,
            "update broadcasts b set carried = true, next_at = null "
            "from unnest(cast(:ids as bigint[]), cast(:turns as integer[])) as w(id, turn) "
            "where b.id = w.id and b.turn = w.turn and b.state = 'open' and not b.carried",
            ids=[i for i, _ in turns],
            turns=[t for _, t in turns],
        )


async def hand_back(c: Connection, broadcast: int, at: datetime | None) -> None:
    """The workflow has nothing to do until `at` (None: until somebody is found). What was noted meanwhile counts where it is
    earlier."""
    await run(
        c,
        "update broadcasts set carried = false, turn = turn + 1, next_at = least(next_at, cast(:at as timestamptz)) "
        "where id = :id",
        id=broadcast,
        at=at,
    )


async def begin(c: Connection, broadcast: int, at: datetime) -> Row[Any]:
    """The audience is taken now: from those who are customers by now. `began_at`, `until_id`."""
    found = await fetch(
        c,
        "update broadcasts set began_at = :at, until_id = coalesce((select max(id) from customers), 0) where id = :id "
        "returning began_at, until_id",
        id=broadcast,
        at=at,
    )
    return found[0]


async def gathered(c: Connection, broadcast: int, after: int, found: int, skipped: int, *, over: bool) -> None:
    """A page was looked through: the customers up to id `after`, of whom `found` are meant and `skipped` are too late;
    `over`: it was the last."""
    await run(
        c,
        "update broadcasts set after_id = :after, found = found + :found, skipped = skipped + :skipped, gathered = :over "
        "where id = :id",
        id=broadcast,
        after=after,
        found=found,
        skipped=skipped,
        over=over,
    )


async def reached(c: Connection, broadcast: int, entered: int, refused: int, pause: float) -> None:
    """A page was enrolled: `entered` people came in, `refused` didn't. The next page may follow after `pause` real seconds,
    counted from when this one was allowed."""
    await run(
        c,
        "update broadcasts set entered = entered + :entered, refused = refused + :refused, "
        "paced_until = greatest(paced_until, clock_timestamp()) + make_interval(secs => :pause) where id = :id",
        id=broadcast,
        entered=entered,
        refused=refused,
        pause=pause,
    )


async def of_dates(c: Connection, journeys: Sequence[str]) -> list[Row[Any]]:
    """The entries by date of these journeys that are in force: id, journey, rule, occurrence."""
    return await fetch(
        c,
        "select id, journey, rule, occurrence from broadcasts where kind = 'date' and state in ('open', 'paused') "
        "and journey = any(cast(:journeys as text[]))",
        journeys=list(journeys),
    )


async def sooner(c: Connection, items: Sequence[Mapping[str, Any]]) -> None:
    """Somebody's moment is earlier than anything that these broadcasts had coming: id, at."""
    if items:
        await run(
            c,
            "update broadcasts b set next_at = r.at from jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, at "
            "timestamptz) where b.id = r.id and coalesce(b.next_at, 'infinity') > r.at",
            rows=rows(items),
        )


async def known(c: Connection, occurrences: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of these occurrences of schedules (journey, occurrence) that there are already."""
    found = await fetch(
        c,
        "select b.journey, b.occurrence from broadcasts b join unnest(cast(:journeys as text[]), cast(:names as text[])) "
        "as w(journey, occurrence) using (journey, occurrence) where b.kind = 'schedule'",
        journeys=[j for j, _ in occurrences],
        names=[o for _, o in occurrences],
    )
    return {(r.journey, r.occurrence) for r in found}


async def listing(
    c: Connection, *, journey: str | None = None, ids: Sequence[int] | None = None, limit: int = 50
) -> list[Row[Any]]:
    """Broadcasts, the newest first, with how many people are `waiting` to be reached and when the `next` of them is."""
    return await fetch(
        c,
        "select b.id, b.journey, b.kind, b.occurrence, b.state, b.starts_at, b.began_at, b.ended_at, b.gathered, b.found, "
        "b.skipped, b.entered, b.refused, sojourn_now() as now, coalesce(w.n, 0) as waiting, "
        "case when b.began_at is null then b.starts_at else w.next end as next from broadcasts b left join lateral (select "
        "count(*) as n, min(due_at) as next from broadcast_people p "
        "where p.broadcast_id = b.id) w on true where (cast(:journey as text) is null or b.journey = :journey) "
        "and (cast(:ids as bigint[]) is null or b.id = any(cast(:ids as bigint[]))) order by b.starts_at desc, b.id desc "
        "limit :n",
        journey=journey,
        ids=None if ids is None else list(ids),
        n=limit,
    )


async def hold_all(c: Connection, ids: Sequence[int]) -> None:
    """`hold` for several, in the order of their numbers: waits for the pages that are under way."""
    await fetch(
        c,
        "select pg_advisory_xact_lock(cast(:locks as integer), cast(mod(w.id, 2147483647) as integer)) "
        "from (select id from unnest(cast(:ids as bigint[])) as u(id) order by id) w",
        locks=LOCKS,
        ids=sorted(set(ids)),
    )


async def pause(c: Connection, ids: Sequence[int]) -> list[int]:
    """Let those of these stand that are open; their ids. The caller holds them."""
    found = await fetch(
        c,
        "update broadcasts set state = 'paused', carried = false, turn = turn + 1 "
        "where id = any(cast(:ids as bigint[])) and state = 'open' returning id",
        ids=list(ids),
    )
    return [r.id for r in found]


async def resume(c: Connection, ids: Sequence[int]) -> list[int]:
    """Let those of these go on that are paused, or open and perhaps lost by their workflow; their ids. The caller holds them."""
    found = await fetch(
        c,
        "update broadcasts set state = 'open', carried = false, turn = turn + 1, next_at = coalesce("
        "case when began_at is null then starts_at end, sojourn_now()) "
        "where id = any(cast(:ids as bigint[])) and state in ('open', 'paused') returning id",
        ids=list(ids),
    )
    return [r.id for r in found]
