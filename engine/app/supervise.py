"""The tree of processes behind `sojourn up`: servers, migrations, children; restarted when they die, stopped in order.

Everything runs in a session of its own, so that Ctrl-C reaches only this process, which then stops the API, the workers, Temporal
and PostgreSQL, in that order. What an earlier `up` that was killed left running is stopped first.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.app.embedded import Embedded, make_folder
from engine.app.processes import Claim, ServerError, command_line, stop, write_private

PATIENCE: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0))
"""A child gets half a minute to finish what it is doing."""

FIRST_PAUSE, LONGEST_PAUSE, STEADY = 0.5, 30.0, 60.0
"""Seconds before a dead child is started again, doubled up to the longest; one that ran steadily starts at the first anew."""

READY_WITHIN = 60.0
LOOK_EVERY = 0.2


@dataclass(frozen=True, slots=True)
class Running:
    """Where a running system is found: what `run.json` says. `temporal_ui` and `api_url` are None where there are none."""

    pid: int
    database_url: str = field(repr=False)
    temporal_address: str = ""
    temporal_ui: str | None = None
    api_url: str | None = None

    def environ(self) -> dict[str, str]:
        """What a process needs in its environment to use these servers."""
        return {"SOJOURN_DATABASE_URL": self.database_url, "SOJOURN_TEMPORAL_ADDRESS": self.temporal_address}


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running. `name`: of its log, and in what is said of it. `ready_url` answers 200 once it is of use (None:
    as soon as it runs)."""

    name: str
    command: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    ready_url: str | None = None


@dataclass(slots=True)
class _Kept:
    """A child, its current process, and when it may be started again."""

    child: Child
    log: Path
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    pause: float = FIRST_PAUSE
    again_at: float = 0.0
    shown: int = 0


def find_running(data: Path) -> Running | None:
    """The system that runs on the folder `data`, None when none does."""
    if not Claim.held(data):
        return None
    try:
        said = json.loads((data / "run.json").read_text())
        said.pop("children", None)
        return Running(**said)
    except (FileNotFoundError, ValueError, TypeError):
        return None


def left_over(data: Path) -> dict[int, str]:
    """The processes that a killed `sojourn up` on the folder `data` left running: number → command line."""
    try:
        left = json.loads((data / "run.json").read_text())["children"]
        return {int(pid): command for pid, command in left.items() if command and command_line(int(pid)) == command}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def sweep(data: Path, console: Console) -> None:
    """End what a killed `sojourn up` left running on the folder `data`, freeing its ports. ServerError where one runs."""
    if data.is_dir():
        if Claim.held(data):
            Claim(data, "`sojourn up`").release()
        _stop_left_over(data, console)


def _stop_left_over(data: Path, console: Console) -> None:
    for pid in left_over(data):
        console.print(f"stopping process {pid}, which an earlier `sojourn up` left behind")
        stop(pid, PATIENCE)


