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


async def create(c: Connection, people: Sequence[Sequence[tuple[str, str]]]) -> None:
    """New customers, each with its identifiers. Where another process was faster with the first identifier, no new customer
    comes into being: call `find` again afterwards."""
    await run(
        c,
        """with wanted as (
            select p.ord, nextval(pg_get_serial_sequence('customers', 'id')) as id, p.identifiers
            from rows from (jsonb_to_recordset(cast(:rows as jsonb)) as (identifiers jsonb))
                with ordinality as p(identifiers, ord)
        ), named as (
            insert into identifiers (kind, value, customer_id)
            select i->>0, i->>1, w.id from wanted w, jsonb_array_elements(w.identifiers) as i order by 1, 2
            on conflict (kind, value) do nothing returning customer_id
        )
        insert into customers (id, created_at, updated_at)
        select customer_id, sojourn_now(), sojourn_now() from (select distinct customer_id from named) as created""",
        rows=rows({"identifiers": p} for p in people),
    )


async def add_identifiers(c: Connection, links: Sequence[tuple[str, str, int]]) -> None:
    """Further identifiers (kind, value, customer) of known customers; those that exist stay where they are."""
    if links:
        await run(
            c,
            "insert into identifiers (kind, value, customer_id) select * from unnest(cast(:kinds as text[]), "
            "cast(:values as text[]), cast(:ids as bigint[])) order by 1, 2 on conflict do nothing",
            kinds=[k for k, _, _ in links],
            values=[v for _, v, _ in links],
            ids=[i for _, _, i in links],
        )


async def lock(c: Connection, ids: Sequence[int]) -> dict[int, Row[Any]]:
    """The customers' rows, locked in id order until the transaction ends: id, attributes, restricted, erased_at."""
    found = await fetch(
        c,
        "select id, attributes, restricted, erased_at from customers "
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
        "select id, customer_id, channel, topic, state, source, wording, at, until from consents "
        "where customer_id = any(cast(:ids as bigint[])) order by at, id",
        ids=list(ids),
    )


async def suppress(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """Never use these addresses again: customer_id, channel, address, reason, at."""
    if items:
        await run(
            c,
            "insert into suppressions (customer_id, channel, address, reason, at) "
            "select distinct on (customer_id, channel, address) * from jsonb_to_recordset(cast(:rows as jsonb)) as "
            "r(customer_id bigint, channel text, address text, reason text, at timestamptz) "
            "order by customer_id, channel, address "
            "on conflict (customer_id, channel, address) do update set lifted_at = null, reason = excluded.reason",
            rows=rows(items),
        )


async def suppressions(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """Addresses of these customers that a channel must not use: customer_id, channel, address, reason."""
    return await fetch(
        c,
        "select customer_id, channel, address, reason from suppressions "
        "where customer_id = any(cast(:ids as bigint[])) and lifted_at is null",
        ids=list(ids),
    )


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
