"""Children and folders: free ports, who a process id belongs to, waiting for an end, one owner per folder.

What PostgreSQL's and Temporal's files share. A process id read from a file is never trusted before its command line is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

PORT_PATIENCE = 3.0
"""Seconds that a port which is asked for may stay taken."""


class ServerError(Exception):
    """An embedded server can't start or stop; the message says whose fault it is and what to do."""


PORTS = range(10_240, 32_768)
"""Where free ports are looked for: below the ranges from which systems take the local ports of outgoing connections. A client
that tries to reach a server which is down could otherwise connect to itself on that very port, and keep it."""


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on right now. Raises ServerError where there is none."""
    for port in random.sample(PORTS, 200):
        if port_is_free(port):
            return port
    raise ServerError("no free port was found on 127.0.0.1")


def claim_port(wanted: int, what: str) -> int:
    """`wanted` once it is free, which may take a moment after a kill; 0: any free one. The ServerError calls it `what`'s."""
    if not wanted:
        return free_port()
    give_up = time.monotonic() + PORT_PATIENCE
    while not port_is_free(wanted):
        if time.monotonic() > give_up:
            raise ServerError(f"port {wanted} is taken: choose another for {what}, or 0 for a free one")
        time.sleep(0.05)
    return wanted


def port_is_free(port: int) -> bool:
    """Whether 127.0.0.1:`port` can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def alive(pid: int) -> bool:
    """Whether process `pid` runs. A child of ours that has ended is collected, so that it isn't taken for a running one."""
    with contextlib.suppress(ChildProcessError):
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def command_line(pid: int) -> str:
    """The command line of process `pid`, "" when there is none such or nobody can tell."""
    proc = Path(f"/proc/{pid}/cmdline")
    try:
        return proc.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        if Path("/proc/self").exists():
            return ""
    try:
        shown = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return shown.stdout.strip()


def await_end(pid: int, timeout: float) -> bool:
    """Wait at most `timeout` seconds for process `pid` to end; whether it has."""
    deadline = time.monotonic() + timeout
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def stop(pid: int, steps: tuple[tuple[signal.Signals, float], ...]) -> None:
    """Send each signal of `steps` in turn until `pid` has ended, waiting the seconds beside it."""
    for number, patience in steps:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if await_end(pid, patience):
            return
    raise ServerError(f"process {pid} doesn't end; look at it with `ps -p {pid}`")


class Claim:
    """Ownership of a folder by one process at a time, through flock on a file in it. The kernel gives it up with the process."""

    def __init__(self, folder: Path, what: str) -> None:
        """Claim `folder`, or raise ServerError saying who has it. `what` names the use, for that message."""
        path = folder / "lock"
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._file, 32).decode(errors="replace").strip()
            os.close(self._file)
            by = f" by process {owner}" if owner else ""
            raise ServerError(f"{folder} is in use{by}: {what} runs there already") from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    @staticmethod
    def held(folder: Path) -> bool:
        """Whether some process owns `folder` now."""
        try:
            file = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False

    def release(self) -> None:
        """Give the folder up. Safe to call again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path`, readable for its owner only, all of it or nothing."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        scratch.unlink()
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    scratch.replace(path)
