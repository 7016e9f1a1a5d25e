"""The load generator, a process of its own: `python -m bench.load KIND PROJECT name=value…`, figures as JSON on its output.

It comes in through `Intake.accept`, the door behind the API, in batches of 500 (`rush`, `enter`) or singly (`trickle`, `idle`):
the HTTP server in front of it is not part of these figures.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from bench import counts
from engine.app.wiring import Core, open_core
from engine.core.incoming import Incoming
from engine.intake.door import BATCH
from engine.settings.project import load_settings
from engine.store.database import now, transaction

LOOK_EVERY = 0.1
"""Seconds between two looks at how far the engine is; the end of a run is known to this."""

PATIENCE = 120.0
"""Seconds without any progress after which a run has failed."""

PLANS = ("free", "trial", "pro")


def person(n: int) -> Incoming:
    """Customer `n`, made known."""
    traits = {"first_name": f"Ada{n}", "email": f"ada{n}@example.com", "country": "IT"}
    return Incoming("identify", "bench", f"i{n}", traits=traits, identifiers={"user_id": f"u{n}"})


def signed_up(n: int) -> Incoming:
    """Their entry."""
    return Incoming("track", "bench", f"s{n}", "signed_up", {"plan": PLANS[n % 3]}, identifiers={"user_id": f"u{n}"})


def confirmed(n: int) -> Incoming:
    """What they are waited for to do."""
    return Incoming("track", "bench", f"c{n}", "confirmed", {"source": "web"}, identifiers={"user_id": f"u{n}"})


def offered(n: int, at: datetime | None = None) -> Incoming:
    """Their entry into the promotion, as it occurred at `at` (None: now)."""
    plan = {"plan": PLANS[n % 3]}
    return Incoming("track", "bench", f"o{n}", "offered", plan, identifiers={"user_id": f"u{n}"}, occurred_at=at)


def forgot(n: int, times: int) -> Incoming:
    """They ask for a new password."""
    return Incoming("track", "bench", f"f{times}", "forgot", {"plan": PLANS[n % 3]}, identifiers={"user_id": f"u{n}"})


def complained(n: int) -> Incoming:
    """They complain, which holds what isn't urgent."""
    return Incoming("track", "bench", f"p{n}", "complaint_filed", {"ticket_id": f"t{n}"}, identifiers={"user_id": f"u{n}"})


def resolved(n: int) -> Incoming:
    """Their complaint is resolved."""
    return Incoming("track", "bench", f"r{n}", "complaint_resolved", {"ticket_id": f"t{n}"}, identifiers={"user_id": f"u{n}"})


async def accept_all(core: Core, items: list[Incoming]) -> None:
    """In batches, one after the other."""
    for i in range(0, len(items), BATCH):
        await core.intake.accept(items[i : i + BATCH])


async def until(count: Callable[[], Awaitable[int]], wanted: int) -> None:
    """Wait until `count` has reached `wanted`. Raises TimeoutError when it stands still for PATIENCE seconds."""
    best, since = -1, time.monotonic()
    while (found := await count()) < wanted:
        if found > best:
            best, since = found, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            raise TimeoutError(f"{found} of {wanted}, and no more for {PATIENCE:.0f} s")
        await asyncio.sleep(LOOK_EVERY)


async def rush(core: Core, customers: int, seed: int = 1) -> dict[str, float]:
    """Everybody enters; when all have their first message and wait, everybody's event comes, in random order; until all have
    their second message and the journey's end is recorded. Making the customers known comes before and isn't counted."""
    numbers = list(range(customers))
    await accept_all(core, [person(n) for n in numbers])
    begin = time.monotonic()
    await accept_all(core, [signed_up(n) for n in numbers])
    accepted = time.monotonic()
    await until(lambda: counts.waiting(core.database), customers)
    half = time.monotonic()
    random.Random(seed).shuffle(numbers)
    await accept_all(core, [confirmed(n) for n in numbers])
    await until(lambda: counts.ended(core.database), customers)
    end = time.monotonic()
    return {
        "seconds": end - begin,
        "first_seconds": half - begin,
        "second_seconds": end - half,
        "entry_seconds": accepted - begin,
    }


async def known(core: Core, customers: int) -> dict[str, float]:
    """So many customers are known."""
    await accept_all(core, [person(n) for n in range(customers)])
    return {}


async def enter(core: Core, first: int, last: int) -> dict[str, float]:
    """Customers `first` to `last` - 1 enter, and wait."""
    numbers = range(first, last)
    await accept_all(core, [person(n) for n in numbers])
    await accept_all(core, [signed_up(n) for n in numbers])
    await until(lambda: counts.waiting(core.database), last)
    return {}


async def trickle(core: Core, rate: int, customers: int, sink: int, seed: int = 1) -> dict[str, Any]:
    """`rate` customers enter a second, one event each, and each one's awaited event comes 2 to 6 seconds later. Milliseconds
    from an event's acceptance to the provider's call."""
    await accept_all(core, [person(n) for n in range(customers)])
    dice = random.Random(seed)
    accepted: dict[str, int] = {}

    async def one(n: int, pause: float) -> None:
        enrollment = (await core.intake.accept([signed_up(n)]))[0].enrollments[0]
        accepted[f"{enrollment}/first/0/0"] = time.monotonic_ns()
        await asyncio.sleep(pause)
        await core.intake.accept([confirmed(n)])
        accepted[f"{enrollment}/second/0/0"] = time.monotonic_ns()

    begin = time.monotonic()
    running = []
    for n in range(customers):
        await asyncio.sleep(max(0.0, begin + n / rate - time.monotonic()))
        running.append(asyncio.create_task(one(n, dice.uniform(2, 6))))
    await asyncio.gather(*running)
    await until(lambda: counts.ended(core.database), customers)
    return {"ms": await delays(sink, accepted)}


