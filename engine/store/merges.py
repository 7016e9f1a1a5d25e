"""Two customers become one in the store, and two again: which rows go along, and the record from which it is undone.

Everything here takes pairs and works on all of them at once. The caller holds the locks of all customers concerned, and then of
their enrollments, in id order. Every table that names a customer stands in CARRIED or WORKED_OUT: a test
looks for those that don't.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.core.wire import Json
from engine.store import broadcast_people, computed
from engine.store.customers import STRONGEST, stronger
from engine.store.database import Connection, fetch, rows, run
from engine.store.events import TELLING

UNDO_DAYS = 30
"""How long a merge can be undone; then its record, which holds attributes, is emptied."""

CARRIED = frozenset(
    {
        "broadcast_people",
        "computed",
        "consents",
        "decisions",
        "enrollments",
        "events",
        "holds",
        "identifiers",
        "inbox",
        "messages",
        "planned",
        "refusals",
        "short_links",
        "stage_history",
        "suppressions",
        "tasks",
    }
)
"""The tables with a `customer_id` whose rows a merge carries. What is kept in `computed` follows from the events: it is
forgotten, for both, and made anew from theirs."""

WORKED_OUT = frozenset({"memberships"})
"""Those whose rows follow from the others': a merge takes them away, and they are worked out anew."""

BY_ID = ("events", "consents", "holds", "refusals", "enrollments", "stage_history", "inbox")
"""Those whose rows an undo brings back by the numbers in the record. What belongs to an enrollment follows it."""

_PAIRS = "unnest(cast(:gone as bigint[]), cast(:kept as bigint[])) as w(gone, kept)"

Pair = tuple[int, int]
"""(gone, kept)."""


def _pairs(pairs: Sequence[Pair]) -> dict[str, list[int]]:
    return {"gone": [g for g, _ in pairs], "kept": [k for _, k in pairs]}


async def begin(c: Connection, pairs: Sequence[Pair], causes: Sequence[str], actor: str, at: datetime) -> dict[int, int]:
    """New records, still empty: gone → the merge's number."""
    found = await fetch(
        c,
        "insert into merges (at, actor, cause, gone, kept) select :at, :actor, w.cause, w.gone, w.kept from "
        "unnest(cast(:gone as bigint[]), cast(:kept as bigint[]), cast(:causes as text[])) as w(gone, kept, cause) "
        "returning id, gone",
        at=at,
        actor=actor,
        causes=list(causes),
        **_pairs(pairs),
    )
    return {r.gone: r.id for r in found}


async def record(c: Connection, bodies: Mapping[int, Json]) -> None:
    """What each merge changed: number → the record."""
    await run(
        c,
        "update merges set record = r.record from jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, record jsonb) "
        "where merges.id = r.id",
        rows=rows({"id": i, "record": body} for i, body in bodies.items()),
    )


Said = tuple[datetime, int]
"""When something was said, and the number of the event, which orders what was said at one moment."""


async def newest(c: Connection, ids: Sequence[int]) -> dict[int, dict[str, Said]]:
    """Customer → attribute → the newest event that set or removed it."""
    found = await fetch(
        c,
        "select distinct on (e.customer_id, k.name) e.customer_id, k.name, e.occurred_at, e.id "
        "from events e, jsonb_object_keys(e.properties) as k(name) "
        "where e.customer_id = any(cast(:ids as bigint[])) and e.name = any(cast(:names as text[])) "
        "order by e.customer_id, k.name, e.occurred_at desc, e.id desc",
        ids=list(ids),
        names=list(TELLING),
    )
    by_customer: dict[int, dict[str, Said]] = {i: {} for i in ids}
    for r in found:
        by_customer[r.customer_id][r.name] = (r.occurred_at, r.id)
    return by_customer


async def inside(c: Connection, pairs: Sequence[Pair]) -> list[Row[Any]]:
    """The enrollments of those who go, and the unfinished ones of those who stay, locked in id order: id, customer_id, journey,
    plan, key, number, status, entered_at."""
    return await fetch(
        c,
        "select id, customer_id, journey, plan, key, number, status, entered_at from enrollments "
        "where customer_id = any(cast(:gone as bigint[])) or (customer_id = any(cast(:kept as bigint[])) and status <> 'ended') "
        "order by id for no key update",
        **_pairs(pairs),
    )


