"""A whole Sojourn for one bench, as it runs in production: durable servers of its own, workers and sink as child processes.

Each bench gets fresh servers, so that no figure depends on what ran before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import project
from engine.app.deploying import deploy
from engine.app.development import KEY_VARIABLE
from engine.app.embedded import Embedded
from engine.authoring.project import load_project
from engine.store.database import connect
from engine.store.schema import migrate
from engine.temporal.grouping import BULK, URGENT

ROOT = Path(__file__).resolve().parent.parent

WRITE_KEY = "bench"
"""Of the API, which listens on loopback only."""


class WrongResult(Exception):
    """The engine did something wrong while it was measured: there is no figure then."""


@dataclass(slots=True)
class Stack:
    """What runs. `sink`: port of the provider on loopback, None where messages go nowhere. `api`: port of the API, None where
    there is none."""

    folder: Path
    servers: Embedded
    sink: int | None = None
    api: int | None = None
    workers: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def project(self) -> Path:
        """The project's folder."""
        return self.folder / "project"

    def environ(self) -> dict[str, str]:
        """What workers and load generators have in their environment."""
        own = {"SOJOURN_DATABASE_URL": self.servers.database_url, "SOJOURN_TEMPORAL_ADDRESS": self.servers.temporal_address}
        return {**os.environ, **own, KEY_VARIABLE: WRITE_KEY}

    def load(self, kind: str, **values: float) -> dict[str, Any]:
        """Run a load generator in its own process; what it measured. Raises WrongResult when it, or a worker, failed."""
        words = [f"{name}={value}" for name, value in values.items()]
        sink = [] if self.sink is None else [f"sink={self.sink}"]
        done = subprocess.run(
            [sys.executable, "-m", "bench.load", kind, str(self.project), *words, *sink],
            cwd=ROOT,
            env=self.environ(),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        self.check_workers()
        if done.returncode:
            raise WrongResult(f"the load generator `{kind}` ended with {done.returncode}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def check_workers(self) -> None:
        """Raise WrongResult when a worker has ended; its words are in `worker.log`."""
        for worker in self.workers:
            if worker.poll() is not None:
                said = (self.folder / "worker.log").read_text()[-2000:]
                raise WrongResult(f"a worker ended with {worker.returncode}: {said}")

    def arrivals(self) -> dict[str, list[int]]:
        """What came to the sink: key → [monotonic nanoseconds of its first arrival, how often]."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.sink}/arrivals", timeout=60) as answer:
            found: dict[str, list[int]] = json.load(answer)
        return found


@contextlib.contextmanager
def stack(
    folder: Path,
    *,
    webhook: bool,
    workers: int,
    max_size: int = 500,
    rate: str | None = None,
    scale: int = 1,
    api: bool = False,
) -> Iterator[Stack]:
    """Everything started, with the bench's project deployed, in the fresh folder `folder`; stopped in order at the end."""
    folder.mkdir(parents=True)
    folder.chmod(0o711)  # the account that runs PostgreSQL for root passes through
    with contextlib.ExitStack() as kept:
        servers = kept.enter_context(Embedded.start(folder / "data", ui_port=None))
        running = Stack(folder, servers)
        if webhook:
            process = kept.enter_context(_child([sys.executable, "-m", "bench.sink"], running))
            running.sink = int(_first_line(process))
        url = None if running.sink is None else f"http://127.0.0.1:{running.sink}/"
        project.write(running.project, sink_url=url, max_size=max_size, rate=rate, scale=scale)
        migrate(servers.database_url)
        asyncio.run(_deploy(running))
        for lane in (URGENT, *[BULK] * workers):  # as `sojourn up` has them
            command = [sys.executable, "worker.py", "--project", str(running.project), "--lane", lane]
            running.workers.append(kept.enter_context(_child(command, running)))
        for worker in running.workers:
            _first_line(worker)
        if api:
            command = [sys.executable, "-m", "engine.cli", "api", "--project", str(running.project), "--port", "0"]
            said = _first_line(kept.enter_context(_child(command, running)))
            running.api = int(re.findall(r"port (\d+)", said)[0])
        yield running


@contextlib.contextmanager
def _child(command: Sequence[str], running: Stack) -> Iterator[subprocess.Popen[str]]:
    """A child process, stopped politely at the end."""
    with (running.folder / "worker.log").open("a") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=running.environ(), stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise WrongResult(f"{' '.join(map(str, process.args[1:] if isinstance(process.args, list) else []))} didn't start")
    return line


async def _deploy(running: Stack) -> None:
    database = connect(running.servers.database_url)
    try:
        await deploy(database, load_project(running.project, {"email"}), "bench")
    finally:
        await database.dispose()
