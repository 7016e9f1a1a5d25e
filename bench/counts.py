"""What the benches read from the store: how far a run has come, and whether what it did is right."""

from __future__ import annotations

from dataclasses import dataclass

from engine.store.database import Database, fetch, transaction


@dataclass(frozen=True, slots=True)
class Standing:
    """`waiting`: in the wait for an event, and recorded there. `other`: messages that weren't sent. `pending`: inputs that
    Temporal doesn't have."""

    enrollments: int
    waiting: int
    completed: int
    sent: int
    other: int
    pending: int


async def ended(database: Database) -> int:
    """How many enrollments have ended."""
    async with transaction(database) as c:
        found = await fetch(c, "select count(*) from enrollments where status = 'ended'")
    return int(found[0][0])


async def waiting(database: Database) -> int:
    """How many enrollments wait for their event."""
    async with transaction(database) as c:
        found = await fetch(c, "select count(*) from enrollments where wake_at is not null")
    return int(found[0][0])


async def handed_over(database: Database, step: str) -> int:
    """How many messages of `step` were sent."""
    async with transaction(database) as c:
        found = await fetch(c, "select count(*) from messages where step = :step and status = 'sent'", step=step)
    return int(found[0][0])


async def stages(database: Database, step: str) -> dict[str, list[float]]:
    """Of each enrollment's message of `step`, in milliseconds, smallest first: `relayed`, from its entry's acceptance until
    Temporal had it, and `decided`, from there to the last decision about it."""
    async with transaction(database) as c:
        found = await fetch(
            c,
            "select extract(epoch from i.relayed_at - v.accepted_at) * 1000 as relayed, "
            "extract(epoch from m.decided_at - i.relayed_at) * 1000 as decided from messages m "
            "join enrollments e on e.id = m.enrollment_id join events v on v.id = e.entry_event "
            "join inputs i on i.enrollment_id = e.id and i.seq = 1 where m.step = :step",
            step=step,
        )
    return {name: sorted(float(getattr(r, name)) for r in found) for name in ("relayed", "decided")}


async def at_once(database: Database) -> int:
    """The most decisions that one transaction ever made."""
    async with transaction(database) as c:
        found = await fetch(c, "select coalesce(max(n), 0) from (select count(*) as n from decisions group by xmin) as t")
    return int(found[0][0])


async def standing(database: Database) -> Standing:
    """Everything counted."""
    async with transaction(database) as c:
        e = (
            await fetch(
                c,
                "select count(*) as n, count(*) filter (where status = 'live' and wake_at is not null) as waiting, "
                "count(*) filter (where status = 'ended' and reason = 'completed') as completed from enrollments",
            )
        )[0]
        m = (await fetch(c, "select count(*) as n, count(*) filter (where status = 'sent') as sent from messages"))[0]
        i = (await fetch(c, "select count(*) as n from inputs where relayed_at is null"))[0]
    return Standing(e.n, e.waiting, e.completed, m.sent, m.n - m.sent, i.n)


async def keys(database: Database) -> set[str]:
    """The keys of all messages that were sent."""
    async with transaction(database) as c:
        return {r.key for r in await fetch(c, "select key from messages where status = 'sent'")}
