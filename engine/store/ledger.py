"""The ledger of messages and of the decisions that led to them. Caps are counted here and nowhere else.

A message holds a cap slot while `slot_at` is set. Decisions are made and slots taken in one transaction under the lock of the
customers' rows, so `limit` is never exceeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, json_text, rows, run

UNKNOWN = "unknown"
"""Reason of a message that isn't settled and of which an earlier try may have arrived. It keeps its slot
whatever becomes of it."""


async def by_key(c: Connection, keys: Sequence[str]) -> dict[str, Row[Any]]:
    """What the ledger knows under these keys; `leased`: somebody's handover lease is running (`owner`); `rule`: what the
    consent gate named, of one that it dropped."""
    found = await fetch(
        c,
        "select key, channel, status, reason, tries, slot_at, sent_at, decided_at, until, planned_at, expires_at, words, policy, "
        "consent_version, "
        "case when status = 'dropped' and reason = 'consent' then "
        "(select d.rule from decisions d where d.key = messages.key order by d.id desc limit 1) end as rule, "
        "lease_owner as owner, coalesce(lease_until > clock_timestamp(), false) as leased, "
        "greatest(extract(epoch from lease_until - clock_timestamp()), 0) as lease_left "
        "from messages where key = any(cast(:keys as text[]))",
        keys=list(keys),
    )
    return {r.key: r for r in found}


async def slots(c: Connection, customers: Sequence[int], since: datetime, tiers: Sequence[str]) -> list[Row[Any]]:
    """Slots that these customers' counted messages took after `since`: customer_id, key, tier, channel, topic, journey, at,
    tags, charged."""
    return await fetch(
        c,
        "select customer_id, key, tier, channel, topic, journey, slot_at as at, tags, charged from messages "
        "where customer_id = any(cast(:ids as bigint[])) and slot_at > :since and tier = any(cast(:tiers as text[]))",
        ids=list(customers),
        since=since,
        tiers=list(tiers),
    )


async def journey_states(c: Connection, enrollments: Sequence[int]) -> dict[int, Row[Any]]:
    """Enrollment → customer_id, status, reason, holdout; `paused` (whether it or its journey is), and the pauses that there are
    and were last: journey_paused_at, journey_last_paused_at, journey_resumed_at, paused_reason, paused_at, last_paused_at,
    resumed_at, kept_back; and the step that was skipped last: skipped, skipped_at (None: none)."""
    found = await fetch(
        c,
        "select e.id, e.customer_id, e.status, e.reason, e.holdout, e.journey, e.paused_at, e.last_paused_at, e.resumed_at, "
        "j.paused_at as journey_paused_at, j.last_paused_at as journey_last_paused_at, j.resumed_at as journey_resumed_at, "
        "j.paused_reason, coalesce(j.paused_at, e.paused_at) is not null as paused, e.kept_back, e.skipped, e.skipped_at "
        "from enrollments e left join journeys j on j.name = e.journey where e.id = any(cast(:ids as bigint[]))",
        ids=list(enrollments),
    )
    return {r.id: r for r in found}


async def write(c: Connection, items: Sequence[dict[str, Any]], *, owner: str, lease_seconds: float) -> None:
    """Insert or update messages by key. A `handed_over` one is leased to `owner` for `lease_seconds` of real time."""
    if items:
        await run(
            c,
            """insert into messages (key, enrollment_id, customer_id, journey, plan, step, attempt, template, template_hash,
                channel, topic, tier, status, reason, detail, planned_at, expires_at, decided_at, slot_at, until, lease_owner,
                lease_until, tries, policy, consent_version, tags, charged)
            select key, enrollment_id, customer_id, journey, plan, step, attempt, template, template_hash,
                channel, topic, tier, status, reason, detail, planned_at, expires_at, decided_at, slot_at, until,
                case when status = 'handed_over' then :owner end,
                case when status = 'handed_over' then clock_timestamp() + make_interval(secs => :lease) end,
                case when status = 'handed_over' then 1 else 0 end, policy, consent_version, tags, charged
            from jsonb_to_recordset(cast(:rows as jsonb)) as r(key text, enrollment_id bigint, customer_id bigint,
                journey text, plan text, step text, attempt smallint, template text, template_hash text, channel text,
                topic text, tier text, status text, reason text, detail text, planned_at timestamptz, expires_at timestamptz,
                decided_at timestamptz, slot_at timestamptz, until timestamptz, policy text, consent_version bigint, tags text[],
                charged text[])
            on conflict (key) do update set status = excluded.status, reason = excluded.reason, detail = excluded.detail,
                template_hash = excluded.template_hash, decided_at = excluded.decided_at, slot_at = excluded.slot_at,
                until = excluded.until, lease_owner = excluded.lease_owner, lease_until = excluded.lease_until,
                tries = messages.tries + excluded.tries, policy = excluded.policy, consent_version = excluded.consent_version""",
            rows=rows(items),
            owner=owner,
            lease=lease_seconds,
        )


async def drop(c: Connection, enrollments: Sequence[int], reason: str, detail: str) -> list[int]:
    """Drop what these enrollments have waiting or reserved: its slot is free. What may have arrived already counts as sent. The
    customers whom that concerned."""
    found = await fetch(
        c,
        "update messages set status = case when reason = 'unknown' then 'unknown' else 'dropped' end, "
        "reason = case when reason = 'unknown' then reason else :reason end, detail = :detail, "
        "slot_at = case when reason = 'unknown' then slot_at end, until = null "
        "where enrollment_id = any(cast(:ids as bigint[])) and status in ('deferred', 'reserved', 'parked') "
        "returning customer_id",
        ids=list(enrollments),
        reason=reason,
        detail=detail,
    )
    return sorted({r.customer_id for r in found})


async def decided(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """One row per decision: key, customer_id, at, decision, reason, rule, detail, until, earliest, gates, policy, plan,
    consent_version, facts (`core.recording`)."""
    if items:
        await run(
            c,
            "insert into decisions (key, customer_id, at, decision, reason, rule, detail, until, earliest, gates, policy, plan, "
            "consent_version, facts) select * from jsonb_to_recordset(cast(:rows as jsonb)) as r(key text, customer_id bigint, "
            "at timestamptz, decision text, reason text, rule text, detail text, until timestamptz, earliest timestamptz, "
            "gates jsonb, policy text, plan text, consent_version bigint, facts text)",
            rows=rows({**item, "facts": json_text(item["facts"])} for item in items),
        )


async def results(c: Connection, items: Sequence[dict[str, Any]], *, owner: str) -> set[str]:
    """What became of handovers leased to `owner`: key, status, reason, detail, sent_at, until, provider_id, words, keep_slot. The
    keys of those that were still its own."""
    if not items:
        return set()
    found = await fetch(
        c,
        "update messages set status = r.status, reason = coalesce(r.reason, ''), detail = coalesce(r.detail, ''), "
        "sent_at = r.sent_at, until = r.until, provider_id = coalesce(r.provider_id, ''), words = coalesce(r.words, ''), "
        "slot_at = case when r.keep_slot then slot_at end, lease_owner = null, lease_until = null "
        "from jsonb_to_recordset(cast(:rows as jsonb)) as r(key text, status text, reason text, detail text, "
        "sent_at timestamptz, until timestamptz, provider_id text, words text, keep_slot boolean) "
        "where messages.key = r.key and messages.lease_owner = :owner returning messages.key",
        rows=rows(items),
        owner=owner,
    )
    return {r.key for r in found}
