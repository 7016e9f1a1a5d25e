"""Who is who: identifiers with the customers whom they lead to, read for a batch; who has been merged into whom.

An identifier leads to one customer, who isn't merged away: a merge moves identifiers in its own transaction, under the locks of
both. Whoever reads here before locking looks again behind the lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, run

Identifier = tuple[str, str]
"""(kind, value): user_id, anonymous_id, email or phone."""


async def named(c: Connection, identifiers: Sequence[Identifier]) -> list[Row[Any]]:
    """Those of these identifiers that lead to somebody: kind, value, customer_id, `known` (the customer has a user id), `erased`.
    One that was added while its customer was merged away leads to who is left."""
    if not identifiers:
        return []
    return await fetch(
        c,
        "select i.kind, i.value, coalesce(p.merged_into, i.customer_id) as customer_id, p.erased_at is not null as erased, "
        "i.kind = 'user_id' or exists (select 1 from identifiers u where u.customer_id = i.customer_id and u.kind = 'user_id') "
        "as known from identifiers i "
        "join unnest(cast(:kinds as text[]), cast(:values as text[])) as w(kind, value) using (kind, value) "
        "join customers p on p.id = i.customer_id",
        kinds=[k for k, _ in identifiers],
        values=[v for _, v in identifiers],
    )


async def people(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """These customers: id, `survivor` (themselves, or into whom they were merged), and of that one `known` and `erased`."""
    if not ids:
        return []
    return await fetch(
        c,
        "select p.id, s.id as survivor, s.erased_at is not null as erased, "
        "exists (select 1 from identifiers u where u.customer_id = s.id and u.kind = 'user_id') as known "
        "from customers p join customers s on s.id = coalesce(p.merged_into, p.id) where p.id = any(cast(:ids as bigint[]))",
        ids=list(ids),
    )


async def survivor(c: Connection, customer: int) -> int:
    """The customer whom this one was merged into; else this one."""
    found = await fetch(c, "select coalesce(merged_into, id) as id from customers where id = :id", id=customer)
    return int(found[0].id) if found else customer


async def followers(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """Customers who were merged into one of these: id, `survivor`."""
    return await fetch(
        c, "select id, merged_into as survivor from customers where merged_into = any(cast(:ids as bigint[]))", ids=list(ids)
    )


async def attach(c: Connection, links: Sequence[tuple[str, str, int]]) -> int:
    """Further identifiers (kind, value, customer) of customers whom the caller has locked; how many of them were free."""
    if not links:
        return 0
    return await run(
        c,
        "insert into identifiers (kind, value, customer_id) select * from unnest(cast(:kinds as text[]), "
        "cast(:values as text[]), cast(:ids as bigint[])) order by 1, 2 on conflict do nothing",
        kinds=[k for k, _, _ in links],
        values=[v for _, v, _ in links],
        ids=[i for _, _, i in links],
    )


async def release(c: Connection, links: Sequence[tuple[str, str, int]]) -> None:
    """These identifiers (kind, value, customer) lead to these (locked) customers no more: an address was given up."""
    if links:
        await run(
            c,
            "delete from identifiers i using unnest(cast(:kinds as text[]), cast(:values as text[]), cast(:ids as bigint[])) "
            "as w(kind, value, customer_id) "
            "where (i.kind, i.value, i.customer_id) = (w.kind, w.value, w.customer_id)",
            kinds=[k for k, _, _ in links],
            values=[v for _, v, _ in links],
            ids=[i for _, _, i in links],
        )


async def apart(c: Connection, ids: Sequence[int]) -> set[frozenset[int]]:
    """Pairs of customers, one of these among them, whose merge an operator has undone."""
    found = await fetch(
        c,
        "select gone, kept from merges where undone_at is not null and (gone = any(cast(:ids as bigint[])) "
        "or kept = any(cast(:ids as bigint[])))",
        ids=list(ids),
    )
    return {frozenset((r.gone, r.kept)) for r in found}
