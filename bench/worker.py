"""A worker process as the benches start it: `python -m bench.worker PROJECT`, servers from the environment, SIGTERM ends it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from engine.app.ending import end_process
from engine.app.wiring import open_worker
from engine.settings.project import load_settings


async def work(project: Path) -> None:
    """Work until SIGTERM. Prints `ready` when everything is wired."""
    settings = load_settings(project, os.environ)
    assert settings.database_url is not None
    assert settings.temporal_address is not None
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_worker(settings, settings.database_url, settings.temporal_address) as worker:
        print("ready", flush=True)
        await worker.run(stop)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(work(Path(sys.argv[1])))
    end_process(0)
