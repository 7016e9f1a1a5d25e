"""The demo: real customers through real journeys on real servers, weeks in a minute, real letters in a local mailbox.

    servers ─▶ migrate ─▶ deploy ─▶ import history ─▶ turn the clock back ─▶ play the live weeks ─▶ settle ─▶ look

Everything lies in one folder and ends with the block. Only the order of things belongs here: the people are in `demo_sample`, the
letters in `demo_mailbox`, what became of it all in `demo_outcome`.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop

from engine.app.demo_api import Api, serving
from engine.app.demo_mailbox import Mailbox, open_mailbox
from engine.app.demo_outcome import Outcome, look
from engine.app.demo_sample import Sample, read_sample
from engine.app.deploying import deploy
from engine.app.embedded import Embedded, make_folder
from engine.app.ending import ending_on_request, undisturbed
from engine.app.wiring import Core, Worker, open_core, open_worker
from engine.authoring.project import load_project
from engine.core.logical import LogicalClock
from engine.intake.door import BATCH
from engine.settings.project import DATABASE_VARIABLE, TEMPORAL_VARIABLE, ChannelSettings, RelaySettings, Settings, load_settings
from engine.store import clock as clock_store
from engine.store import outcomes
from engine.store.database import transaction
from engine.store.schema import migrate

DAY = timedelta(days=1)
RUN_UP_SECONDS = 2.5
"""Real time between setting the clock and the first live event, in which the worker starts."""

SETTLING = timedelta(days=2)
"""Logical time after the last live event at the most, in which what still waits may go out."""

PATIENCE_SECONDS = 15.0
"""How long inputs may still be on their way to cohorts after that."""

LOOK_EVERY_SECONDS = 0.25
TOGETHER_SECONDS = 0.1
"""Live events of one such span of real time go in together, as a busy source would send them."""

PHASES = ("servers", "migrate", "deploy", "import", "live", "settle")

Tell = Callable[[str, float, float], None]
"""Hears of progress: the phase (one of PHASES), how much of it is done, and how much there is (events, or logical days)."""


class DemoError(Exception):
    """The demo can't go on; the message says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """`project`: its folder. `folder`: one of `demo_folder`, for everything that the demo makes. `seconds_per_day`: real
    ones for each live day. `environ`: what `sojourn.yaml` may refer to."""

    project: Path
    folder: Path
    households: int = 100
    days: int = 14
    seconds_per_day: float = 3.6
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def scale(self) -> float:
        """How many times faster than life the live days pass."""
        return DAY.total_seconds() / self.seconds_per_day


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that has been played: what became of it, and what runs until the block ends."""

    options: Options
    sample: Sample
    journeys: int
    outcome: Outcome
    mailbox: Mailbox
    servers: Embedded


@contextlib.contextmanager
def demo_folder(keep: bool) -> Iterator[Path]:
    """A temporary folder for a demo, removed at the end unless it is to be kept."""
    folder = Path(tempfile.mkdtemp(prefix="sojourn-demo-"))
    make_folder(folder)  # while it is empty: then PostgreSQL's account may pass through
    try:
        yield folder
    finally:
        if not keep:
            undisturbed(lambda: shutil.rmtree(folder, ignore_errors=True))


@contextlib.contextmanager
def played(options: Options, tell: Tell) -> Iterator[Demo]:
    """Play the demo; in the block its servers still run and its database can be looked at. Nothing runs afterwards, also when it
    is interrupted, by SIGTERM and SIGHUP as by Ctrl-C.

    Raises DemoError, SampleError, MailboxError, RefusedCall, ServerError, AuthoringError and SettingsError."""
    sample = read_sample(options.project, options.households, options.days)
    with contextlib.ExitStack() as last:
        last.enter_context(ending_on_request())
        mailbox = last.enter_context(open_mailbox(options.folder / "mailbox"))
        settings = _settings(options, mailbox)
        tell("servers", 0, 1)
        servers = Embedded.start(options.folder / "data", exact_timers=True, durable=False, ui_port=None)
        last.callback(undisturbed, servers.stop)
        tell("servers", 1, 1)
        tell("migrate", 0, 1)
        migrate(servers.database_url)
        tell("migrate", 1, 1)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            journeys, outcome = runner.run(_play(options, settings, sample, servers, mailbox, tell))
        yield Demo(options, sample, journeys, outcome, mailbox, servers)