async def standing(c: Connection, enrollments: Sequence[int]) -> dict[int, dict[str, Json]]:
    """How these enrollments stand, which are about to be ended: status, reason, journey, and what ends with them: open tasks and
    holds by number, messages that wait as [key, status, reason]. What may have arrived isn't among these."""
    found = await fetch(
        c,
        "select e.id, e.status, e.reason, e.journey, "
        "(select coalesce(jsonb_agg(t.id), '[]') from tasks t where t.enrollment_id = e.id and t.status = 'open') as tasks, "
        "(select coalesce(jsonb_agg(h.id), '[]') from holds h where h.enrollment_id = e.id and h.closed_at is null) as holds, "
        "(select coalesce(jsonb_agg(jsonb_build_array(m.key, m.status, m.reason)), '[]') from messages m "
        "where m.enrollment_id = e.id and m.status in ('deferred', 'reserved', 'parked') and m.reason <> 'unknown') as messages "
        "from enrollments e where e.id = any(cast(:ids as bigint[]))",
        ids=list(enrollments),
    )
    return {r.id: dict(r._mapping) for r in found}


async def say_again(c: Connection, items: Sequence[dict[str, Any]]) -> list[int]:
    """Consent statements that hold on: customer_id, channel, topic, state, source, wording, at, until. Their numbers."""
    if not items:
        return []
    numbers = await fetch(
        c, "select nextval(pg_get_serial_sequence('consents', 'id')) as id from generate_series(1, :n)", n=len(items)
    )
    numbered = [{**item, "id": r.id} for item, r in zip(items, numbers, strict=True)]
    await run(
        c,
        "insert into consents (id, customer_id, channel, topic, state, source, wording, at, until, via, recorded_at) "
        "overriding system value "
        "select id, customer_id, channel, topic, state, source, wording, at, until, 'merge', at "
        "from jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, customer_id bigint, channel text, topic text, state text, "
        "source text, wording text, at timestamptz, until timestamptz)",
        rows=rows(numbered),
    )
    return [item["id"] for item in numbered]


async def carry(c: Connection, pairs: Sequence[Pair], numbers: Mapping[int, int]) -> dict[int, dict[str, list[Any]]]:
    """Everything of those who go is now of those who stay; gone → table → the rows' ids (of identifiers: [kind, value];
    of broadcasts: [number, whether who stays wasn't to be reached before]).

    A message that the provider put off needs a slot among all those that are there now. `numbers`: enrollment → another number,
    where two run side by side. Enrollments keep the lane that their inputs go in."""
    given = _pairs(pairs)
    await run(
        c,
        f"update messages set status = 'deferred', slot_at = null from {_PAIRS} "
        "where customer_id in (w.gone, w.kept) and status = 'reserved' and reason = 'provider'",
        **given,
    )
    await run(
        c,
        f"update decisions set customer_id = w.kept from messages m join {_PAIRS} on m.customer_id = w.gone "
        "where decisions.key = m.key",
        **given,
    )
    for table in ("planned", "messages", "tasks", "short_links"):
        await run(c, f"update {table} set customer_id = w.kept from {_PAIRS} where customer_id = w.gone", **given)
    await _carry_suppressions(c, given)
    await computed.forget(c, [gone for gone, _ in pairs], [kept for _, kept in pairs])
    # Who they are together is worked out anew when the door is told, and when two of them are told apart. What one of them was in
    # already nobody enters again.
    await run(
        c,
        f"with moved as (delete from memberships using {_PAIRS} where customer_id = w.gone "
        "returning w.kept, segment, since, cause, event_id) "
        "insert into memberships (customer_id, segment, since, cause, event_id) "
        "select distinct on (kept, segment) * from moved order by kept, segment, since on conflict do nothing",
        **given,
    )
    await run(
        c,
        f"update stage_history set until = sojourn_now() from {_PAIRS} where customer_id = w.gone and until is null",
        **given,
    )
    moved: dict[int, dict[str, list[Any]]] = {gone: {} for gone, _ in pairs}
    for table in BY_ID:
        change, values = "", {}
        if table == "enrollments":
            others = "unnest(cast(:numbered as bigint[]), cast(:numbers as integer[])) as n(id, number)"
            change = ", lane = coalesce(t.lane, t.customer_id % 64), "
            change += f"number = coalesce((select n.number from {others} where n.id = t.id), t.number)"
            values = {"numbered": list(numbers), "numbers": list(numbers.values())}
        statement = f"update {table} t set customer_id = w.kept{change} from {_PAIRS} where t.customer_id = w.gone "
        for r in await fetch(c, statement + "returning w.gone, t.id", **given, **values):
            moved[r.gone].setdefault(table, []).append(r.id)
    statement = f"update identifiers set customer_id = w.kept from {_PAIRS} where customer_id = w.gone "
    for r in await fetch(c, statement + "returning w.gone, kind, value", **given):
        moved[r.gone].setdefault("identifiers", []).append([r.kind, r.value])
    for r in await broadcast_people.carry(c, pairs):
        moved[r.gone].setdefault("broadcast_people", []).append([r.broadcast_id, r.came])
    return moved


