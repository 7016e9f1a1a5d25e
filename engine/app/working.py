"""A worker as a process of its own: checks what it needs, runs until it is asked to end, finishes what it has begun."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop
from prometheus_client import start_http_server
from prometheus_client.registry import Collector

from engine.app.processes import ServerError, free_port
from engine.app.version import build
from engine.app.wiring import open_worker
from engine.observe.metrics import exposed, watching
from engine.settings.project import Settings
from engine.store.schema import check
from engine.temporal import telemetry
from engine.temporal.grouping import BOTH, BULK

NICE = 5
"""How far a worker of the bulk lane alone gives way on its machine (`nice`): to a third of an equal's processor time."""

GARBAGE = (20_000, 20, 20)
"""Thresholds of the garbage collector. A batch of 500 makes tens of thousands of objects that end with it; with the usual
thresholds a tenth of a busy worker's time goes into looking through them."""


def work(settings: Settings, url: str, temporal_address: str, say: Callable[[str], None], lanes: Sequence[str] = BOTH) -> None:
    """Run a worker for `lanes` on the database at `url` and Temporal at `temporal_address` (host:port) until SIGTERM or SIGINT; a
    second signal ends the process at once. `say` hears that it is ready and that it stops.

    Raises SchemaError before anything is touched, Unreachable, ChannelError, ScaleChanged, and the driver's own errors where the
    database doesn't answer."""
    check(url)
    if set(lanes) == {BULK}:
        _give_way()
    uvloop.run(_until_asked(settings, url, temporal_address, say, lanes))


def _give_way() -> None:
    """Let others have the processors first. Linux may weigh sessions and not processes, so one that is this worker's own gives
    way too."""
    os.nice(NICE)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # it doesn't, or sets no weights now: then the above is all there is
            Path("/proc/self/autogroup").write_text(str(NICE))


async def _until_asked(
    settings: Settings, url: str, temporal_address: str, say: Callable[[str], None], lanes: Sequence[str]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked() -> None:
        say("stopping: what was begun is finished first")
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    port = settings.metrics.port
    core = None if port is None else free_port()
    with watching("sojourn_build_info", build):
        async with open_worker(settings, url, temporal_address, lanes=lanes, runtime=telemetry.runtime(core)) as worker:
            if core is not None and port is not None:
                bound = serve_metrics(settings.metrics.host, port, telemetry.CoreMetrics(core))
                say(f"metrics at http://{settings.metrics.host}:{bound}/metrics")
            _settle_garbage()
            channels = ", ".join(sorted(worker.workers.channels)) or "no channels"
            only = "" if set(lanes) == set(BOTH) else f"{' and '.join(lanes)} only, the rest needs another worker; "
            say(f"working for {settings.project}: {channels}; {only}Temporal at {temporal_address}")
            await worker.run(stop)


def serve_metrics(host: str, port: int, *more: Collector) -> int:
    """Serve this process's metrics, and `more`, at `port` of `host` (0: any free one) for as long as it lives; the port. Raises
    ServerError where it is taken."""
    try:
        server, _ = start_http_server(port, host, exposed(*more))
    except OSError as taken:
        why = f"metrics can't be served at {host}:{port}: {taken.strerror or taken}"
        raise ServerError(f"{why}; metrics.port in sojourn.yaml says where") from None
    return int(server.server_port)


def _settle_garbage() -> None:
    """What is loaded by now stays for ever: the collector needn't look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)