def _settings(options: Options, mailbox: Mailbox) -> Settings:
    """The project's own settings on the demo's servers: e-mail goes to the mailbox, every other channel into files. Where the
    environment names servers it isn't listened to: the demo touches nobody's database."""
    environ = {k: v for k, v in options.environ.items() if k not in (DATABASE_VARIABLE, TEMPORAL_VARIABLE)}
    settings = load_settings(options.project, environ)
    channels = {
        name: ChannelSettings.model_validate(
            {"use": "channels.smtp", "host": "127.0.0.1", "port": str(mailbox.port)}
            if name == "email"
            else {"use": "channels.file", "folder": str(options.folder / "messages")}
        )
        for name in settings.channels
    }
    return settings.model_copy(
        update={
            "channels": channels,
            "time_scale": options.scale,
            "relay": RelaySettings(partitions=1),
            "write_keys": {},
            "tokens": {},
        }
    )


async def _play(
    options: Options, settings: Settings, sample: Sample, servers: Embedded, mailbox: Mailbox, tell: Tell
) -> tuple[int, Outcome]:
    """Everything that needs the database: how many journeys were deployed, and what became of it."""
    still = settings.model_copy(update={"time_scale": 1.0})
    async with open_core(still, servers.database_url) as core:
        await _turn_clock(core, 1.0, sample.begins)
        tell("deploy", 0, 1)
        compiled = load_project(options.project, settings.channels)
        await deploy(core.database, compiled, "demo")
        tell("deploy", 1, 1)
        await _import(core, sample, tell)
        await _turn_clock(core, options.scale, sample.begins - timedelta(seconds=RUN_UP_SECONDS * options.scale))
    async with open_worker(settings, servers.database_url, servers.temporal_address, prefix="demo") as worker:
        async with _working(worker), serving(worker.core, servers.temporal_address) as api:
            await _live(worker.core.clock, api, sample, tell)
            await _settle(worker, sample, tell)
        outcome = await look(worker.core.database, compiled.policy, sample, mailbox, options.folder / "messages")
    return len(compiled.plans), outcome


async def _turn_clock(core: Core, scale: float, at: datetime) -> None:
    async with transaction(core.database) as c:
        await clock_store.begin(c, scale, at)


async def _import(core: Core, sample: Sample, tell: Tell) -> None:
    """The past: it fills profiles and wakes nobody."""
    total = len(sample.history)
    tell("import", 0, total)
    for i in range(0, total, BATCH):
        _heed()
        await core.intake.accept(sample.history[i : i + BATCH])
        tell("import", min(i + BATCH, total), total)


@contextlib.asynccontextmanager
async def _working(worker: Worker) -> AsyncIterator[None]:
    """The worker works while the block runs; where it fails, the block ends with its error."""
    stop = asyncio.Event()
    block = asyncio.current_task()
    assert block is not None
    task = asyncio.create_task(worker.run(stop))

    def ended(done: asyncio.Task[None]) -> None:
        if not stop.is_set():
            block.cancel()

    task.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if task.done() and not task.cancelled() and task.exception() is not None:
            raise DemoError(f"the worker failed: {task.exception()}") from task.exception()
        raise
    finally:
        stop.set()
        await task


def _heed() -> None:
    """End where that was asked for and forgotten: a `wait_for` of Python 3.11, such as the database driver's, drops a
    cancellation that comes together with what it waits for."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _now(clock: LogicalClock) -> datetime:
    return clock.logical(datetime.now(UTC))


async def _live(clock: LogicalClock, api: Api, sample: Sample, tell: Tell) -> None:
    """Each live event at its moment, those of TOGETHER_SECONDS in one request."""
    total = (sample.ends - sample.begins) / DAY
    moments = [item.occurred_at or sample.begins for item in sample.live]
    done = 0
    while (now := _now(clock)) < sample.ends or done < len(moments):
        _heed()
        tell("live", min(max((now - sample.begins) / DAY, 0), total), total)
        due = bisect_right(moments, now)
        await api.send(sample.calls[done:due])
        done = due
        wait = clock.real_seconds((moments[done] if done < len(moments) else sample.ends) - _now(clock))
        await asyncio.sleep(min(max(wait, TOGETHER_SECONDS), LOOK_EVERY_SECONDS))
    tell("live", total, total)


async def _settle(worker: Worker, sample: Sample, tell: Tell) -> None:
    """Time goes on without events until nothing waits any more or SETTLING is over; then whatever is under way arrives."""
    clock, total = worker.core.clock, SETTLING / DAY
    give_up = asyncio.get_running_loop().time() + clock.real_seconds(SETTLING) + PATIENCE_SECONDS
    while asyncio.get_running_loop().time() < give_up:
        async with transaction(worker.core.database) as c:
            inputs, waiting = await outcomes.settling(c)
        passed = (_now(clock) - sample.ends) / DAY
        tell("settle", min(max(passed, 0), total), total)
        if not inputs and (not waiting or passed >= total):
            break
        await asyncio.sleep(LOOK_EVERY_SECONDS)
    tell("settle", total, total)
