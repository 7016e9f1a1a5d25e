"""Who is in which segment and in which stage, since when and why; and how far that has been worked out.

The caller has the customers' rows locked wherever something is written about them. `cause`: "event" (`event_id` says which),
"time", or "definition": it was worked out for the first time, or anew, because what it means was deployed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, rows, run
from engine.store.selections import PAGES

SWEEP_LOCK = 7_235_781
"""Advisory lock of whoever turns a page of the sweep."""

STAGES = "$stages"
"""What all stages together are called among definitions."""

WAITS_LOCK = 7_235_782
"""The same for the sweep of those who wait."""


async def known(c: Connection) -> dict[str, Row[Any]]:
    """How far definitions have been worked out, by name: definition, after_id, until_id."""
    return {r.name: r for r in await fetch(c, "select name, definition, after_id, until_id from interpretations")}


async def newcomers(c: Connection, ids: Sequence[int]) -> set[int]:
    """Those of these customers who came into being with this transaction."""
    found = await fetch(
        c,
        "select id from customers where id = any(cast(:ids as bigint[])) and created_at >= "
        "(select logical_epoch + (now() - real_epoch) * scale from clock)",
        ids=list(ids),
    )
    return {r.id for r in found}


async def current(c: Connection, listed: bool, page: Mapping[str, Any], segments: Sequence[str]) -> dict[int, set[str]]:
    """Customer of a page (`selections.PAGES`) → those of these segments that they are in."""
    found = await fetch(
        c,
        "select p.id, array_agg(p.segment) as segments from (select customer_id as id, segment from memberships) p "
        f"where {PAGES[listed]} and p.segment = any(cast(:segments as text[])) group by 1",
        segments=list(segments),
        **page,
    )
    return {r.id: set(r.segments) for r in found}


async def stages(c: Connection, listed: bool, page: Mapping[str, Any]) -> dict[int, str]:
    """Customer of a page → stage, of those who are in one."""
    found = await fetch(
        c,
        "select p.id, p.stage from (select customer_id as id, stage from stage_history where until is null) p "
        f"where {PAGES[listed]}",
        **page,
    )
    return {r.id: r.stage for r in found}


async def enter(c: Connection, items: Sequence[Mapping[str, Any]]) -> None:
    """Customers are in segments from now on: customer_id, segment, since, cause, event_id."""
    if items:
        await run(
            c,
            "insert into memberships (customer_id, segment, since, cause, event_id) "
            "select customer_id, segment, since, cause, event_id from jsonb_to_recordset(cast(:rows as jsonb)) "
            "as r(customer_id bigint, segment text, since timestamptz, cause text, event_id bigint) on conflict do nothing",
            rows=rows(items),
        )


async def leave(c: Connection, pairs: Sequence[tuple[int, str]]) -> None:
    """These (customer, segment) are no longer."""
    if pairs:
        await run(
            c,
            "delete from memberships m using unnest(cast(:ids as bigint[]), cast(:segments as text[])) as w(id, segment) "
            "where m.customer_id = w.id and m.segment = w.segment",
            ids=[i for i, _ in pairs],
            segments=[s for _, s in pairs],
        )


async def move(c: Connection, items: Sequence[Mapping[str, Any]]) -> None:
    """Customers go to another stage: customer_id, stage (None: to none), previous, since, cause, event_id."""
    if not items:
        return
    told = rows(items)
    await run(
        c,
        "update stage_history h set until = r.since from jsonb_to_recordset(cast(:rows as jsonb)) "
        "as r(customer_id bigint, since timestamptz) where h.customer_id = r.customer_id and h.until is null",
        rows=told,
    )
    await run(
        c,
        "insert into stage_history (customer_id, stage, previous, since, cause, event_id) "
        "select customer_id, stage, previous, since, cause, event_id from jsonb_to_recordset(cast(:rows as jsonb)) "
        "as r(customer_id bigint, stage text, previous text, since timestamptz, cause text, event_id bigint) "
        "where stage is not null",
        rows=told,
    )


async def begin(c: Connection, definitions: Mapping[str, str]) -> None:
    """Work these out that are new or mean something else than before, for those who are customers by now; what isn't among
    them is forgotten, with who was in it; stages end then. With nobody there, all of it is worked out already.
    `definitions`: name → digest."""
    await run(c, "select pg_advisory_xact_lock(:lock)", lock=SWEEP_LOCK)
    names = list(definitions)
    await run(
        c,
        "insert into interpretations as i (name, definition, until_id) "
        "select w.name, w.definition, (select max(id) from customers) "
        "from unnest(cast(:names as text[]), cast(:definitions as text[])) as w(name, definition) "
        "on conflict (name) do update set definition = excluded.definition, after_id = 0, until_id = excluded.until_id "
        "where i.definition <> excluded.definition",
        names=names,
        definitions=list(definitions.values()),
    )
    await run(c, "delete from interpretations where name <> all(cast(:names as text[]))", names=names)
    await run(c, "delete from memberships where segment <> all(cast(:names as text[]))", names=names)
    if STAGES not in definitions:
        await run(c, "update stage_history set until = sojourn_now() where until is null")


async def take_sweep(c: Connection, lock: int = SWEEP_LOCK) -> bool:
    """Whether this transaction may turn a page: nobody else does until it ends."""
    found = await fetch(c, "select pg_try_advisory_xact_lock(:lock) as mine", lock=lock)
    return bool(found[0].mine)


async def worked_out(c: Connection, names: Sequence[str], last: int, *, over: bool) -> None:
    """These definitions have been worked out up to customer `last`; `over`: for all who were to be."""
    await run(
        c,
        "update interpretations set after_id = :last, until_id = case when :over then null else until_id end "
        "where name = any(cast(:names as text[]))",
        names=list(names),
        last=last,
        over=over,
    )


async def is_worked_out(c: Connection, name: str) -> bool:
    """Whether it is known of everybody whether they are in this segment; so it is of one that isn't deployed."""
    return not await fetch(c, "select 1 from interpretations where name = :name and until_id is not null", name=name)


