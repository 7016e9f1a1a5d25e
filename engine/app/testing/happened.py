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
            found.append({"at": r.dropped_at, "drop": r.channel, **told, **_why(r)})
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
    "select m.key, m.journey, m.channel, m.template, coalesce(m.topic, '') as topic, m.status, m.reason, m.sent_at, "
    "coalesce(case when given_up then case m.reason when 'live' then e.ended_at else least(d.until, again.at) end end, "
    "m.decided_at) as dropped_at, case when given_up then '' else coalesce(d.rule, '') end as rule "
    "from messages m join enrollments e on e.id = m.enrollment_id "
    "left join lateral (select * from decisions where key = m.key order by id desc limit 1) d on true "
    "left join lateral (select min(i.at) as at from inputs i where i.enrollment_id = e.id and i.kind = 'again' and i.at >= d.at) "
    "again on true cross join lateral (select m.until is null and coalesce(d.decision, '') in ('allow', 'defer') as given_up) g "
    "where m.customer_id = :customer"
)
"""What was given up without another decision, as its journey had ended or its step's `if` no longer held: not for the reason for
which it was decided last, and not then, but at the journey's end or when it was due again."""
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
