"""Customers, their identifiers, consents, suppressions and holds: who they are and what they allow.

Whoever decides or changes anything for a customer first takes the customer's row with `lock`, in id order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, rows, run

LANES = 64
"""Inputs are spread over this many lanes by customer; the relay's partitions own lanes."""


async def find(c: Connection, identifiers: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """(kind, value) → customer id, for those that are known."""
    if not identifiers:
        return {}
    found = await fetch(
        c,
        "select i.kind, i.value, i.customer_id from identifiers i "
        "join unnest(cast(:kinds as text[]), cast(:values as text[])) as w(kind, value) using (kind, value)",
        kinds=[k for k, _ in identifiers],
        values=[v for _, v in identifiers],
    )
    return {(r.kind, r.value): r.customer_id for r in found}


async def create(c: Connection, people: Sequence[Sequence[tuple[str, str]]]) -> list[int]:
    """New customers, each with its identifiers. The ids of those that have got all of theirs; where another process was faster
    with one, give the transaction up."""
    found = await fetch(
        c,
        """with wanted as (
            select p.ord, nextval(pg_get_serial_sequence('customers', 'id')) as id, p.identifiers
            from rows from (jsonb_to_recordset(cast(:rows as jsonb)) as (identifiers jsonb))
                with ordinality as p(identifiers, ord)
        ), named as (
            insert into identifiers (kind, value, customer_id)
            select i->>0, i->>1, w.id from wanted w, jsonb_array_elements(w.identifiers) as i order by 1, 2
            on conflict (kind, value) do nothing returning customer_id
        ), created as (
            insert into customers (id, created_at, updated_at)
            select customer_id, sojourn_now(), sojourn_now() from (select distinct customer_id from named) as n returning id
        )
        select id from created
        where (select count(*) from named n where n.customer_id = created.id)
            = (select jsonb_array_length(w.identifiers) from wanted w where w.id = created.id)""",
        rows=rows({"identifiers": p} for p in people),
    )
    return [r.id for r in found]


async def lock(c: Connection, ids: Sequence[int]) -> dict[int, Row[Any]]:
    """The customers' rows, locked in id order until the transaction ends: id, attributes, restricted, objected, erased_at,
    merged_into (who is left of two that became one; who decides for the other one decides wrongly)."""
    found = await fetch(
        c,
        "select id, attributes, restricted, objected, erased_at, merged_into from customers "
        "where id = any(cast(:ids as bigint[])) order by id for no key update",
        ids=sorted(set(ids)),
    )
    return {r.id: r for r in found}


async def write_attributes(c: Connection, changed: dict[int, dict[str, Any]]) -> None:
    """Replace the attributes of these (locked) customers."""
    if changed:
        await run(
            c,
            "update customers set attributes = r.attributes, updated_at = sojourn_now() "
            "from jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, attributes jsonb) where customers.id = r.id",
            rows=rows({"id": i, "attributes": a} for i, a in changed.items()),
        )


async def write_standing(c: Connection, customer: int, *, restricted: bool, objected: bool) -> None:
    """Whether nothing is sent to this (locked) customer, and whether they object to profiling."""
    await run(
        c,
        "update customers set restricted = :restricted, objected = :objected, updated_at = sojourn_now() where id = :id",
        id=customer,
        restricted=restricted,
        objected=objected,
    )


async def objectors(c: Connection, ids: Sequence[int]) -> frozenset[int]:
    """Those of these customers who object to profiling."""
    if not ids:
        return frozenset()
    found = await fetch(c, "select id from customers where id = any(cast(:ids as bigint[])) and objected", ids=list(ids))
    return frozenset(r.id for r in found)


async def add_consents(c: Connection, statements: Sequence[dict[str, Any]]) -> None:
    """Consent statements, which nobody changes afterwards: customer_id, channel, topic, state, source, wording, at, until, via
    (the source of the event that told us), recorded_at."""
    if statements:
        await run(
            c,
            "insert into consents (customer_id, channel, topic, state, source, wording, at, until, via, recorded_at) "
            "select customer_id, channel, topic, state, coalesce(source, ''), coalesce(wording, ''), at, until, via, recorded_at "
            "from jsonb_to_recordset(cast(:rows as jsonb)) as r(customer_id bigint, channel text, topic text, state text, "
            "source text, wording text, at timestamptz, until timestamptz, via text, recorded_at timestamptz)",
            rows=rows(statements),
        )


async def consents(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """Every statement of these customers, oldest first; its id is its version."""
    return await fetch(
        c,
        "select id, customer_id, channel, topic, state, source, wording, at, until, via from consents "
        "where customer_id = any(cast(:ids as bigint[])) order by at, id",
        ids=list(ids),
    )


def stronger(known: str, new: str) -> str:
    """SQL for the reason that stays of two for which an address is suppressed, each an alias of `suppressions`: a complaint
    before any other, a STOP, which a START lifts, last."""
    return (
        f"case when {known}.lifted_at is null and ({new}.reason = 'stop' or {known}.reason = 'complaint') "
        f"then {known}.reason else {new}.reason end"
    )


STRONGEST = "reason = 'stop', reason <> 'complaint', at desc"
"""SQL's order of several suppressions of one address: the one that stays first."""


async def suppress(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """Never use these addresses again: customer_id, channel, address, reason, at. Of whoever was erased none is kept. A STOP that
    is older than the START that lifted it changes nothing; and it takes no other reason's place, which no START lifts."""
    if items:
        await run(
            c,
            "insert into suppressions (customer_id, channel, address, reason, at) "
            "select distinct on (customer_id, channel, address) * from jsonb_to_recordset(cast(:rows as jsonb)) as "
            "r(customer_id bigint, channel text, address text, reason text, at timestamptz) "
            "where not exists (select 1 from customers p where p.id = r.customer_id and p.erased_at is not null) "
            f"order by customer_id, channel, address, {STRONGEST} "
            "on conflict (customer_id, channel, address) do update set lifted_at = null, "
            f"at = greatest(suppressions.at, excluded.at), reason = {stronger('suppressions', 'excluded')} "
            "where excluded.reason <> 'stop' or coalesce(suppressions.lifted_at <= excluded.at, true)",
            rows=rows(items),
        )


async def unstop(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """These addresses may be used again where an earlier STOP kept them from it: customer_id, channel, address, at. That is kept
    also where there was none: an older STOP that comes later changes nothing then."""
    if items:
        await run(
            c,
            "insert into suppressions (customer_id, channel, address, reason, at, lifted_at) "
            "select customer_id, channel, address, 'stop', max(at), max(at) from jsonb_to_recordset(cast(:rows as jsonb)) as "
            "r(customer_id bigint, channel text, address text, at timestamptz) "
            "where not exists (select 1 from customers p where p.id = r.customer_id and p.erased_at is not null) "
            "group by 1, 2, 3 order by 1, 2, 3 "
            "on conflict (customer_id, channel, address) do update set lifted_at = excluded.lifted_at "
            "where suppressions.reason = 'stop' "
            "and coalesce(suppressions.lifted_at, suppressions.at) < excluded.lifted_at",
            rows=rows(items),
        )


async def suppressions(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """Addresses of these customers that a channel must not use: customer_id, channel, address, reason. Who said STOP said it for
    the number, whoever else has it, however they write it, until somebody says START from it."""
    return await fetch(
        c,
        "select customer_id, channel, address, reason from suppressions "
        "where customer_id = any(cast(:ids as bigint[])) and lifted_at is null "
        "union select p.id, h.name, p.attributes ->> h.address, 'stop' from customers p "
        "join channels h on p.attributes ? h.address "
        f"where p.id = any(cast(:ids as bigint[])) and exists (select 1 from suppressions s where s.channel = h.name "
        f"and s.reason = 'stop' and {_same('s')} and s.lifted_at is null and s.customer_id <> p.id "
        f"and not exists (select 1 from suppressions l where l.channel = h.name and l.reason = 'stop' and {_same('l')} "
        "and l.lifted_at > s.at))",
        ids=list(ids),
    )


async def complaints_that_count(c: Connection, items: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Channel → how many of these complaints speak against its sender: customer_id, channel, message, told_by_provider. One per
    customer, as long as it suppresses them, and what others than the provider tell only of a message that went to them."""
    if not items:
        return {}
    found = await fetch(
        c,
        "select r.channel, count(distinct r.customer_id) as n from jsonb_to_recordset(cast(:rows as jsonb)) as "
        "r(customer_id bigint, channel text, message text, told_by_provider boolean) "
        "where not exists (select 1 from suppressions s where s.customer_id = r.customer_id and s.channel = r.channel "
        "and s.reason = 'complaint' and s.lifted_at is null) "
        "and (r.told_by_provider or exists (select 1 from messages m where m.key = r.message and m.customer_id = r.customer_id "
        "and m.channel = r.channel and m.sent_at is not null)) group by 1",
        rows=rows(items),
    )
    return {r.channel: r.n for r in found}


def _same(row: str) -> str:
    """That a suppression is of the address that `p` has on `h`, but for blanks, brackets, dots and hyphens."""
    plain = "regexp_replace({}, '[ ().]|(?<=.)-', '', 'g')"
    return f"{plain.format(f'{row}.address')} = {plain.format('(p.attributes ->> h.address)')}"


async def open_holds(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """Open holds: customer_id, name, key, pause, enrollment_id, opened_at, until, closed_at (where it is over already)."""
    if items:
        await run(
            c,
            "insert into holds (customer_id, name, key, pause, enrollment_id, opened_at, until, closed_at) "
            "select customer_id, name, key, array(select jsonb_array_elements_text(pause)), enrollment_id, opened_at, until, "
            "closed_at from jsonb_to_recordset(cast(:rows as jsonb)) as r(customer_id bigint, name text, key text, pause jsonb, "
            "enrollment_id bigint, opened_at timestamptz, until timestamptz, closed_at timestamptz)",
            rows=rows(items),
        )


async def close_holds(c: Connection, ids: Sequence[int], at: datetime) -> None:
    """Close these holds (by id)."""
    if ids:
        await run(c, "update holds set closed_at = :at where id = any(cast(:ids as bigint[]))", ids=list(ids), at=at)


async def holds(c: Connection, ids: Sequence[int], since: datetime) -> list[Row[Any]]:
    """Holds of these customers that were open at `since` or later: id, customer_id, name, key, pause, enrollment_id,
    opened_at, until, closed_at."""
    return await fetch(
        c,
        "select id, customer_id, name, key, pause, enrollment_id, opened_at, until, closed_at from holds "
        "where customer_id = any(cast(:ids as bigint[])) and until > :since order by id",
        ids=list(ids),
        since=since,
    )


async def last_events(c: Connection, ids: Sequence[int], names: Sequence[str]) -> dict[tuple[int, str], datetime]:
    """(customer, event name) → when it last occurred."""
    if not names or not ids:
        return {}
    found = await fetch(
        c,
        "select customer_id, name, max(occurred_at) as at from events "
        "where customer_id = any(cast(:ids as bigint[])) and name = any(cast(:names as text[])) group by 1, 2",
        ids=list(ids),
        names=list(names),
    )
    return {(r.customer_id, r.name): r.at for r in found}