async def idle(core: Core, customers: int, sink: int, seed: int = 1) -> dict[str, Any]:
    """One event at a time on an idle system: the next comes a random while after the message of the one before."""
    await accept_all(core, [person(n) for n in range(customers)])
    dice = random.Random(seed)
    accepted: dict[str, int] = {}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{sink}", timeout=PATIENCE) as provider:

        async def reached(key: str) -> None:
            accepted[key] = time.monotonic_ns()
            (await provider.get(f"/reached/{len(accepted)}")).raise_for_status()
            await asyncio.sleep(dice.uniform(0.3, 0.8))

        for n in range(customers):
            enrollment = (await core.intake.accept([signed_up(n)]))[0].enrollments[0]
            await reached(f"{enrollment}/first/0/0")
            await core.intake.accept([confirmed(n)])
            await reached(f"{enrollment}/second/0/0")
    await until(lambda: counts.ended(core.database), customers)
    return {"ms": await delays(sink, accepted)}


async def broadcast(core: Core, customers: int, sink: int, per_minute: int, seed: int = 1) -> dict[str, Any]:
    """A promotion to `customers`, and all the while, from the first entry to the last promotion, `per_minute` resets of others,
    evenly. Milliseconds from a reset's acceptance to the provider's call, and of two stages of that way (`counts.stages`),
    seconds of the promotion, and how many resets came before the last promotion."""
    others = range(customers, customers + 1_000)
    await accept_all(core, [person(n) for n in (*range(customers), *others)])
    accepted: dict[str, int] = {}
    over = asyncio.Event()

    async def resets() -> None:
        began, n = time.monotonic(), 0
        while not over.is_set():
            answer = await core.intake.accept([forgot(customers + n % len(others), n)])
            accepted[f"{answer[0].enrollments[0]}/reset/0/0"] = time.monotonic_ns()
            n += 1
            await asyncio.sleep(max(0.0, began + n * 60 / per_minute - time.monotonic()))

    begin = time.monotonic()
    coming = asyncio.create_task(resets())
    await accept_all(core, [offered(n) for n in range(customers)])
    await until(lambda: counts.handed_over(core.database, "offer"), customers)
    seconds = time.monotonic() - begin
    over.set()
    await coming
    await until(lambda: counts.ended(core.database), customers + len(accepted))
    stages = await counts.stages(core.database, "reset")
    return {"ms": await delays(sink, accepted), **stages, "seconds": seconds, "resets": len(accepted)}


async def release(core: Core, customers: int) -> dict[str, float]:
    """Everybody has a complaint open and an offer that waits for its end; then all complaints are resolved in one import. Seconds
    of the import, and until all offers are sent. A message that a hold sets free goes at its planned time of day: all offers have
    the same one, and under the time scale it is at most a second away."""
    await accept_all(core, [person(n) for n in range(customers)])
    await accept_all(core, [complained(n) for n in range(customers)])
    async with transaction(core.database) as c:
        moment = await now(c)
    await accept_all(core, [offered(n, moment) for n in range(customers)])
    await until(lambda: counts.waiting(core.database), customers)
    begin = time.monotonic()
    await accept_all(core, [resolved(n) for n in range(customers)])
    accepted = time.monotonic()
    await until(lambda: counts.ended(core.database), customers)
    return {"import_seconds": accepted - begin, "seconds": time.monotonic() - begin}


async def fan_out(core: Core, customers: int) -> dict[str, float]:
    """One event about a thing, which concerns `customers` people: seconds until all of them have their message. Making them known
    comes before and isn't counted."""
    await accept_all(core, [person(n) for n in range(customers)])
    begin = time.monotonic()
    about = Incoming("track", "bench", "launched", "launched", {"plan": "pro"}, identifiers={"user_id": "catalogue"})
    await core.intake.accept([about])
    await until(lambda: counts.handed_over(core.database, "launch"), customers)
    seconds = time.monotonic() - begin
    await until(lambda: counts.ended(core.database), customers)
    return {"begin": begin, "seconds": seconds}


async def delays(sink: int, accepted: dict[str, int]) -> list[float]:
    """Milliseconds from acceptance to arrival, smallest first. The clock is one for all processes of the machine."""
    async with httpx.AsyncClient(timeout=60) as provider:
        arrivals = (await provider.get(f"http://127.0.0.1:{sink}/arrivals")).json()
    return sorted((arrivals[key][0] - at) / 1e6 for key, at in accepted.items())


KINDS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    "rush": rush,
    "known": known,
    "enter": enter,
    "trickle": trickle,
    "idle": idle,
    "broadcast": broadcast,
    "release": release,
    "fan_out": fan_out,
}


async def main(kind: str, project: Path, values: dict[str, int]) -> None:
    """Run one kind of load and print what it measured."""
    settings = load_settings(project, os.environ)
    assert settings.database_url is not None
    if kind not in ("trickle", "idle", "broadcast"):
        values.pop("sink", None)
    async with open_core(settings, settings.database_url) as core:
        print(json.dumps(await KINDS[kind](core, **values)))


if __name__ == "__main__":
    given = dict(word.split("=") for word in sys.argv[3:])
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), {name: int(value) for name, value in given.items()}))
