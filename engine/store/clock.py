"""The logical clock that the database keeps: scale and epoch, stored at the first start."""

from __future__ import annotations

from datetime import datetime

from engine.core.logical import LogicalClock
from engine.store.database import Connection, fetch, run


class ScaleChanged(Exception):
    """`time_scale` can't change while enrollments live; the message says what to do."""


async def settle(c: Connection, scale: float) -> LogicalClock:
    """The clock under `scale`. A new scale starts where logical time stands now; refused while anybody is inside a journey."""
    row = (await fetch(c, "select scale, real_epoch, logical_epoch from clock"))[0]
    if row.scale == scale:
        return LogicalClock(row.scale, row.real_epoch, row.logical_epoch)
    await run(c, "select pg_advisory_xact_lock(7235774)")
    if (await fetch(c, "select exists (select 1 from enrollments where status <> 'ended')"))[0][0]:
        raise ScaleChanged(
            f"time_scale is {scale:g} in sojourn.yaml and {row.scale:g} in the database: it can't change while "
            f"enrollments are live"
        )
    await run(
        c,
        "update clock set logical_epoch = sojourn_now(), real_epoch = clock_timestamp(), scale = :scale where scale <> :scale",
        scale=scale,
    )
    row = (await fetch(c, "select scale, real_epoch, logical_epoch from clock"))[0]
    return LogicalClock(row.scale, row.real_epoch, row.logical_epoch)


async def begin(c: Connection, scale: float, at: datetime) -> None:
    """Let logical time be `at` now and pass at `scale`. Only for a database in which nobody was ever enrolled: what was
    decided before would come to lie in the future or in another year. Raises ScaleChanged otherwise."""
    touched = await run(
        c,
        "update clock set scale = :scale, logical_epoch = :at, real_epoch = clock_timestamp() "
        "where not exists (select 1 from enrollments)",
        scale=scale,
        at=at,
    )
    if not touched:
        raise ScaleChanged("the clock can't be set any more: somebody has been enrolled")
