"""The gauges that the store knows the values of: read now and then, kept for the scrapes between.

A scrape reads nothing that was read less than KEPT seconds ago (LIVE for enrollments), whoever scrapes and however often.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prometheus_client import Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from engine.observe.metrics import Values, gauge
from engine.store import gauges as store
from engine.store import readiness, relay, senders
from engine.store.database import Connection, Database, transaction
from engine.store.trouble import Trouble

log = logging.getLogger("sojourn.metrics")

KEPT, LIVE = 15.0, 60.0
"""Seconds for which values are kept: of backlogs, of enrollments."""

MOST = 100_000
"""Where counting stops: so many or more."""

PATIENCE = 3.0
"""Seconds that a statement may take: whoever looks on must not be in the way."""

LANES = {True: "urgent", False: "bulk"}

GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "sojourn_database_up": ("Whether the store could be read: 1 or 0. At 0 the others say what it said last.", ()),
    "sojourn_relay_backlog": ("Inputs that Temporal doesn't have yet; 100000 means that or more.", ("lane",)),
    "sojourn_relay_age_seconds": ("For how long the oldest of them has waited.", ("lane",)),
    "sojourn_quarantine_waiting": ("Calls that were put aside and wait; 100000 means that or more.", ()),
    "sojourn_parked_enrollments": ("Enrollments that can't go on; 100000 means that or more.", ("journey",)),
    "sojourn_live_enrollments": ("Enrollments inside; 100000 means that or more.", ("journey",)),
    "sojourn_chore_last_success_timestamp_seconds": ("When a chore was last done, as a Unix time.", ("chore",)),
    "sojourn_channel_rests": ("1 for a channel that rests because of complaints.", ("channel",)),
    "sojourn_deployment": ("The number of the deployment in force.", ()),
    "sojourn_clock_skew_seconds": ("How far the database's clock is ahead of this machine's.", ()),
}
"""Gauge → what it says, its labels."""


@dataclass(slots=True)
class Gauges(Collector):
    """The gauges of the store behind `database`. `refresh` before `collect`."""

    database: Database
    values: dict[str, Values] = field(default_factory=dict)
    read_at: float = -LIVE
    counted_at: float = -LIVE
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    trouble: Trouble = field(default_factory=lambda: Trouble(log, "reading the gauges"))

    async def refresh(self, now: float) -> None:
        """Read what is no longer fresh at `now` (seconds of a clock that only goes on). Where the store doesn't answer, the old
        values stay and `sojourn_database_up` is 0."""
        async with self.lock:
            if now - self.read_at < KEPT:
                return
            self.read_at = now
            try:
                async with asyncio.timeout(PATIENCE * 2), transaction(self.database) as c:
                    await store.limit_time(c, PATIENCE)
                    await self._read(c)
                    if now - self.counted_at >= LIVE:
                        self.values["sojourn_live_enrollments"] = _by_name(await store.enrollments(c, "live", MOST))
                        self.counted_at = now
            except (SQLAlchemyError, OSError) as failed:  # TimeoutError is one of them
                self.trouble.met("store", failed)
                self.values["sojourn_database_up"] = {(): 0.0}
            else:
                self.trouble.over("store")
                self.values["sojourn_database_up"] = {(): 1.0}

    async def _read(self, c: Connection) -> None:
        backlog, waited = await store.pending_inputs(c, MOST), await relay.waiting_seconds(c)
        before = datetime.now(UTC)
        theirs = await readiness.wall_clock(c)
        ours = before + (datetime.now(UTC) - before) / 2
        self.values |= {
            "sojourn_relay_backlog": {(lane,): backlog[urgent] for urgent, lane in LANES.items()},
            "sojourn_relay_age_seconds": {(lane,): waited.get(urgent, 0.0) for urgent, lane in LANES.items()},
            "sojourn_quarantine_waiting": {(): await store.quarantined(c, MOST)},
            "sojourn_parked_enrollments": _by_name(await store.enrollments(c, "parked", MOST)),
            "sojourn_chore_last_success_timestamp_seconds": _by_name(await store.chores(c)),
            "sojourn_channel_rests": {(r.channel,): 1.0 for r in await senders.rests(c)},
            "sojourn_deployment": {(): float(await readiness.newest_deployment(c) or 0)},
            "sojourn_clock_skew_seconds": {(): (theirs - ours).total_seconds()},
        }

    def collect(self) -> Iterator[Metric]:
        """What was read last."""
        for name, said in GAUGES.items():
            yield gauge(name, said, self.values.get(name, {}))


def _by_name(found: dict[str, int] | dict[str, float]) -> Values:
    return {(name,): float(value) for name, value in found.items()}
