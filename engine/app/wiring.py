"""The composition root: settings in, everything wired out. What a process needs is built here and nowhere else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import cast

import httpx
from sqlalchemy.pool import QueuePool
from temporalio.runtime import Runtime

from engine.core.logical import LogicalClock
from engine.delivery.acts import Acting
from engine.delivery.channel import Channel, ChannelError, load_channel
from engine.delivery.deliver import Delivery
from engine.delivery.deployment import NothingDeployed
from engine.delivery.deployments import Deployments
from engine.delivery.evaluate import Evaluation
from engine.delivery.guard import Outward
from engine.delivery.inbox import Inbox
from engine.delivery.links import Links, load_links
from engine.delivery.pacing import Pace
from engine.delivery.receiving import Receiver
from engine.delivery.tasks import Handing
from engine.delivery.warming import Warmup
from engine.intake import resting
from engine.intake.awaiting import Awaiting
from engine.intake.backfill import Backfill
from engine.intake.carrying import Carrier
from engine.intake.door import Intake
from engine.intake.expiring import Expiring
from engine.intake.fan_out import FanOut
from engine.intake.moving import Moving
from engine.intake.predicting import NoModels, NothingToPredict, Predicting
from engine.intake.relay import Relay
from engine.intake.sweeping import Sweep
from engine.observe.metrics import Values, watching
from engine.settings.project import Settings
from engine.store import clock as clock_store
from engine.store import gauges, planned, senders
from engine.store.database import Database, connect, transaction
from engine.temporal.activities import Activities
from engine.temporal.broadcasting import Broadcasting
from engine.temporal.chores import Chore, Chores
from engine.temporal.client import Journeys
from engine.temporal.client import connect as connect_temporal
from engine.temporal.grouping import BOTH, BULK
from engine.temporal.worker import Workers

log = logging.getLogger("sojourn.chores")

WORKER_POOL, API_POOL = 24, 16
"""Connections to PostgreSQL per process at the most; its default allows 100 in all."""

PREFIX = "sojourn"
"""What a project's task queues and workflow ids begin with: it has a namespace of its own."""

CALL_CONNECTIONS = 100
"""Connections to one host that the journeys' calls have open at the most, per worker process."""

CHORES = {name: timedelta(hours=1) for name in ("calendar", "segments", "waits", "moves", "backfill", "predict")} | {
    "retention": timedelta(days=1)
}
"""What is done every so often, in logical time."""


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


def _connections(database: Database) -> Values:
    pool = cast("QueuePool", database.pool)
    return {("in_use",): pool.checkedout(), ("idle",): pool.checkedin(), ("most",): pool.size()}


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
        with watching("sojourn_database_connections", partial(_connections, database)):
            yield Core(settings, url, database, deployments, clock, links, Intake(database, deployments))
    finally:
        await database.dispose()


def load_channels(settings: Settings) -> dict[str, Channel]:
    """Every channel of the settings. Raises ChannelError; under a time scale also where a channel isn't on this machine."""
    channels = {name: load_channel(name, c.config()) for name, c in settings.channels.items()}
    _check_local(settings, channels.values())
    return channels


def load_receivers(settings: Settings) -> dict[str, Receiver | None]:
    """Queue → who takes its tasks, None for our own list. A receiver is called `tasks.QUEUE`. Raises as `load_channels`."""
    receivers: dict[str, Receiver | None] = {}
    for queue, written in settings.tasks.items():
        config = written.config()
        receivers[queue] = None if config is None else load_receiver(queue, config)
    _check_local(settings, [one for one in receivers.values() if one is not None])
    return receivers


def load_receiver(queue: str, config: Mapping[str, object]) -> Receiver:
    """The one for `queue`. Raises ChannelError."""
    name = f"tasks.{queue}"
    found = load_channel(name, config)
    if not isinstance(found, Receiver):
        raise ChannelError(
            name, f"{config['use']} takes messages, not tasks", "docs/reference/channels.md lists what takes tasks"
        )
    return found


def _check_local(settings: Settings, channels: Iterable[Channel]) -> None:
    remote = sorted(c.name for c in channels if not c.capabilities.local) if settings.time_scale != 1 else []
    if remote:
        raise ValueError(
            f"time_scale {settings.time_scale:g} is for channels on this machine only, and {', '.join(remote)} is not"
        )


def encryption_keys(settings: Settings) -> str:
    """The keys of Temporal's payloads as `temporal.codec` reads them, the one that writes first; "" where none is set."""
    if settings.encryption.key is None:
        return ""
    return ",".join(k.get_secret_value() for k in (settings.encryption.key, *settings.encryption.previous))


