"""What became of a customer on the real engine, as lines of `expectations`: from the ledger and the channels."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.app.testing.expectations import Line
from engine.app.testing.sink import Sink
from engine.core.brief import brief
from engine.delivery.channel import Content
from engine.store.database import Connection, fetch


async def lines_of(c: Connection, customer: int, sinks: Iterable[Sink], now: datetime) -> list[Line]:
    """In no order. `now`: when somebody is parked who is parked now."""
    texts = {m.key: words_of(m.content) for sink in sinks for m in sink.seen}
    found: list[Line] = []
    for r in await fetch(c, MESSAGES, customer=customer):
        told = {"journey": r.journey, "template": r.template}
        if r.status == "sent":
            found.append({"at": r.sent_at, "send": r.channel, **told, "text": texts[r.key]})
        elif r.status == "dropped":
            found.append(
                {"at": r.decided_at, "drop": r.channel, **told, "reason": r.reason, "words": brief(r.reason, r.rule, r.topic)}
            )
    for r in await fetch(c, DEFERRALS, customer=customer):
        told = {"journey": r.journey, "template": r.template, "until": r.until}
        found.append({"at": r.at, "defer": r.channel, **told, **_why(r)})
    for r in await fetch(c, TASKS, customer=customer):
        found.append({"at": r.created_at, "task": r.queue, "journey": r.journey, "title": r.title})
    for r in await fetch(c, ENDS, customer=customer):
        kind = "exit" if r.status == "ended" else "parked"
        found.append({"at": r.ended_at or now, kind: r.reason, "journey": r.journey})
    return found


def _why(row: Row[Any]) -> Line:
    """Why a message waited or was dropped."""
    return {"reason": row.reason, "words": brief(row.reason, row.rule, row.topic)}


MESSAGES = (
    "select key, journey, channel, template, coalesce(topic, '') as topic, status, reason, sent_at, decided_at, coalesce(("
    "select rule from decisions d where d.key = m.key order by d.id desc limit 1), '') as rule "
    "from messages m where customer_id = :customer"
)
DEFERRALS = (
    "select d.at, d.reason, d.rule, d.until, m.journey, m.channel, m.template, coalesce(m.topic, '') as topic from decisions d "
    "join messages m on m.key = d.key where d.decision = 'defer' and d.customer_id = :customer"
)
TASKS = (
    "select t.created_at, t.queue, t.title, e.journey from tasks t join enrollments e on e.id = t.enrollment_id "
    "where t.customer_id = :customer"
)
ENDS = "select ended_at, journey, reason, status from enrollments where customer_id = :customer and status <> 'live'"


def words_of(content: Content) -> str:
    """All that a message says: its single-line parts and its bodies."""
    return "\n".join([*content.fields.values(), content.text or "", content.html or ""])