async def _carry_suppressions(c: Connection, given: Mapping[str, list[int]]) -> None:
    # An address that one of the two must not get stays so.
    await run(
        c,
        f"with moved as (delete from suppressions using {_PAIRS} where customer_id = w.gone "
        "returning w.kept, channel, address, reason, at, lifted_at) "
        "insert into suppressions (customer_id, channel, address, reason, at, lifted_at) "
        "select distinct on (kept, channel, address) * from moved "
        f"order by kept, channel, address, lifted_at desc nulls first, {STRONGEST} "
        "on conflict (customer_id, channel, address) do update set lifted_at = null, "
        f"at = greatest(suppressions.at, excluded.at), reason = {stronger('suppressions', 'excluded')} "
        "where excluded.lifted_at is null",
        **given,
    )


async def become_one(c: Connection, pairs: Sequence[Pair]) -> dict[int, list[int]]:
    """Those who go, and all who had been merged into them, lead to those who stay; gone → who had been merged into it. Their
    attributes are empty from now on: the record has them."""
    given = _pairs(pairs)
    followers: dict[int, list[int]] = {gone: [] for gone, _ in pairs}
    statement = f"update customers set merged_into = w.kept from {_PAIRS} where merged_into = w.gone returning id, w.gone"
    for r in await fetch(c, statement, **given):
        followers[r.gone].append(r.id)
    await run(
        c,
        f"update customers set merged_into = w.kept, attributes = '{{}}', updated_at = sojourn_now() from {_PAIRS} "
        "where id = w.gone",
        **given,
    )
    return followers


async def write_people(c: Connection, people: Sequence[dict[str, Any]]) -> None:
    """Attributes and standing of customers: id, attributes, restricted, objected, merged_into."""
    await run(
        c,
        "update customers set attributes = r.attributes, restricted = r.restricted, objected = r.objected, "
        "merged_into = r.merged_into, updated_at = sojourn_now() from jsonb_to_recordset(cast(:rows as jsonb)) "
        "as r(id bigint, attributes jsonb, restricted boolean, objected boolean, merged_into bigint) where customers.id = r.id",
        rows=rows(people),
    )


async def forget_records(c: Connection) -> int:
    """Merges that are too old to be undone lose what they hold of people; how many."""
    return await run(
        c,
        "update merges set record = null where record is not null and at < sojourn_now() - make_interval(days => :days)",
        days=UNDO_DAYS,
    )


async def last_consents(c: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Customer → the number of their newest consent statement, of those who have one."""
    found = await fetch(
        c,
        "select customer_id, max(id) as id from consents where customer_id = any(cast(:ids as bigint[])) group by 1",
        ids=list(ids),
    )
    return {r.customer_id: r.id for r in found}


async def of_customer(c: Connection, customer: int) -> list[Row[Any]]:
    """The merges in which this customer took part, oldest first: id, at, actor, cause, gone, kept, undone_at, `names`: the
    identifiers that came with who went, as [kind, value] (none once the record is too old)."""
    return await fetch(
        c,
        "select id, at, actor, cause, gone, kept, undone_at, coalesce(record->'moved'->'identifiers', '[]') as names from merges "
        "where kept = :id or gone = :id order by id",
        id=customer,
    )
