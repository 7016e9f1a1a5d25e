"""Customers by composed conditions: runs the statements of `delivery.selecting`, and reads what it needs beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select
from sqlalchemy.engine import Row

from engine.store.database import Connection, arguments, fetch

LIVING = "p.erased_at is null and p.merged_into is null"
"""Customers who are there: not erased, nor part of somebody else by now."""

PAGES = {True: "p.id = any(cast(:ids as bigint[]))", False: "p.id > :after and p.id <= :until"}
"""A page of customers: those of `ids`, or those after number `after` up to `until`."""


async def rows(c: Connection, statement: Select[Any], values: Mapping[str, Any]) -> list[Row[Any]]:
    """The rows of a composed statement."""
    return list((await c.execute(statement, arguments(values))).all())


async def zones(c: Connection, listed: bool, values: Mapping[str, Any]) -> list[str]:
    """What the customers of a page have for time zones, whether or not there are such zones. `listed`: the page is a list."""
    found = await fetch(
        c,
        "select distinct p.attributes->>'timezone' as zone from customers p "
        f"where {PAGES[listed]} and p.attributes->>'timezone' is not null",
        **values,
    )
    return [r.zone for r in found]


async def attributes(c: Connection, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Customer → attributes."""
    found = await fetch(c, "select id, attributes from customers where id = any(cast(:ids as bigint[]))", ids=list(ids))
    return {r.id: r.attributes for r in found}


async def window(c: Connection, after: int, until: int, count: int) -> tuple[int, bool]:
    """The next `count` customers after number `after`, up to `until`: the number of the last of them, and whether there are no
    more behind it."""
    found = await fetch(
        c,
        "select max(id) as last, count(*) as n from "
        "(select id from customers where id > :after and id <= :until order by id limit :n) as w",
        after=after,
        until=until,
        n=count,
    )
    return (until, True) if found[0].n < count else (found[0].last, False)


async def between(c: Connection, after: int, until: int) -> list[int]:
    """The customers after number `after`, up to `until`."""
    found = await fetch(c, "select id from customers where id > :after and id <= :until order by id", after=after, until=until)
    return [r.id for r in found]
