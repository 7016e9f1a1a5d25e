"""One process of a Sojourn that a test may kill: `python -m tests.faults.member worker|intake FOLDER …`.

`worker FOLDER PREFIX` works and relays, with timings short enough that a killed one is noticed in seconds. `intake FOLDER FILE`
takes the events of a JSON file in, again and again until the store has acknowledged them, as a client of the API would.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from sqlalchemy.exc import InterfaceError, OperationalError

from engine.app.ending import end_process
from engine.app.wiring import open_core, open_worker
from engine.core.incoming import Incoming
from engine.settings.project import Settings, load_settings

BATCH = 10
"""Events that `intake` takes in at once."""


async def worker(folder: Path, prefix: str) -> None:
    """A worker until SIGTERM."""
    settings = load_settings(folder, os.environ)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    url, address = _servers(settings)
    async with open_worker(settings, url, address, prefix=prefix, heartbeat_seconds=2.0, lease_seconds=4.0) as one:
        one.workers.sticky_seconds = 1.0
        one.relay.journeys = replace(one.relay.journeys, task_timeout_seconds=2.0)
        if one.carrier is not None:
            one.carrier.journeys = one.relay.journeys
        print("ready", flush=True)
        await one.run(stop)


async def intake(folder: Path, file: Path) -> None:
    """Take in [message id, user, event, properties] from `file`; an item that is there already changes nothing."""
    settings = load_settings(folder, os.environ)
    items = [
        Incoming("track", "faults", message, name, properties, identifiers={"user_id": user})
        for message, user, name, properties in json.loads(file.read_text())
    ]
    url, _ = _servers(settings)
    print("ready", flush=True)
    while items:
        try:
            async with open_core(settings, url, pool=2) as core:
                while items:
                    await core.intake.accept(items[:BATCH])
                    items = items[BATCH:]
        except (OperationalError, InterfaceError, OSError) as failed:
            print(f"again: {type(failed).__name__}", flush=True)
            await asyncio.sleep(0.2)
    print("done", flush=True)


def _servers(settings: Settings) -> tuple[str, str]:
    assert settings.database_url is not None
    assert settings.temporal_address is not None
    return settings.database_url, settings.temporal_address


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    role, *rest = sys.argv[1:]
    if role == "worker":
        asyncio.run(worker(Path(rest[0]), rest[1]))
    else:
        asyncio.run(intake(Path(rest[0]), Path(rest[1])))
    end_process(0)
