"""Counts for screens and reports, read from the ledger."""

from __future__ import annotations

from dataclasses import dataclass

from engine.store import history
from engine.store.database import Connection


@dataclass(frozen=True, slots=True)
class MessageCount:
    """`n` messages of `journey` have this ledger status; `reason` says why, where they weren't sent ("" elsewhere)."""

    journey: str
    status: str
    reason: str
    n: int


async def messages_by_journey(c: Connection) -> list[MessageCount]:
    """Every (journey, status, reason) that occurs, by journey and status, the most frequent reason first."""
    return [MessageCount(r.journey, r.status, r.reason, r.n) for r in await history.message_counts(c)]
