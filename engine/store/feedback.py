"""Whose a provider's notice is: messages by their key or their provider's id, people with their address. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, run

_MESSAGE = "m.key, m.provider_id, m.customer_id, m.journey, m.step, m.template, m.channel, m.topic, m.tier"

HANDED_OVER = "('handed_over', 'reserved', 'sent', 'unknown', 'refused')"
"""Statuses of messages that a provider may have seen."""


async def messages(c: Connection, channel: str, keys: Sequence[str], provider_ids: Sequence[str]) -> list[Row[Any]]:
    """The messages under these keys, and those of `channel` that its provider calls by these ids: key, provider_id, customer_id,
    journey, step, template, channel, topic, tier. Nothing that was never handed over."""
    return await fetch(
        c,
        f"select {_MESSAGE} from messages m where m.key = any(cast(:keys as text[])) and m.status in {HANDED_OVER} "
        f"union select {_MESSAGE} from messages m where m.provider_id <> '' "
        f"and m.provider_id = any(cast(:ids as text[])) and m.channel = :channel and m.status in {HANDED_OVER}",
        keys=list(keys),
        ids=list(provider_ids),
        channel=channel,
    )


async def used_before(c: Connection, source: str, tokens: Sequence[str], body: str) -> bool:
    """Whether one of `tokens` came from `source` before with another body than the one with this digest; else they stand for it
    from now on, for every process."""
    await run(
        c,
        "insert into notice_tokens (source, token, body, at) select :source, t, :body, clock_timestamp() "
        "from unnest(cast(:tokens as text[])) t order by t on conflict do nothing",
        source=source,
        tokens=list(tokens),
        body=body,
    )
    found = await fetch(
        c,
        "select 1 from notice_tokens where source = :source and token = any(cast(:tokens as text[])) and body <> :body limit 1",
        source=source,
        tokens=list(tokens),
        body=body,
    )
    return bool(found)


async def forget_tokens(c: Connection) -> int:
    """Tokens older than any notice that an adapter takes, a day; how many."""
    return await run(c, "delete from notice_tokens where at < clock_timestamp() - interval '1 day'")


async def newest(c: Connection, channel: str, customers: Sequence[int]) -> dict[int, Row[Any]]:
    """Customer → their newest message on `channel` that was handed over, as `messages` has it."""
    found = await fetch(
        c,
        f"select newest.* from unnest(cast(:ids as bigint[])) as w(id) cross join lateral (select {_MESSAGE} from messages m "
        f"where m.customer_id = w.id and m.channel = :channel and m.status in {HANDED_OVER} order by m.id desc limit 1) newest",
        ids=sorted(set(customers)),
        channel=channel,
    )
    return {r.customer_id: r for r in found}


async def people(c: Connection, channel: str, attribute: str, customers: Sequence[int]) -> dict[int, Row[Any]]:
    """Customer → id, `address` (what the attribute that `channel` sends to says), whether they are `silent` (erased or
    restricted: nothing is sent to them) and whether they have `stopped` the channel by a text."""
    found = await fetch(
        c,
        "select p.id, p.attributes ->> :attribute as address, p.restricted or p.erased_at is not null as silent, "
        "exists (select 1 from suppressions s where s.customer_id = p.id and s.channel = :channel and s.reason = 'stop' "
        "and s.lifted_at is null) as stopped from customers p where p.id = any(cast(:ids as bigint[]))",
        ids=sorted(set(customers)),
        channel=channel,
        attribute=attribute,
    )
    return {r.id: r for r in found}