async def sweep(c: Connection, name: str, at: datetime, of: Literal["customers", "enrollments"] = "customers") -> Row[Any]:
    """The round of the sweep `name` that is under way, else one that begins now, of those who are there by then: began_at,
    after_id, until_id."""
    found = await fetch(
        c,
        f"insert into sweeps as s (name, began_at, until_id) values (:name, :at, coalesce((select max(id) from {of}), 0)) "
        "on conflict (name) do update set began_at = coalesce(s.began_at, excluded.began_at), "
        "after_id = case when s.began_at is null then 0 else s.after_id end, "
        "until_id = case when s.began_at is null then excluded.until_id else s.until_id end "
        "returning began_at, after_id, until_id",
        name=name,
        at=at,
    )
    return found[0]


async def swept(c: Connection, name: str, last: int, *, over: bool) -> None:
    """The sweep has come to number `last`; `over`: this round is done."""
    await run(
        c,
        "update sweeps set after_id = :last, began_at = case when :over then null else began_at end where name = :name",
        name=name,
        last=last,
        over=over,
    )


async def of_customer(c: Connection, customer: int, limit: int = 100) -> list[Row[Any]]:
    """The segments that a customer is in: segment, since, cause, event_id, `event`: its name."""
    return await fetch(
        c,
        "select m.segment, m.since, m.cause, m.event_id, v.name as event from memberships m "
        "join interpretations i on i.name = m.segment left join events v on v.id = m.event_id where m.customer_id = :id "
        "order by m.segment limit :limit",
        id=customer,
        limit=limit,
    )


async def history(c: Connection, customer: int, limit: int = 50) -> list[Row[Any]]:
    """A customer's stages, the newest first: stage, previous, since, until, cause, event_id, `event`: its name."""
    return await fetch(
        c,
        "select h.stage, h.previous, h.since, h.until, h.cause, h.event_id, v.name as event from stage_history h "
        "left join events v on v.id = h.event_id where h.customer_id = :id order by h.id desc limit :limit",
        id=customer,
        limit=limit,
    )
