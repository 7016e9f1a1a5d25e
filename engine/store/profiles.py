"""What is known of one customer, for people who look: identifiers, consents, holds, enrollments, messages and decisions.

Read-only, and nothing decides by it. Lists are bounded; long ones are read page by page, newest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch


async def person(c: Connection, customer: int) -> Row[Any] | None:
    """id, attributes, restricted, objected, erased_at, created_at, updated_at. None where there is no such customer."""
    found = await fetch(
        c,
        "select id, attributes, restricted, objected, erased_at, created_at, updated_at from customers where id = :id",
        id=customer,
    )
    return found[0] if found else None


async def identifiers(c: Connection, customer: int, limit: int = 100) -> list[Row[Any]]:
    """kind, value."""
    return await fetch(
        c,
        "select kind, value from identifiers where customer_id = :id order by kind desc, value limit :limit",
        id=customer,
        limit=limit,
    )


async def consents(c: Connection, customer: int, limit: int = 50) -> list[Row[Any]]:
    """The newest statements for each channel and topic, at most `limit` of each, the latest first: id, channel, topic, state,
    source, wording, at, until, via, recorded_at."""
    return await fetch(
        c,
        "select id, channel, topic, state, source, wording, at, until, via, recorded_at from (select *, row_number() over "
        "(partition by channel, topic order by at desc, id desc) as nth from consents where customer_id = :id) as s "
        "where nth <= :limit order by channel, topic nulls first, nth",
        id=customer,
        limit=limit,
    )


async def last_consent_given(c: Connection, customer: int) -> int:
    """The id of the customer's newest statement that is no withdrawal: one may be said again since. 0 where there is none."""
    found = await fetch(
        c,
        "select coalesce(max(id), 0) from consents where customer_id = :id and state <> 'withdrawn'",
        id=customer,
    )
    return int(found[0][0])


async def suppressions(c: Connection, customer: int) -> list[Row[Any]]:
    """Addresses that must not be used: channel, address, reason, at."""
    return await fetch(
        c,
        "select channel, address, reason, at from suppressions "
        "where customer_id = :id and lifted_at is null order by channel, address",
        id=customer,
    )


async def holds(c: Connection, customer: int) -> list[Row[Any]]:
    """Holds that pause something now: name, key, pause, opened_at, until."""
    return await fetch(
        c,
        "select name, key, pause, opened_at, until from holds "
        "where customer_id = :id and closed_at is null and until > sojourn_now() order by opened_at, id",
        id=customer,
    )


async def enrollments(c: Connection, customer: int, limit: int = 100) -> list[Row[Any]]:
    """The newest enrollments: id, journey, plan, key, number, status, reason, step, wake_at, holdout, global_holdout, entered_at,
    ended_at, goal_at, goal_value."""
    return await fetch(
        c,
        "select id, journey, plan, key, number, status, reason, step, wake_at, holdout, global_holdout, entered_at, ended_at, "
        "goal_at, goal_value from enrollments where customer_id = :id order by id desc limit :limit",
        id=customer,
        limit=limit,
    )


async def in_journey(c: Connection, customer: int, journey: str, key: str) -> Row[Any] | None:
    """The enrollment under this key that is live, else the newest: id, status, reason, entered_at, ended_at."""
    found = await fetch(
        c,
        "select id, status, reason, entered_at, ended_at from enrollments "
        "where customer_id = :id and journey = :journey and key = :key order by status = 'ended', id desc limit 1",
        id=customer,
        journey=journey,
        key=key,
    )
    return found[0] if found else None


async def messages(c: Connection, customer: int, before: int | None, limit: int) -> list[Row[Any]]:
    """At most `limit` rows of the ledger with an id under `before` (None: the newest), newest first."""
    return await fetch(
        c,
        "select id, key, enrollment_id, journey, plan, step, attempt, channel, template, topic, tier, tags, status, reason, "
        "detail, planned_at, decided_at, expires_at, until, sent_at, tries, provider_id, words from messages "
        "where customer_id = :id and (cast(:before as bigint) is null or id < :before) order by id desc limit :limit",
        id=customer,
        before=before,
        limit=limit,
    )


async def decisions(c: Connection, keys: Sequence[str], limit: int = 1000) -> list[Row[Any]]:
    """The decisions behind these messages, oldest first: key, at, decision, reason, rule, detail, until, earliest, gates, policy,
    plan, consent_version."""
    return await fetch(
        c,
        "select key, at, decision, reason, rule, detail, until, earliest, gates, policy, plan, consent_version from decisions "
        "where key = any(cast(:keys as text[])) order by id limit :limit",
        keys=list(keys),
        limit=limit,
    )
