"""The end of a relay: prompt, whatever is being notified at that moment."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.delivery.deployments import Deployments
from engine.intake.relay import Relay
from engine.store.database import connect, run, transaction
from engine.store.enrollments import CHANNEL

STOPS = 60


class Nowhere:
    """Cohorts, of which nothing comes before the first deploy."""

    max_size = 500


async def test_it_stops_while_notifications_pour_in(database_url: str) -> None:
    """A stop that comes together with a notification is heard."""
    nowhere: Any = Nowhere()
    database = connect(database_url)

    async def pour() -> None:
        while True:
            async with transaction(database) as c:
                await run(c, "select pg_notify(:channel, '')", channel=CHANNEL)

    pouring = asyncio.create_task(pour())
    try:
        for n in range(STOPS):
            relay = Relay(database, database_url, Deployments(), nowhere, partitions=4)
            stop = asyncio.Event()
            running = asyncio.create_task(relay.run(stop))
            await asyncio.sleep(0.02 + n % 7 / 1_000)
            stop.set()
            async with asyncio.timeout(5):
                await running
    finally:
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
        await database.dispose()
