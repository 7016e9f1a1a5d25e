"""How far each channel's rate is used up: one row per channel, shared by all workers. All moments are the database's real time.

`free_at` is the moment from which on messages are still to be had; before it, everything has been given away. A worker that
dies with what it was given leaves nothing behind: time passes `free_at` by itself.
"""

from __future__ import annotations

from engine.store.database import Database, at_once, fetch

LONGEST_SECONDS = 60.0
"""Nobody is given anything that lies further ahead; `free_at` beyond that means that the database's clock was put back."""


async def take(
    database: Database, channel: str, rate: float, wanted: int, *, enough: int, ahead: float, burst: float
) -> tuple[int, float]:
    """Up to `wanted` messages of `channel`, at `rate` per second: how many, and in how many seconds they may go. Where there
    are fewer than `enough`: 0, and in how many seconds there will be so many.

    `ahead`: how many seconds beforehand they may be taken, LONGEST_SECONDS at the most. `burst`: how many seconds' worth a rested
    channel has saved up. One statement that commits by itself, so that the row is never locked while a worker thinks; the clock
    is read behind the lock."""
    first = min(wanted, int((burst + ahead) * rate + 1e-6))
    first = first if first >= enough else 0
    async with at_once(database) as c:
        row = (
            await fetch(
                c,
                """insert into paces as p (channel, free_at, granted)
                values (:channel, clock_timestamp() + make_interval(secs => :first / :rate - :burst), :first)
                on conflict (channel) do update set (free_at, granted) = (
                    select base + make_interval(secs => given / :rate), given from (
                        select base, case when there >= :enough then there else 0 end as given from (
                            select base, least(:wanted, floor(extract(epoch from t - base + make_interval(secs => :ahead))
                                * cast(:rate as double precision))) as there
                            from (
                                select t, least(greatest(p.free_at, t - make_interval(secs => :burst)),
                                    t + make_interval(secs => :longest)) as base
                                from (select clock_timestamp() as t) as clock
                            ) as bucket
                        ) as found
                    ) as answer
                )
                returning granted, cast(extract(epoch from free_at - clock_timestamp()) as double precision) as due""",
                channel=channel,
                rate=rate,
                wanted=wanted,
                enough=enough,
                ahead=ahead,
                burst=burst,
                longest=LONGEST_SECONDS,
                first=first,
            )
        )[0]
    return row.granted, max(0.0, row.due if row.granted else row.due + enough / rate - ahead)
