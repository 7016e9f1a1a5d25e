"""What became of messages and people, read for people: counts, one customer's story, what isn't settled. Nothing here decides.

Moments are logical and aware UTC. A message's reason is that of its last decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch


async def counts(c: Connection) -> list[Row[Any]]:
    """Messages by journey, channel, status, reason and rule: also whether they waited before that, and for what first
    (waited_reason, waited_rule; "" where they didn't). Rows end with the count `n`."""
    return await fetch(
        c,
        "select m.journey, m.channel, m.topic, m.status, coalesce(nullif(m.reason, ''), d.reason, '') as reason, "
        "coalesce(d.rule, '') as rule, coalesce(w.reason, '') as waited_reason, coalesce(w.rule, '') as waited_rule, "
        "count(*) as n from messages m "
        "left join lateral (select reason, rule from decisions where key = m.key order by id desc limit 1) d on true "
        "left join lateral (select reason, rule from decisions where key = m.key and decision = 'defer' order by id limit 1) w "
        "on true group by 1, 2, 3, 4, 5, 6, 7, 8 order by 1, 2, 4, 5, 6, 7, 8",
    )


async def messages(c: Connection) -> list[Row[Any]]:
    """Every message: key, customer_id, user_id, timezone (their own, None without one), country, journey, step, template,
    channel, topic, tier, tags, charged, status, reason, planned_at, slot_at, sent_at."""
    return await fetch(
        c,
        "select m.key, m.customer_id, i.value as user_id, p.attributes ->> 'timezone' as timezone, "
        "p.attributes ->> 'country' as country, m.journey, m.step, m.template, m.channel, m.topic, m.tier, m.tags, m.charged, "
        "m.status, m.reason, m.planned_at, m.slot_at, m.sent_at from messages m join customers p on p.id = m.customer_id "
        "left join lateral (select min(value) as value from identifiers "
        "where customer_id = m.customer_id and kind = 'user_id') i on true order by m.id",
    )


async def stories(c: Connection) -> list[Row[Any]]:
    """Customers with messages: customer_id, user_id, journeys, and how many messages were sent at once, waited, were dropped,
    and how many reasons stood behind it."""
    return await fetch(
        c,
        "select m.customer_id, i.value as user_id, count(*) as n, count(distinct m.journey) as journeys, "
        "count(*) filter (where m.status = 'sent' and w.key is null) as at_once, "
        "count(*) filter (where m.status = 'sent' and w.key is not null) as waited, "
        "count(*) filter (where m.status = 'dropped') as dropped, "
        "count(distinct coalesce(nullif(m.reason, ''), w.reason)) as reasons "
        "from messages m join (select customer_id, min(value) as value from identifiers where kind = 'user_id' group by 1) i "
        "using (customer_id) "
        "left join (select key, min(reason) as reason from decisions where decision = 'defer' group by key) w on w.key = m.key "
        "group by 1, 2 order by 1",
    )


async def story(c: Connection, customer: int, since: datetime) -> list[Row[Any]]:
    """What happened to one customer after `since`, in order: at, kind (event, begun, decision, sent, ended), journey, step,
    subject (an event's name, a key, a decision, a template, an end's reason), channel, topic, properties (of an event), and of a
    decision its reason, rule and until."""
    return await fetch(
        c,
        "select * from ("
        "select occurred_at as at, 0 as rank, id, 'event' as kind, '' as journey, '' as step, name as subject, '' as channel, "
        "'' as topic, properties, '' as reason, '' as rule, cast(null as timestamptz) as until from events "
        "where customer_id = :customer "
        "union all select entered_at, 1, id, 'begun', journey, '', key, '', '', null, '', '', null from enrollments "
        "where customer_id = :customer "
        "union all select d.at, 2, d.id, 'decision', m.journey, m.step, d.decision, m.channel, m.topic, null, d.reason, d.rule, "
        "d.until from decisions d join messages m on m.key = d.key where d.customer_id = :customer and d.decision <> 'allow' "
        "union all select sent_at, 3, id, 'sent', journey, step, template, channel, topic, null, '', '', null from messages "
        "where customer_id = :customer and status = 'sent' "
        "union all select ended_at, 4, id, 'ended', journey, '', reason, '', '', null, '', '', null from enrollments "
        "where customer_id = :customer and ended_at is not null"
        ") s where at >= :since order by at, rank, id",
        customer=customer,
        since=since,
    )


async def settling(c: Connection) -> tuple[int, int]:
    """(inputs that no cohort has been told yet, messages that wait or are under way)."""
    row = (
        await fetch(
            c,
            "select (select count(*) from inputs where relayed_at is null) as inputs, "
            "(select count(*) from messages where status in ('deferred', 'reserved', 'handed_over')) as messages",
        )
    )[0]
    return int(row.inputs), int(row.messages)


async def enrolled(c: Connection) -> dict[str, int]:
    """Enrollments by status."""
    found = await fetch(c, "select status, count(*) as n from enrollments group by 1")
    return {r.status: r.n for r in found}


async def parked(c: Connection) -> Sequence[Row[Any]]:
    """Parked enrollments by journey and reason: journey, reason, n."""
    return await fetch(
        c, "select journey, reason, count(*) as n from enrollments where status = 'parked' group by 1, 2 order by 1, 2"
    )
