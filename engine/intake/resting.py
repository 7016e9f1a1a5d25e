"""Channels that rest because too many messages on them were complained about: when one begins to, and when an operator ends it.

Source: the limit of `complaints` in sojourn.yaml. What rests is in the gate `hold` of every message on the channel, so that `why`
says it; see `delivery.facts.rest_fact`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from engine.store import audit, senders
from engine.store import enrollments as store
from engine.store.database import Connection, Database, transaction

log = logging.getLogger("sojourn.senders")

ENGINE = "sojourn"
"""Who acts where nobody did, in the audit log."""

PAGE = 500
"""Enrollments that one transaction wakes."""


async def complained(c: Connection, complaints: Mapping[str, int]) -> None:
    """Count complaints about channels. One about which there are too many rests from now on: the audit log and the log say so."""
    for r in await senders.complained(c, complaints):
        counted = {"sent": r.sent, "complained": r.complained, "days": r.days}
        await audit.note(c, ENGINE, "rest", [f"channel/{r.channel}"], counted)
        log.warning("the channel %s rests: %s; `sojourn channels lift %s` ends it", r.channel, senders.tell(r), r.channel)


async def lift(database: Database, channel: str, actor: str) -> bool:
    """End the rest of a channel, and have what waited for it decided afresh. Whether it rested; where an earlier call was cut
    off, the rest of those who wait are woken by another one."""
    async with transaction(database) as c:
        ended = await senders.end_rest(c, channel)
        if ended is not None:
            counted = {"sent": ended.sent, "complained": ended.complained, "days": ended.days}
            await audit.note(c, actor, "lift rest", [f"channel/{channel}"], counted)
    last = 0
    while True:
        async with transaction(database) as c:
            page = await senders.waiting(c, channel, last, PAGE)
            if not page:
                return ended is not None
            await store.lock_customers(c, page)
            await store.try_again(c, page)
            await store.tell_relay(c)
        last = page[-1]
