"""The fits of predictions: when, of which definition, with what parameters, and how far writing down what follows has come; and
the summaries of orders that they are made of, which stand among what is kept of computed attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.core.wire import Json
from engine.store.database import Connection, fetch, json_text, run

_NUMBER = "cast(value->>'{}' as integer)"
_SUMMARIES = "from computed where name = '$orders' and definition = :orders and value is not null"


async def once(c: Connection, orders: str, today: int) -> list[Row[Any]]:
    """Customers who have ordered on one day, under the hash `orders`: age (days since then until `today`, a day since 1970), n
    (how many customers)."""
    return await fetch(
        c,
        f"select greatest(cast(:today as integer) - {_NUMBER.format('first')}, 0) as age, count(*) as n "
        f"{_SUMMARIES} and {_NUMBER.format('days')} = 1 group by 1 order by 1",
        orders=orders,
        today=today,
    )


async def again(c: Connection, orders: str, today: int, after: int, count: int) -> list[Row[Any]]:
    """The next `count` customers after id `after` who have ordered on more than one day: customer_id, x (days after the first),
    recency and age (days since the first until the last one and until `today`), mean (what the orders after the first day were
    worth, 0 where that isn't known)."""
    return await fetch(
        c,
        f"select customer_id, {_NUMBER.format('days')} - 1 as x, "
        f"{_NUMBER.format('last')} - {_NUMBER.format('first')} as recency, "
        f"greatest(cast(:today as integer), {_NUMBER.format('last')}) - {_NUMBER.format('first')} as age, "
        f"coalesce(cast(value->>'mean' as double precision), 0) as mean {_SUMMARIES} and {_NUMBER.format('days')} > 1 "
        "and customer_id > :after order by customer_id limit :n",
        orders=orders,
        today=today,
        after=after,
        n=count,
    )


async def page(c: Connection, orders: str, after: int, count: int) -> list[int]:
    """The next `count` customers after id `after` who have ordered."""
    statement = f"select customer_id {_SUMMARIES} and customer_id > :after order by customer_id limit :n"
    return [r.customer_id for r in await fetch(c, statement, orders=orders, after=after, n=count)]


async def parted(c: Connection, orders: str, definition: str, since: datetime, count: int) -> list[int]:
    """At most `count` customers who have ordered, and whom the undoing of a merge since then made of somebody else's orders than
    those that their predictions (of this definition) are of."""
    found = await fetch(
        c,
        "select distinct o.customer_id from merges m cross join lateral (values (m.gone), (m.kept)) as w(id) "
        "join computed o on o.customer_id = w.id and o.name = '$orders' and o.definition = :orders and o.value is not null "
        "left join computed p on p.customer_id = w.id and p.definition = :definition and p.name = 'churn_risk' "
        "where m.undone_at > :since and coalesce(cast(p.state->>'made' as timestamptz) < m.undone_at, true) "
        "order by 1 limit :n",
        orders=orders,
        definition=definition,
        since=since,
        n=count,
    )
    return [r.customer_id for r in found]


async def summaries(c: Connection, orders: str, customers: Sequence[int]) -> list[Row[Any]]:
    """What these (locked) customers have ordered: customer_id, value (first, last, days, mean)."""
    return await fetch(
        c,
        f"select customer_id, value {_SUMMARIES} and customer_id = any(cast(:ids as bigint[]))",
        orders=orders,
        ids=list(customers),
    )


async def add(
    c: Connection, definition: str, at: datetime, customers: int, parameters: Mapping[str, Json] | None, why: str = ""
) -> None:
    """A fit made at `at` of so many customers; one that couldn't be made says `why`, and is done."""
    await run(
        c,
        "insert into fits (at, definition, customers, parameters, why, done_at) values (:at, :definition, :customers, "
        "cast(:parameters as jsonb), :why, case when :why <> '' then cast(:at as timestamptz) end)",
        at=at,
        definition=definition,
        customers=customers,
        parameters=json_text(parameters),
        why=why,
    )


async def made(c: Connection, definition: str) -> bool:
    """Whether what follows from a fit of this definition has ever been written for everybody."""
    found = await fetch(
        c,
        "select exists (select 1 from fits where definition = :definition and done_at is not null and why = '') as made",
        definition=definition,
    )
    return bool(found[0].made)


async def newest(c: Connection, definition: str) -> Row[Any] | None:
    """The last fit of a definition, locked: id, at, customers, parameters, why, after_id, filled, done_at."""
    found = await fetch(
        c,
        "select id, at, customers, parameters, why, after_id, filled, done_at from fits where definition = :definition "
        "order by id desc limit 1 for update",
        definition=definition,
    )
    return found[0] if found else None


async def filled_in(c: Connection, fit: int, after: int, filled: int, done_at: datetime | None) -> None:
    """What follows from a fit has been written for so many more customers, up to `after`; `done_at`: for everybody."""
    await run(
        c,
        "update fits set after_id = :after, filled = filled + :filled, done_at = :done where id = :id",
        after=after,
        filled=filled,
        done=done_at,
        id=fit,
    )
