"""How things stand, in numbers that cost little: each is counted along an index, and no further than `most`. Reads only, but for
`chore_done`."""

from __future__ import annotations

from engine.store import quarantine
from engine.store.database import Connection, fetch, run


async def limit_time(c: Connection, seconds: float) -> None:
    """Nothing in this transaction may take longer."""
    await fetch(c, "select set_config('statement_timeout', :ms, true)", ms=str(int(seconds * 1000)))


async def pending_inputs(c: Connection, most: int) -> dict[bool, int]:
    """Urgent or not → inputs that Temporal doesn't have yet."""
    found = await fetch(
        c,
        "select true as urgent, count(*) as n from (select 1 from inputs where relayed_at is null and urgent limit :most) as u "
        "union all select false, count(*) from (select 1 from inputs where relayed_at is null and not urgent limit :most) as o",
        most=most,
    )
    return {r.urgent: r.n for r in found}


async def quarantined(c: Connection, most: int) -> int:
    """Calls that wait in the quarantine."""
    found = await fetch(
        c, f"select count(*) from (select 1 from quarantine where {quarantine.WAITING} limit :most) as w", most=most
    )
    return int(found[0][0])


async def enrollments(c: Connection, status: str, most: int) -> dict[str, int]:
    """Journey → enrollments of `status`, `most` of each journey."""
    found = await fetch(
        c,
        "select j.name, (select count(*) from (select 1 from enrollments e where e.journey = j.name and e.status = :status "
        "limit :most) as n) as n from journeys j",
        status=status,
        most=most,
    )
    return {r.name: r.n for r in found}


async def chore_done(c: Connection, name: str) -> None:
    """The chore `name` has nothing more to do now."""
    await run(
        c,
        "insert into chores (name, succeeded_at) values (:name, clock_timestamp()) "
        "on conflict (name) do update set succeeded_at = excluded.succeeded_at",
        name=name,
    )


async def chores(c: Connection) -> dict[str, float]:
    """Chore → when it was last done, as a Unix time."""
    found = await fetch(c, "select name, cast(extract(epoch from succeeded_at) as double precision) as at from chores")
    return {r.name: r.at for r in found}