def up(
    data: Path,
    *,
    migrate: Callable[[str], None],
    children: Callable[[Running], Sequence[Child]],
    console: Console,
    database_url: str | None = None,
    temporal_address: str | None = None,
    api_url: str | None = None,
    ui_port: int = 0,
    exact_timers: bool = False,
    follow: bool = True,
) -> int:
    """Run everything on the folder `data` until Ctrl-C or SIGTERM; the exit code, 0 when it was asked to end.

    `migrate` gets the database's URL. `children` gets where everything is and names the processes in the order in which they
    start (the workers, then the API); they stop in the opposite one. `follow` shows their logs, which are kept in `data/logs`.
    Raises ServerError, with nothing left running, when something can't start or `data` is in use.
    """
    tree = _Tree(data, console, follow)
    before = {n: signal.signal(n, _asked) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        tree.claim()
        try:
            tree.start_servers(database_url, temporal_address, ui_port, exact_timers)
            tree.start(migrate, children, api_url)
            tree.watch()
        except KeyboardInterrupt:
            console.print("stopping: what was begun is finished first")
        finally:
            for number in before:
                signal.signal(number, signal.SIG_IGN)
            tree.stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _asked(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Tree:
    """The processes of one `up`."""

    def __init__(self, data: Path, console: Console, follow: bool) -> None:
        self.data, self.console, self.follow = data.resolve(), console, follow
        self.kept: list[_Kept] = []
        self.servers: Embedded | None = None
        self.running: Running | None = None
        self.owned: Claim | None = None
        self.servers_again_at = 0.0

    def claim(self) -> None:
        """Own the data, and end what a killed owner left."""
        make_folder(self.data)
        self.owned = Claim(self.data, "`sojourn up`")
        _stop_left_over(self.data, self.console)

    def start_servers(self, database_url: str | None, temporal_address: str | None, ui_port: int, exact_timers: bool) -> None:
        """Start whichever servers aren't given."""
        self.servers = Embedded.start(
            self.data,
            database_url=database_url,
            temporal_address=temporal_address,
            ui_port=ui_port,
            exact_timers=exact_timers,
            say=self.console.print,
        )

    def start(self, migrate: Callable[[str], None], children: Callable[[Running], Sequence[Child]], api_url: str | None) -> None:
        """Migrate, start the children, wait until they are ready, say where everything is."""
        assert self.servers is not None
        migrate(self.servers.database_url)
        ui = self.servers.temporal.ui if self.servers.temporal else None
        self.running = Running(os.getpid(), self.servers.database_url, self.servers.temporal_address, ui, api_url)
        (self.data / "logs").mkdir(exist_ok=True)
        for child in children(self.running):
            log = self.data / "logs" / f"{child.name}.log"
            shown = log.stat().st_size if log.exists() else 0
            self.kept.append(_Kept(child, log, shown=shown))
            self.launch(self.kept[-1])
        for kept in self.kept:
            self.await_ready(kept)
        self.show_addresses()

    def launch(self, kept: _Kept) -> None:
        """Start one child in a session of its own, its words at the end of its log."""
        assert self.running is not None
        environ = {**os.environ, "PYTHONUNBUFFERED": "1", **self.running.environ(), **kept.child.environ}
        with kept.log.open("ab") as log:
            kept.process = subprocess.Popen(
                list(kept.child.command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environ
            )
        kept.began = time.monotonic()
        self.write_down()

    def write_down(self) -> None:
        """Say in `run.json` where everything is, and which processes are ours."""
        assert self.running is not None
        running = [k.process for k in self.kept if k.process is not None]
        body = {**asdict(self.running), "children": {str(process.pid): _command_line(process) for process in running}}
        write_private(self.data / "run.json", json.dumps(body, indent=2) + "\n")

    def await_ready(self, kept: _Kept) -> None:
        """Wait until a child is of use. Raises ServerError when it ends or takes too long."""
        give_up = time.monotonic() + READY_WITHIN
        while kept.child.ready_url is not None and not _answers(kept.child.ready_url):
            self.show_logs()
            assert kept.process is not None
            if kept.process.poll() is not None:
                raise ServerError(
                    f"the {kept.child.name} ended with {kept.process.returncode} while starting; its log: {kept.log}"
                )
            if time.monotonic() > give_up:
                raise ServerError(f"the {kept.child.name} isn't ready after {READY_WITHIN:.0f} s; its log: {kept.log}")
            time.sleep(LOOK_EVERY)

    def show_addresses(self) -> None:
        """Where to find what, and how to end it."""
        assert self.running is not None
        table = Table.grid(padding=(0, 2))
        for name, where in (("API", self.running.api_url), ("Temporal's web UI", self.running.temporal_ui)):
            if where:
                table.add_row(name, where)
        table.add_row("Temporal", self.running.temporal_address)
        table.add_row("data and logs", str(self.data))
        self.console.print(table)
        self.console.print("Ctrl-C stops everything.")

    def watch(self) -> None:
        """Keep everything running until interrupted."""
        while True:
            time.sleep(LOOK_EVERY)
            self.show_logs()
            self.keep_servers()
            for kept in self.kept:
                self.keep(kept)

    def keep_servers(self) -> None:
        """Start a server again that has died."""
        assert self.servers is not None
        if time.monotonic() < self.servers_again_at:
            return
        try:
            for name in self.servers.restart_dead():
                self.console.print(f"[yellow]{name} had died and was started again on its data[/]")
        except ServerError as cannot:
            self.console.print(f"[red]{escape(str(cannot))}[/]; trying again in {LONGEST_PAUSE:.0f} s")
            self.servers_again_at = time.monotonic() + LONGEST_PAUSE

    def keep(self, kept: _Kept) -> None:
        """Start a child again that has died, after a pause."""
        now = time.monotonic()
        if kept.process is not None and kept.process.poll() is not None:
            kept.pause = FIRST_PAUSE if now - kept.began > STEADY else kept.pause
            kept.again_at = now + kept.pause
            code, name = kept.process.returncode, kept.child.name
            self.console.print(
                f"[red]the {name} died (exit code {code}), starting it again in {kept.pause:g} s[/]; its log: {kept.log}"
            )
            kept.pause = min(kept.pause * 2, LONGEST_PAUSE)
            kept.process = None
        if kept.process is None and now >= kept.again_at:
            self.launch(kept)

    def show_logs(self) -> None:
        """Show what children have said since the last look, whole lines only, each with its name."""
        for kept in self.kept if self.follow else ():
            with kept.log.open("rb") as log:
                log.seek(kept.shown)
                said = log.read(1_000_000)
            whole = said[: said.rfind(b"\n") + 1]
            kept.shown += len(whole)
            for line in whole.decode(errors="replace").splitlines():
                self.console.print(f"[cyan]{kept.child.name:>13}[/] {escape(line)}", highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Stop the children in the opposite order of their start, then the servers; whatever fails, the rest is stopped too."""
        with contextlib.ExitStack() as last:
            if self.owned is not None:
                last.callback(self.owned.release)
            last.callback((self.data / "run.json").unlink, missing_ok=True)
            if self.servers is not None:
                last.callback(self.servers.stop)
            for kept in self.kept:
                if kept.process is not None:
                    last.callback(stop, kept.process.pid, PATIENCE)
        self.show_logs()


def _command_line(process: subprocess.Popen[bytes]) -> str:
    """What a child's command line is. A process that has just begun to be what it becomes has none for a moment."""
    give_up = time.monotonic() + 1.0
    while not (found := command_line(process.pid)) and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.001)
    return found


def _answers(url: str) -> bool:
    """Whether `url` answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2.0) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False
