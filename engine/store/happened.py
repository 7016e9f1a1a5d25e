"""What has happened, read again in its order: events of everybody, and who stands at which step. Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch

PAGE = 2000
"""Rows that are read at once."""

NAMED = (
    "coalesce((select i.value from identifiers i where i.customer_id = {0} order by i.kind desc, i.value limit 1), '') as user"
)
"""A name of the customer with this id: the user id before any other."""

_PEOPLE = (
    f"select w.customer_id, {NAMED.format('w.customer_id')} from (select distinct customer_id from events "
    "where occurred_at < :until and source <> all(cast(:but as text[]))) w order by 1"
)

_EVENTS = (
    "select e.id, e.source, e.message_id, e.customer_id, e.name, e.properties, e.depth, e.occurred_at, n.journey "
    "from events e left join enrollments n on n.entry_event = e.id and e.name = '$enroll' "
    "where e.occurred_at < :until and e.source <> all(cast(:but as text[])) order by e.occurred_at, e.id"
)


async def people(c: Connection, until: datetime, but: Sequence[str]) -> AsyncIterator[Sequence[Row[Any]]]:
    """Whom the events are about that `events` gives, a page at a time: customer_id, user."""
    async for page in (await c.stream(text(_PEOPLE), {"until": until, "but": list(but)})).partitions(PAGE):
        yield page


async def events(c: Connection, until: datetime, but: Sequence[str]) -> AsyncIterator[Sequence[Row[Any]]]:
    """Every event before `until` of all sources but those named, a page at a time, in order of occurrence: id, source,
    message_id, customer_id, name, properties, depth, occurred_at, journey (of a call that enrolled)."""
    async for page in (await c.stream(text(_EVENTS), {"until": until, "but": list(but)})).partitions(PAGE):
        yield page


async def how_many(c: Connection, until: datetime, but: Sequence[str]) -> int:
    """How many events `events` gives."""
    statement = "select count(*) from events where occurred_at < :until and source <> all(cast(:but as text[]))"
    return int((await fetch(c, statement, until=until, but=list(but)))[0][0])


async def standing(c: Connection, places: Sequence[tuple[str, str]], limit: int) -> list[Row[Any]]:
    """Who hasn't left and stands at one of these (journey, step), at most `limit` of them, the newest first: id, journey, step,
    customer_id, user."""
    return await fetch(
        c,
        f"select n.id, n.journey, n.step, n.customer_id, {NAMED.format('n.customer_id')} from enrollments n "
        "join unnest(cast(:journeys as text[]), cast(:steps as text[])) as w(journey, step) "
        "on w.journey = n.journey and w.step = n.step where n.status <> 'ended' order by n.id desc limit cast(:limit as bigint)",
        journeys=[journey for journey, _ in places],
        steps=[step for _, step in places],
        limit=limit,
    )
