"""The API as a process: everything wired, uvicorn inside, requests finished before it ends.

SIGTERM and SIGINT end it in order; the process then leaves through `ending.end_process`, like all of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import uvicorn
import uvloop
from temporalio.client import Client

from engine.api.access import Access
from engine.api.app import create_app
from engine.api.reach import Reach
from engine.app.ending import end_process
from engine.app.version import build
from engine.app.wiring import Core, open_core
from engine.delivery.channel import Channel, ChannelError, load_channel
from engine.observe.metrics import watching
from engine.settings.project import Settings
from engine.store.schema import SchemaError, check
from engine.temporal.client import Unreachable
from engine.temporal.client import connect as connect_temporal

log = logging.getLogger("sojourn.api")

KEPT_OPEN = 75
"""Seconds that a connection without a request stays open: longer than load balancers and clients keep theirs (often a minute), or
one would now and then send a request into a connection that is just being closed."""

GRACE = 20
"""Seconds that requests get to finish at the end."""


GARBAGE = (20_000, 20, 50)
"""Thresholds of the garbage collector, for a process that makes many objects per request and hardly a cycle: with Python's own it
walks through all of them again and again."""


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: they would raise the signal again afterwards and take our exit code."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leaves signals alone; `serve` has them."""
        yield


class TemporalProbe:
    """Asks Temporal whether it is there, over one connection that is made when first needed."""

    def __init__(self, address: str, namespace: str) -> None:
        self._address, self._namespace = address, namespace
        self._client: Client | None = None

    async def __call__(self) -> None:
        """Raises an exception that says why where Temporal doesn't answer."""
        if self._client is None:
            self._client = await connect_temporal(self._address, self._namespace)
        if not await self._client.service_client.check_health(timeout=timedelta(seconds=3)):
            raise Unreachable(f"Temporal at {self._address} says that it isn't serving")


def told_by(settings: Settings) -> dict[str, Channel]:
    """The channels, and the receivers of tasks, whose providers may call. One that can't be loaded here is said, and takes
    no webhooks: events come in all the same."""
    found = {}
    for name, config in settings.adapters().items():
        try:
            found[name] = load_channel(name, config)
        except ChannelError as error:
            log.warning("%s; until then its webhook isn't there", error)
    return found


def reach_of(core: Core, temporal_address: str, channels: Mapping[str, Channel] | None = None) -> Reach:
    """What the API needs, from what every process has. `channels`: those whose providers may call."""
    probe = TemporalProbe(temporal_address, core.settings.temporal.namespace)

    def logical_now() -> datetime:
        return core.clock.logical(datetime.now(UTC))

    return Reach(
        core.settings.project,
        Access.of(core.settings),
        core.database,
        core.deployments,
        core.intake,
        core.links,
        probe,
        logical_now,
        core.clock.logical,
        channels or {},
        {name: one.replies.texts() for name, one in core.settings.channels.items()},
        inbox=core.settings.inbox,
    )


def server_of(reach: Reach, host: str, port: int) -> tuple[Server, socket.socket]:
    """A server for `reach` and the socket it listens on (port 0: any free one). Raises OSError where the port is taken."""
    config = uvicorn.Config(
        create_app(reach),
        host=host,
        port=port,
        lifespan="off",
        access_log=False,  # paths hold ids of customers and unsubscribe tokens
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEPT_OPEN,
        timeout_graceful_shutdown=GRACE,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return Server(config), listening


async def serve(
    settings: Settings,
    url: str,
    temporal_address: str,
    port: int | None = None,
    *,
    host: str | None = None,
    public_url: str | None = None,
    started: Callable[[int], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT; `started` hears the port. `host` and `port` win over the settings.

    Raises SchemaError where the database has another schema, OSError where the port is taken."""
    await asyncio.to_thread(check, url)
    async with open_core(settings, url, public_url=public_url) as core:
        reach = reach_of(core, temporal_address, told_by(settings))
        server, listening = server_of(
            reach,
            settings.api.host if host is None else host,
            settings.api.port if port is None else port,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, setattr, server, "should_exit", True)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        bound: int = listening.getsockname()[1]
        started(bound)
        with listening, watching("sojourn_build_info", build):
            await server.serve(sockets=[listening])
        await reach.tally.write(core.database)
        for channel in reach.channels.values():
            await channel.close()


def run_api(
    settings: Settings,
    url: str,
    temporal_address: str,
    port: int | None = None,
    *,
    host: str | None = None,
    public_url: str | None = None,
    started: Callable[[int], None] = lambda _: None,
) -> NoReturn:
    """`serve` as a whole process: exit code 0 when it was asked to end, 1 where it couldn't start, which the log explains."""
    try:
        uvloop.run(serve(settings, url, temporal_address, port, host=host, public_url=public_url, started=started))
    except (SchemaError, OSError) as cannot:
        log.error("the API can't start: %s", cannot)  # the message says all there is to know
        end_process(1)
    end_process(0)
