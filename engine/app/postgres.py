"""The embedded PostgreSQL: initialised once, started on 127.0.0.1, stopped in order, safe to kill and start again.

Only the wheel's binaries are used. It listens on TCP with a random password (scram) and has no socket file, so that neither
the length of a path nor the account that runs it matters. `fsync` is on unless a test says otherwise.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.app.postgres_home import Account, account, binaries, place
from engine.app.processes import Claim, ServerError, alive, await_end, claim_port, command_line, port_is_free, stop, write_private

USER = "sojourn"
DATABASE = "sojourn"
MAX_CONNECTIONS = 100

FAST: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
"""A fast shutdown rolls back and writes everything down; the rest is for a server that hangs."""

LINGERING = 60.0
"""Seconds that the processes of a killed server may take to notice and let go of its memory."""

SAY_EVERY = 5.0


@dataclass(slots=True)
class Postgres:
    """A running server. `url` is a libpq URL of database `sojourn`, `folder` holds its files, `log` its words."""

    url: str = field(repr=False)
    pid: int
    port: int
    folder: Path
    log: Path
    _claim: Claim = field(repr=False)

    @classmethod
    def start(cls, data: Path, port: int = 0, *, durable: bool = True, say: Callable[[str], None] | None = None) -> Postgres:
        """Start PostgreSQL on the folder `data`, made on first use; returns when it answers.

        `port` 0: the one it had before, if free, else any free one. `durable=False` turns fsync off (throw-away data only).
        Recovery after a crash takes as long as it needs; `say` hears about it every few seconds. A server that an earlier
        process left running on the same data is stopped first. Raises ServerError.
        """
        runner = account(data / "data" if (data / "data").exists() else data)
        folder = place(data, runner)
        folder.mkdir(parents=True, exist_ok=True)
        if data.is_symlink() and say is not None:
            say(f"PostgreSQL's data lies in {folder}: the account that runs it ({runner.name}) can't enter {data.parent}")
        if runner.uid is not None:
            folder.chmod(0o711)  # its own folder, so that the account may pass to `data` in it
        claim = Claim(folder, "an embedded PostgreSQL")
        try:
            tools = binaries(runner)
            _initialise(folder, runner, tools)
            stop_left_over(folder)
            chosen = _choose_port(folder, port)
            pid = _launch(folder, runner, tools, chosen, durable, say or _silent)
        except BaseException:
            claim.release()
            raise
        write_private(folder / "port", str(chosen))
        url = f"postgresql://{USER}:{_password(folder)}@127.0.0.1:{chosen}/{DATABASE}"
        return cls(url, pid, chosen, folder, folder / "log", claim)

    def running(self) -> bool:
        """Whether the server process is there."""
        return alive(self.pid)

    def stop(self) -> None:
        """Stop the server (fast: open transactions are rolled back), if it still runs, and give the data up."""
        if self.running():
            stop(self.pid, FAST)
        self._claim.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def _silent(_: str) -> None:
    """Where nobody listens."""


def _password(folder: Path) -> str:
    return (folder / "password").read_text().strip()


def _initialise(folder: Path, runner: Account, tools: Path) -> None:
    """Make the cluster on first use, beside its place, so that one that was cut short is never taken for a whole one."""
    data, scratch = folder / "data", folder / "data.new"
    if data.exists():
        if not (folder / "password").exists():
            raise ServerError(
                f"{data} holds a database but {folder / 'password'} is missing: restore it, or move the folder away"
            )
        return
    if scratch.exists():
        shutil.rmtree(scratch)
    scratch.mkdir(mode=0o700)
    runner.give(scratch)
    password, handed = secrets.token_urlsafe(24), folder / ".handed"
    write_private(handed, password)
    runner.give(handed)
    command: list[str | Path] = [tools / "initdb", "-D", scratch, "-U", USER, "--pwfile", handed, "-A", "scram-sha-256"]
    command += ["-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **runner.popen())
    finally:
        handed.unlink()
    if made.returncode != 0:
        raise ServerError(f"PostgreSQL can't make its data in {data}: {made.stderr.strip()}")
    _create_database(scratch, runner, tools)
    write_private(folder / "password", password)
    scratch.rename(data)


def _create_database(data: Path, runner: Account, tools: Path) -> None:
    """Create our database in single-user mode, before anybody can connect."""
    command: list[str | Path] = [tools / "postgres", "--single", "-D", data, "template1"]
    done = subprocess.run(
        command, input=f"create database {DATABASE}\n", capture_output=True, text=True, check=False, **runner.popen()
    )
    if done.returncode != 0 or "ERROR" in done.stderr:
        raise ServerError(f"PostgreSQL can't create its database in {data}: {done.stderr.strip()}")


def _choose_port(folder: Path, wanted: int) -> int:
    if not wanted:
        with contextlib.suppress(OSError, ValueError):
            before = int((folder / "port").read_text())
            if port_is_free(before):
                return before
    return claim_port(wanted, "PostgreSQL")


def _postmaster(folder: Path) -> tuple[int, str] | None:
    """Process id and status ("starting", "ready", "stopping") that the server's own file names."""
    try:
        lines = (folder / "data" / "postmaster.pid").read_text().splitlines()
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else "starting"
    except (OSError, ValueError, IndexError):
        return None


def stop_left_over(folder: Path) -> None:
    """Stop a server that runs on `folder` though nobody owns it, and make sure that a recycled process id misleads nobody."""
    found = _postmaster(folder)
    if found is None:
        return
    pid = found[0]
    if alive(pid):
        if str(folder / "data") in command_line(pid):
            stop(pid, FAST)
            return
        # Somebody else has that process id by now. PostgreSQL overlooks the id of its own parent, which we are, and then
        # still checks that no old process holds the shared memory; deleting the file would lose that check.
        path = folder / "data" / "postmaster.pid"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([f"{os.getpid()}\n", *lines[1:]]))


def _launch(folder: Path, runner: Account, tools: Path, port: int, durable: bool, say: Callable[[str], None]) -> int:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": str(MAX_CONNECTIONS),
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "fsync": "on" if durable else "off",
    }
    command = [str(tools / "postgres"), "-D", str(folder / "data")]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    give_up = time.monotonic() + LINGERING
    while True:
        said_before = (folder / "log").stat().st_size if (folder / "log").exists() else 0
        with (folder / "log").open("ab") as log:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **runner.popen()
            )
        try:
            if _await_ready(folder, child, say):
                return child.pid
        except BaseException:
            stop(child.pid, FAST)  # interrupted while it recovers: nobody would know of it
            raise
        words = (folder / "log").read_bytes()[said_before:].decode(errors="replace").strip()
        lingers = "pre-existing shared memory block" in words or "still in use" in words
        if not lingers or time.monotonic() > give_up:
            raise ServerError(f"PostgreSQL doesn't start (its log is {folder / 'log'}): {words[-1500:]}")
        say("waiting for the processes of a killed PostgreSQL to end")
        time.sleep(0.2)


def _await_ready(folder: Path, child: subprocess.Popen[bytes], say: Callable[[str], None]) -> bool:
    """True when the server answers, False when it ended instead."""
    began = spoke = time.monotonic()
    while child.poll() is None:
        if _postmaster(folder) == (child.pid, "ready"):
            return True
        if time.monotonic() - spoke > SAY_EVERY:
            spoke = time.monotonic()
            say(f"PostgreSQL is recovering since {spoke - began:.0f} s; it takes as long as it needs")
        time.sleep(0.02)
    await_end(child.pid, 1.0)
    return False
