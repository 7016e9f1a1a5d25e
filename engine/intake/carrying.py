"""Brings broadcasts to Temporal: plans after each deploy, and has a workflow carry whatever has something to do.

Any number of processes may do so: an occurrence is planned once, and a turn has one workflow. A crash between starting the
workflow and noting it repeats the start, which then changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from engine.delivery.deployment import NothingDeployed
from engine.intake.fan_out import FanOut
from engine.store import broadcasts
from engine.store import deployments as deployment_store
from engine.store.database import transaction
from engine.store.listening import listen
from engine.store.trouble import Trouble
from engine.temporal import broadcasting, chores
from engine.temporal.chores import Chore
from engine.temporal.client import Journeys, Unreachable

log = logging.getLogger("sojourn.broadcasts")

AT_ONCE = 50
"""Broadcasts that one round brings."""

IDLE_SECONDS = 1.0
"""How long a round waits at most for a notification before it looks by itself."""


@dataclass(slots=True)
class Carrier:
    """For one process. `url`: of the database, for notifications. `planned`: the deployment that it has planned for; `kept`:
    whether Temporal has the Schedules of `chores`; `done_for`: the deployment after which it had them done. `recovered`:
    whether what is said to be carried was brought again, should Temporal have lost it."""

    fan_out: FanOut
    url: str
    journeys: Journeys
    chores: Sequence[Chore] = ()
    planned: int = 0
    kept: bool = False
    done_for: int = 0
    recovered: bool = False
    trouble: Trouble = field(default_factory=lambda: Trouble(log, "what starts broadcasts"))

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; whatever goes wrong is said and tried again."""
        heard = asyncio.Event()
        listener = asyncio.create_task(listen(self.url, [broadcasts.CHANNEL, deployment_store.CHANNEL], heard))
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: heard.set())
        try:
            while not stop.is_set():
                heard.clear()
                try:
                    await self.round()
                    self.trouble.over("round")
                except NothingDeployed:
                    self.trouble.over("round")
                except (Unreachable, DBAPIError, PoolTimeout, OSError) as failed:
                    self.trouble.met("round", failed)
                except Exception as failed:
                    if self.trouble.met("round", failed):
                        log.exception("bringing broadcasts failed")
                if not stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(IDLE_SECONDS):
                            await heard.wait()
        finally:
            for task in (listener, stopping):
                task.cancel()
            await asyncio.gather(listener, stopping, return_exceptions=True)

    async def round(self) -> int:
        """Plan where there is a new deployment, and start what has something to do; how many broadcasts that was."""
        async with transaction(self.fan_out.database) as c:
            deployment = await self.fan_out.deployments.current(c)
        if deployment.id != self.planned:
            await self.fan_out.plan_ahead()
            self.planned = deployment.id
        async with transaction(self.fan_out.database) as c:
            ready = [*await broadcasts.ready(c, AT_ONCE), *([] if self.recovered else await broadcasts.in_hands(c))]
        if ready:
            await asyncio.gather(*(broadcasting.carry(self.journeys, r.id, r.turn) for r in ready))
            async with transaction(self.fan_out.database) as c:
                await broadcasts.carried(c, [(r.id, r.turn) for r in ready])
        self.recovered = True
        if not self.kept:
            await chores.keep(self.journeys, self.chores)
            self.kept = True
        if deployment.id != self.done_for:
            await chores.after_deploy(self.journeys, self.chores)
            self.done_for = deployment.id
        return len(ready)