@dataclass(slots=True)
class Worker:
    """One worker process: Temporal workers, the relay, and where it serves the bulk lane, what brings broadcasts."""

    core: Core
    workers: Workers
    relay: Relay
    carrier: Carrier | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set, or one of them fails."""
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
        parts = [asyncio.ensure_future(self.relay.run(ended)), asyncio.ensure_future(self.workers.run(ended))]
        if self.carrier is not None:
            parts.append(asyncio.ensure_future(self.carrier.run(ended)))
        try:
            await asyncio.gather(*map(guarded, parts))
        finally:
            forwarding.cancel()


@asynccontextmanager
async def open_worker(
    settings: Settings,
    url: str,
    temporal_address: str,
    *,
    prefix: str = PREFIX,
    lanes: Sequence[str] = BOTH,
    channels: Mapping[str, Channel] | None = None,
    sandboxed: bool = False,
    keeps_chores: bool = True,
    heartbeat_seconds: float = 5.0,
    lease_seconds: float = 15.0,
    runtime: Runtime | None = None,
) -> AsyncIterator[Worker]:
    """A worker process, wired, for these `lanes`. `channels` may be given instead of loaded (tests, benches). `runtime`: of
    Temporal's SDK, where it isn't the usual one.
    `keeps_chores`: whether it has Temporal do the chores; it can do them in any case."""
    outward = Outward(CALL_CONNECTIONS, settings.calls.allow_private, "`calls: {allow_private: true}` in sojourn.yaml")
    async with (
        AsyncExitStack() as watched,
        open_core(settings, url, pool=WORKER_POOL) as core,
        httpx.AsyncClient(transport=outward, trust_env=False) as http,
    ):
        loaded = dict(channels) if channels is not None else load_channels(settings)
        for channel in loaded.values():
            if isinstance(channel, Inbox):
                channel.open(core.database)
        handing = Handing(core.database, core.clock, load_receivers(settings))
        keys = encryption_keys(settings)
        client = await connect_temporal(temporal_address, settings.temporal.namespace, encryption_key=keys, runtime=runtime)
        paces = {n: Pace(core.database, n, c.rate) for n, c in settings.channels.items() if c.rate is not None}
        activities = Activities(
            core.database,
            core.deployments,
            Evaluation(core.database, core.deployments),
            Acting(core.database, core.deployments, core.intake, core.clock, http, handing),
            Delivery(
                core.database,
                core.deployments,
                loaded,
                paces,
                core.links,
                core.clock,
                core.intake,
                lease_seconds,
                {
                    name: Warmup(core.database, name, w.start, w.double, w.until, w.sender)
                    for name, c in settings.channels.items()
                    if (w := c.warmup) is not None
                },
                frozenset(name for name, c in settings.channels.items() if c.complaints is not None),
            ),
        )
        fan_out = FanOut(core.database, core.deployments, core.intake, core.clock)
        journeys = Journeys(client, prefix, core.clock, settings.cohort.max_size, heartbeat_seconds)
        async with transaction(core.database) as c:
            await planned.know_channels(c, {name: channel.capabilities.address for name, channel in loaded.items()})
            limits = {name: c.complaints.limit() for name, c in settings.channels.items() if c.complaints is not None}
            await senders.know_limits(c, {name: limits.get(name) for name in loaded})
            unlimited = [r.channel for r in await senders.rests(c) if r.channel in loaded and r.channel not in limits]
        for name in unlimited:
            await resting.lift(core.database, name, resting.ENGINE)
        chores = _chores(core, fan_out)
        if handing.receivers:
            chores.append(Chore("tasks", timedelta(minutes=1), handing.finish))
        try:
            watched.enter_context(watching("sojourn_tokens_waiting", lambda: {(n,): p.waiting() for n, p in paces.items()}))
            yield Worker(
                core,
                Workers(
                    client,
                    prefix,
                    activities,
                    sorted(loaded),
                    lanes,
                    Broadcasting(fan_out),
                    Chores(chores, partial(_done, core.database)),
                    sandboxed=sandboxed,
                ),
                Relay(core.database, url, core.deployments, journeys, settings.relay.partitions, lanes),
                Carrier(fan_out, url, journeys, chores if keeps_chores else ()) if BULK in lanes else None,
            )
        finally:
            for channel in (*loaded.values(), *(one for one in handing.receivers.values() if one is not None)):
                await channel.close()


async def _done(database: Database, chore: str) -> None:
    async with transaction(database) as c:
        await gauges.chore_done(c, chore)


def _chores(core: Core, fan_out: FanOut) -> list[Chore]:
    """What is done every so often."""
    backfill = Backfill(core.database, core.deployments)
    predicting = Predicting(core.database, core.deployments, backfill)
    sweep = Sweep(core.deployments, core.intake)
    awaiting = Awaiting(core.database, core.deployments, core.intake)
    moving = Moving(core.database, core.deployments)
    expiring = Expiring(core.database, core.deployments, core.settings.retention.periods())

    async def plan() -> bool:
        await fan_out.plan_ahead()
        return False

    async def fill_in() -> bool:
        try:
            return not (await backfill.page()).done
        except NothingDeployed:
            return False

    async def predict() -> bool:
        try:
            return await predicting.step()
        except (NothingDeployed, NothingToPredict):
            return False
        except NoModels as missing:
            log.warning("%s", missing)
            return False

    runs: dict[str, Callable[[], Awaitable[bool]]] = {
        "calendar": plan,
        "segments": sweep.round,
        "waits": awaiting.round,
        "moves": moving.round,
        "backfill": fill_in,
        "predict": predict,
        "retention": expiring.run,
    }
    return [Chore(name, CHORES[name], run, after_deploy=name in ("segments", "moves")) for name, run in runs.items()]
