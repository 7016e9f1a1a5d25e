"""How fast what happened is replayed: cohorts' histories against today's workflow, and customers' lives from their record."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.stack import Stack, WrongResult
from engine.app.replaying import replay_stored
from engine.delivery.deployments import Deployments
from engine.insight.lived import read_lives
from engine.insight.retracing import retrace
from engine.settings.project import Settings
from engine.store.database import connect, fetch, transaction

LIVES = 500
"""Customers whose lives are replayed, at the most."""

TOGETHER = 20
"""Members of a cohort: so that there are many histories, of a hundred events or so."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Histories, and their events, that are fetched and replayed in a second; enrollments that are read and replayed in one."""

    histories: float
    events: float
    lives: float


async def replay_all(s: Stack) -> Speed:
    """Everything that Temporal has and some of the lives, each of which must come out as it is recorded. Raises WrongResult."""
    database = connect(s.servers.database_url, pool=2)
    try:
        report = await replay_stored(Settings(), database, s.servers.temporal_address)
        if report.broken or not report.fits:
            raise WrongResult(f"{len(report.broken)} of {report.fits + len(report.broken)} histories don't replay")
        deployments = Deployments()
        began, lives = time.perf_counter(), 0
        async with transaction(database) as c:
            for row in await fetch(c, "select id from customers order by id limit :n", n=LIVES):
                for life in await read_lives(c, row.id, None, deployments):
                    told = retrace(life)
                    if not told.exact:
                        raise WrongResult(f"enrollment {life.id} doesn't come out as recorded: {told.differs}")
                    lives += 1
        seconds = time.perf_counter() - began
    finally:
        await database.dispose()
    return Speed(report.fits / report.seconds, report.events / report.seconds, lives / seconds)
