"""Entries that a limit on journeys refused: who wanted to enter what, when, and which limit said no. Written once, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, rows, run


async def add(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """Refused entries: customer_id, journey, key, event_id, at, rule, detail."""
    if items:
        await run(
            c,
            "insert into refusals (customer_id, journey, key, event_id, at, rule, detail) "
            "select * from jsonb_to_recordset(cast(:rows as jsonb)) as r(customer_id bigint, journey text, key text, "
            "event_id bigint, at timestamptz, rule text, detail text)",
            rows=rows(items),
        )


async def of_customer(c: Connection, customer: int, limit: int = 50) -> list[Row[Any]]:
    """This customer's, the newest first: journey, key, event_id, at, rule, detail."""
    return await fetch(
        c,
        "select journey, key, event_id, at, rule, detail from refusals where customer_id = :id order by id desc limit :limit",
        id=customer,
        limit=limit,
    )


async def of_events(c: Connection, customer: int, events: Sequence[int]) -> dict[tuple[int, str], Row[Any]]:
    """(event, journey) → rule, detail, for these events of the customer."""
    found = await fetch(
        c,
        "select event_id, journey, rule, detail from refusals "
        "where customer_id = :id and event_id = any(cast(:events as bigint[])) order by id",
        id=customer,
        events=list(events),
    )
    return {(r.event_id, r.journey): r for r in found}


async def of_message(c: Connection, customer: int, source: str, message_id: str) -> list[Row[Any]]:
    """What the message with this id of a source met: journey, rule, detail."""
    return await fetch(
        c,
        "select r.journey, r.rule, r.detail from refusals r join events v on v.id = r.event_id "
        "where r.customer_id = :id and v.source = :source and v.message_id = :message order by r.id",
        id=customer,
        source=source,
        message=message_id,
    )
