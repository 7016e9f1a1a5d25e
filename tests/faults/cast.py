"""What fault tests play with: processes to kill, a provider that counts, a project whose messages go to it. Tests only."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.app.deploying import deploy
from engine.app.wiring import open_core
from engine.authoring.project import load_project
from engine.core.incoming import Incoming
from engine.settings.project import load_settings
from tests.harness import POLICY, write_project

ROOT = Path(__file__).parents[2]


@dataclass
class Provider:
    """A provider on loopback that knows idempotency keys. `requests`: how often each key came.

    `messages`: (customer, step) → keys."""

    port: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    messages: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def per_customer(self) -> Counter[str]:
        """How many different messages each customer got."""
        found: Counter[str] = Counter()
        for (customer, _), keys in self.messages.items():
            found[customer] += len(keys)
        return found

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head.split("\r\n"))}
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                key = headers["idempotency-key"]
                self.requests[key] += 1
                self.messages.setdefault((body["customer"], body["step"]), set()).add(key)
                writer.write(b"HTTP/1.1 202 OK\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):  # whoever called is gone, or was killed
            return
        finally:
            writer.close()


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    """A provider that takes whatever it is given."""
    told = Provider()
    server = await asyncio.start_server(told.answer, "127.0.0.1", 0)
    told.port = server.sockets[0].getsockname()[1]
    try:
        yield told
    finally:
        server.close()


def write_faulty(folder: Path, port: int, files: dict[str, str], cohort: int = 100) -> Path:
    """A project whose e-mails go to the provider at `port`."""
    settings = f"""
    project: faults
    channels:
      email: {{use: channels.webhook, url: "http://127.0.0.1:{port}/"}}
    cohort: {{max_size: {cohort}}}
    relay: {{partitions: 4}}
    """
    return write_project(folder, {"sojourn.yaml": settings, "journeys/policy.yaml": POLICY, **files})


@dataclass
class Process:
    """A process of ours; `log` holds its words."""

    child: subprocess.Popen[bytes]
    log: Path
    killed: bool = False

    def kill(self) -> None:
        """kill -9."""
        self.killed = True
        self.child.kill()
        self.child.wait()

    def ended(self) -> bool:
        """Whether it has ended by itself, in order. Fails with its words where it ended otherwise."""
        code = self.child.poll()
        assert code in (None, 0), self.log.read_text()[-3000:]
        return code == 0


@dataclass
class Cast:
    """Starts processes on one project and ends them all at the end."""

    folder: Path
    prefix: str
    environ: dict[str, str]
    started: list[Process] = field(default_factory=list)

    def worker(self) -> Process:
        """One more worker process."""
        return self._start("worker", str(self.folder), self.prefix)

    def intake(self, events: Sequence[Any], name: str = "events") -> Process:
        """A process that takes these [message id, user, event, properties] in."""
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(list(events)))
        return self._start("intake", str(self.folder), str(file))

    def in_order(self) -> bool:
        """True; fails with the words of a process that ended otherwise than in order or by our own hand."""
        for process in self.started:
            if not process.killed:
                process.ended()
        return True

    def _start(self, *arguments: str) -> Process:
        log = self.folder / f"process-{len(self.started)}.log"
        with log.open("wb") as words:
            child = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.member", *arguments],
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process(child, log)
        self.started.append(process)
        return process

    def close(self) -> None:
        """End whatever still runs, in order where it can."""
        left = [p.child for p in self.started if p.child.poll() is None]
        for child in left:
            child.send_signal(signal.SIGTERM)
        for child in left:
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def cast(folder: Path, prefix: str, database_url: str, temporal_address: str) -> Cast:
    """Processes on the project in `folder` and these servers."""
    servers = {"SOJOURN_DATABASE_URL": database_url, "SOJOURN_TEMPORAL_ADDRESS": temporal_address}
    return Cast(folder, prefix, {**os.environ, **servers})


async def until(ready: Callable[[], Any], seconds: float, picture: Callable[[], object]) -> None:
    """Wait until `ready` (sync or async) is true; fail with `picture` where it isn't in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = ready()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not in {seconds} s: {picture()}")


async def prepare(folder: Path, database_url: str, users: Sequence[str]) -> None:
    """Deploy the project in `folder` and make these users known."""
    async with open_core(load_settings(folder, {}), database_url, pool=2) as core:
        await deploy(core.database, load_project(folder, {"email"}), "test")
        people = [
            Incoming(
                "identify", "faults", f"i-{u}", traits={"email": f"{u}@example.com", "first_name": u}, identifiers={"user_id": u}
            )
            for u in users
        ]
        await core.intake.accept(people)
