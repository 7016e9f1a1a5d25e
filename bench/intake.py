"""What comes in: events over HTTP in batches and one by one, beside a bare INSERT; and one event that reaches everybody."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import psutil  # type: ignore[import-untyped]  # it ships no types

from bench.stack import ROOT, Stack, WrongResult
from engine.store.database import connect, fetch, transaction

CLIENTS = 2
"""Processes that send at once."""

EVERY = 0.5
"""Seconds between two looks at the workers' memory."""


@dataclass(frozen=True, slots=True)
class IntakeSizes:
    """`events` in batches, of `people`; then `rate` calls a second for so many `seconds`."""

    events: int = 200_000
    people: int = 10_000
    rate: int = 200
    seconds: int = 30


FULL = IntakeSizes()
QUICK = IntakeSizes(20_000, 1_000, 200, 5)


def measure(s: Stack, sizes: IntakeSizes) -> dict[str, float]:
    """Every figure about what comes in, on a stack with an API. Raises WrongResult where an acknowledged event isn't there."""
    s.load("known", customers=sizes.people)
    each = sizes.events // CLIENTS
    bare = _per_second(_clients(s, "bare", total=each, customers=sizes.people), sizes.events)
    sent = _per_second(_clients(s, "batches", port=s.api, total=each, customers=sizes.people), sizes.events)
    told = _clients(s, "singly", port=s.api, rate=sizes.rate // CLIENTS, seconds=sizes.seconds, customers=sizes.people)
    ms = sorted(took for one in told for took in one["ms"])
    expected = each * CLIENTS + len(ms)
    found = asyncio.run(_count(s, "select count(*) from events where name = 'product_viewed'"))
    if found != expected:
        raise WrongResult(f"{expected} events were acknowledged, and {found} are there")
    return {
        "intake.events_per_s": sent,
        "intake.bare_events_per_s": bare,
        "intake.ratio_to_bare": sent / bare,
        "intake.track_p50_ms": ms[len(ms) // 2],
        "intake.track_p99_ms": ms[-(-len(ms) * 99 // 100) - 1],
    }


def reach_everybody(s: Stack, customers: int) -> dict[str, float]:
    """A broadcast to all of `customers`, and what the workers hold meanwhile. Raises WrongResult where somebody got none, or
    two."""
    held: list[tuple[float, int]] = []
    over = threading.Event()

    def look() -> None:
        while True:
            held.append((time.monotonic(), sum(psutil.Process(w.pid).memory_info().rss for w in s.workers)))
            if over.wait(EVERY):
                return

    looking = threading.Thread(target=look)
    looking.start()
    try:
        told = s.load("fan_out", customers=customers)
    finally:
        over.set()
        looking.join()
    found = asyncio.run(_count(s, "select count(distinct customer_id) from messages where step = 'launch' and status = 'sent'"))
    every = asyncio.run(_count(s, "select count(*) from messages"))
    if (found, every) != (customers, customers):
        raise WrongResult(f"{customers} customers: {found} were reached, by {every} messages")
    begin, seconds = told["begin"], told["seconds"]
    return {
        "broadcast.messages_per_s": customers / seconds,
        "broadcast.worker_mb_first_quarter": most(held, begin, begin + seconds / 4) / 1e6,
        "broadcast.worker_mb_last_quarter": most(held, begin + seconds * 3 / 4, begin + seconds) / 1e6,
    }


def most(held: list[tuple[float, int]], begin: float, end: float) -> int:
    """The largest of (moment, size) between two moments; where nobody looked between them, the nearest."""
    between = [size for at, size in held if begin <= at <= end]
    return max(between) if between else min(held, key=lambda one: min(abs(one[0] - begin), abs(one[0] - end)))[1]


def _per_second(told: list[dict[str, Any]], events: int) -> float:
    return events / (max(one["ended"] for one in told) - min(one["began"] for one in told))


def _clients(s: Stack, kind: str, **values: Any) -> list[dict[str, Any]]:
    """What all clients measured, who began at the same moment. Raises WrongResult where one failed."""
    words = [f"{name}={value}" for name, value in values.items()]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.client", kind, str(number), *words],
            cwd=ROOT,
            env=s.environ(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(CLIENTS)
    ]
    try:
        for client in running:
            assert client.stdout is not None
            client.stdout.readline()
        told = []
        for client in running:
            assert client.stdin is not None
            client.stdin.write("go\n")
            client.stdin.flush()
        for client in running:
            out, _ = client.communicate()
            if client.returncode:
                raise WrongResult(f"a client of `{kind}` ended with {client.returncode}")
            told.append(json.loads(out))
    finally:
        for client in running:
            if client.poll() is None:
                client.kill()
                client.wait()
    s.check_workers()
    return told


async def _count(s: Stack, statement: str) -> int:
    database = connect(s.servers.database_url)
    try:
        async with transaction(database) as c:
            return int((await fetch(c, statement))[0][0])
    finally:
        await database.dispose()
