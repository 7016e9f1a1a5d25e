"""Sources: what they sent, counted by day, and how far each one's rate is used up. Days and moments are the database's real time.

Counters are written after the answers, by each API process for itself: nothing decides by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, Database, at_once, fetch, rows, run

BURST_SECONDS = 10.0
"""How long a source that sends nothing saves up what it may send at once afterwards."""

DEBT = 2500
"""Calls that one request may hold at the most, and so be ahead of the rate."""


async def count(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """Add to today's counters, one item for each source: source, accepted, duplicate, quarantined, refused."""
    if items:
        await run(
            c,
            "insert into source_counts as s (source, day, accepted, duplicate, quarantined, refused, last_at) "
            "select source, cast(clock_timestamp() at time zone 'UTC' as date), accepted, duplicate, quarantined, refused, "
            "clock_timestamp() from jsonb_to_recordset(cast(:rows as jsonb)) as r(source text, accepted bigint, "
            "duplicate bigint, quarantined bigint, refused bigint) order by source on conflict (source, day) do update set "
            "accepted = s.accepted + excluded.accepted, duplicate = s.duplicate + excluded.duplicate, "
            "quarantined = s.quarantined + excluded.quarantined, refused = s.refused + excluded.refused, "
            "last_at = excluded.last_at",
            rows=rows(items),
        )


async def counted(c: Connection, days: int) -> list[Row[Any]]:
    """Each source that sent anything in the last `days` days (today is one of them): source, accepted, duplicate, quarantined,
    refused, last_at."""
    return await fetch(
        c,
        "select source, cast(sum(accepted) as bigint) as accepted, cast(sum(duplicate) as bigint) as duplicate, "
        "cast(sum(quarantined) as bigint) as quarantined, cast(sum(refused) as bigint) as refused, max(last_at) as last_at "
        "from source_counts where day > cast(clock_timestamp() at time zone 'UTC' as date) - cast(:days as integer) "
        "group by 1 order by 1",
        days=days,
    )


async def admit(database: Database, source: str, rate: float, calls: int) -> float:
    """Let `calls` calls of a source in that may send `rate` per second: 0.0, or the seconds after which it may try again.

    A source that has used up its rate waits until it has made up for it; a request is let in whole, however large, so the one
    after it waits the longer. One statement that commits by itself; the clock is read behind the lock."""
    cost = calls / rate
    async with at_once(database) as c:
        row = (
            await fetch(
                c,
                """insert into source_paces as p (source, free_at, granted)
                values (:source, clock_timestamp() + make_interval(secs => :cost - :burst), true)
                on conflict (source) do update set (free_at, granted) = (
                    select case when since <= t then greatest(since, t - make_interval(secs => :burst))
                        + make_interval(secs => :cost) else since end, since <= t
                    from (
                        -- Further ahead than any debt can be: the clock was put back.
                        select t, case when p.free_at > t + make_interval(secs => :longest) then t else p.free_at end as since
                        from (select clock_timestamp() as t) as clock
                    ) as seen
                )
                returning granted, cast(extract(epoch from free_at - clock_timestamp()) as double precision) as due""",
                source=source,
                cost=cost,
                burst=BURST_SECONDS,
                longest=DEBT / rate + BURST_SECONDS,
            )
        )[0]
    return 0.0 if row.granted else max(0.001, row.due)
