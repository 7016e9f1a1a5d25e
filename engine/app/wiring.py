"""The composition root: settings in, everything wired out. What a process needs is built here and nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from engine.core.logical import LogicalClock
from engine.delivery.acts import Acting
from engine.delivery.channel import Channel, load_channel
from engine.delivery.deliver import Delivery
from engine.delivery.deployments import Deployments
from engine.delivery.evaluate import Evaluation
from engine.delivery.guard import Outward
from engine.delivery.links import Links, load_links
from engine.delivery.pacing import Pace
from engine.intake.door import Intake
from engine.intake.relay import Relay
from engine.settings.project import Settings
from engine.store import clock as clock_store
from engine.store import planned
from engine.store.database import Database, connect, transaction
from engine.temporal.activities import Activities
from engine.temporal.client import Journeys
from engine.temporal.client import connect as connect_temporal
from engine.temporal.grouping import BOTH
from engine.temporal.worker import Workers

WORKER_POOL, API_POOL = 24, 16
"""Connections to PostgreSQL per process at the most; its default allows 100 in all."""

CALL_CONNECTIONS = 100
"""Connections to one host that the journeys' calls have open at the most, per worker process."""


@dataclass(slots=True)
class Core:
    """What every process has: the store, the deployment, the door."""

    settings: Settings
    url: str
    database: Database
    deployments: Deployments
    clock: LogicalClock
    links: Links
    intake: Intake


@asynccontextmanager
async def open_core(settings: Settings, url: str, *, pool: int = API_POOL, public_url: str | None = None) -> AsyncIterator[Core]:
    """The store at `url`, wired. Sets `time_scale` at the first start and refuses another one while enrollments live."""
    database = connect(url, pool=pool, name=settings.project)
    try:
        async with transaction(database) as c:
            clock = await clock_store.settle(c, settings.time_scale)
            base = public_url or settings.api.public_url or f"http://{settings.api.host}:{settings.api.port}"
            links = await load_links(c, base)
        deployments = Deployments()
        yield Core(settings, url, database, deployments, clock, links, Intake(database, deployments))
    finally:
        await database.dispose()


def load_channels(settings: Settings) -> dict[str, Channel]:
    """Every channel of the settings. Raises ChannelError; under a time scale also where a channel isn't on this machine."""
    channels = {name: load_channel(name, c.config()) for name, c in settings.channels.items()}
    remote = sorted(n for n, c in channels.items() if not c.capabilities.local) if settings.time_scale != 1 else []
    if remote:
        raise ValueError(
            f"time_scale {settings.time_scale:g} is for channels on this machine only, and {', '.join(remote)} is not"
        )
    return channels


@dataclass(slots=True)
class Worker:
    """One worker process: Temporal workers and the relay."""

    core: Core
    workers: Workers
    relay: Relay

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set, or one of the two fails."""
        ended = asyncio.Event()

        async def guarded(part: asyncio.Future[None]) -> None:
            try:
                await part
            finally:
                ended.set()

        async def forward() -> None:
            await stop.wait()
            ended.set()

        forwarding = asyncio.create_task(forward())
        relay = asyncio.ensure_future(self.relay.run(ended))
        workers = asyncio.ensure_future(self.workers.run(ended))
        try:
            await asyncio.gather(guarded(relay), guarded(workers))
        finally:
            forwarding.cancel()


@asynccontextmanager
async def open_worker(
    settings: Settings,
    url: str,
    temporal_address: str,
    *,
    prefix: str = "sojourn",
    lanes: Sequence[str] = BOTH,
    channels: Mapping[str, Channel] | None = None,
    sandboxed: bool = False,
    heartbeat_seconds: float = 5.0,
    lease_seconds: float = 15.0,
) -> AsyncIterator[Worker]:
    """A worker process, wired, for these `lanes`. `channels` may be given instead of loaded (tests, benches)."""
    outward = Outward(CALL_CONNECTIONS, settings.calls.allow_private, "`calls: {allow_private: true}` in sojourn.yaml")
    async with (
        open_core(settings, url, pool=WORKER_POOL) as core,
        httpx.AsyncClient(transport=outward, trust_env=False) as http,
    ):
        loaded = dict(channels) if channels is not None else load_channels(settings)
        key = settings.encryption.key.get_secret_value() if settings.encryption.key else ""
        if key and settings.encryption.previous:
            key = ",".join([key, *(p.get_secret_value() for p in settings.encryption.previous)])
        client = await connect_temporal(temporal_address, settings.temporal.namespace, encryption_key=key)
        rates = {name: c.rate for name, c in settings.channels.items()}
        activities = Activities(
            core.database,
            core.deployments,
            Evaluation(core.database, core.deployments),
            Acting(core.database, core.deployments, core.intake, core.clock, http),
            Delivery(
                core.database,
                core.deployments,
                loaded,
                {name: Pace(core.database, name, rate) for name, rate in rates.items() if rate is not None},
                core.links,
                core.clock,
                core.intake,
                lease_seconds,
            ),
        )
        journeys = Journeys(client, prefix, core.clock, settings.cohort.max_size, heartbeat_seconds)
        async with transaction(core.database) as c:
            await planned.know_channels(c, {name: channel.capabilities.address for name, channel in loaded.items()})
        try:
            yield Worker(
                core,
                Workers(client, prefix, activities, sorted(loaded), lanes, sandboxed=sandboxed),
                Relay(core.database, url, core.deployments, journeys, settings.relay.partitions, lanes),
            )
        finally:
            for channel in loaded.values():
                await channel.close()
