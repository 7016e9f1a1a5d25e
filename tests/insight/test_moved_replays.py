"""Lives that were moved, replayed: random journeys are edited under people who stand anywhere, are parked, wait or go round in a
loop, and each life comes out as it was recorded and as Temporal's histories have it."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from engine.app.deploying import Wishes, deploy
from engine.app.release import Refused
from engine.authoring.project import load_project
from engine.core.moving import places
from engine.delivery.channel import Outgoing, Receipt, Result
from engine.delivery.deployments import Deployments
from engine.intake import moving, operators
from engine.store.database import fetch, transaction
from tests.asked import asked_for, asked_in
from tests.asking import replayed, shown
from tests.harness import POLICY, Running, running, write_project

HEAD = "journey: tour\ntier: lifecycle\nenter: {event: signed_up, key: order_id, again: always}\nsteps:\n"
USERS = ["ada", "bob", "eve", "joe", "ann", "sam"]


def step(chance: random.Random, name: str) -> str:
    """One of the steps that a version may have, under its name."""
    number, short = chance.randrange(4), chance.choice(["1s", "2s", "30d"])
    first, then = chance.choice([("sms", "email"), ("email", "sms")])
    kind = name.rstrip("0123456789")
    return {
        "mail": f"  - {{send: email, id: {name}, template: hello, topic: news}}\n",
        "text": f"  - {{send: {first}, fallback: [{then}], id: {name}, template: hello, topic: news}}\n",
        "pause": f"  - {{wait: {short}, id: {name}}}\n",
        "ping": f"  - {{wait_for: pinged, where: event.number == {number}, id: {name}, timeout: {short}}}\n",
        "task": f"  - {{task: service, id: {name}, title: Look}}\n",
        "round": f"  - id: {name}\n    repeat:\n      times: 3\n      steps:\n"
        f"        - {{send: email, id: {name}_mail, template: again, topic: news}}\n"
        f"        - {{wait_for: pinged, where: event.number == {number}, id: {name}_ping, timeout: {short}}}\n",
    }[kind]


ACTS = ["ping", "ping", "ping", "move", "move", "reset", "reset", "skip", "break", "mend", "complain", "resolve"]
HOLDS = "holds: [{from: complaint_filed, until: complaint_resolved, pause: [lifecycle], at_most: 30d}]\n"
NAMES = ["mail1", "ping1", "text1", "pause1", "round1", "task1", "ping2", "mail2", "pause2"]


def version(chance: random.Random) -> dict[str, str]:
    """A journey of some of the steps, in some order, which ends where everybody stays."""
    chosen = chance.sample(NAMES, 6)
    return {"journeys/tour.yaml": HEAD + "".join(step(chance, n) for n in chosen) + "  - {wait: 90d, id: last}\n"}


async def moved_at_random(run: Running, chance: random.Random, turns: int) -> None:
    """People are pinged, the journey is changed under them, some are sent to another step, a channel fails and is mended."""

    def answer(message: Outgoing) -> Receipt | Exception:
        return RuntimeError("a bug") if message.step in broken else Receipt(Result.ACCEPTED)

    broken: set[str] = set()
    run.email.answer = answer
    run.sms.answer = lambda m: Receipt(chance.choice([Result.ACCEPTED, Result.REFUSED]))
    for user in USERS:
        await run.identify(user, phone="+3933300000")
    await run.accept([run.event(user, "signed_up", order_id="1") for user in USERS])
    for _ in range(turns):
        await asyncio.sleep(chance.choice([0.0, 0.1, 0.5]))
        match chance.choice(ACTS):
            case "ping":
                number = chance.randrange(4)
                await run.accept([run.event(u, "pinged", number=number) for u in USERS if chance.random() < 0.7])
            case "move":
                await migrate(run, chance)
            case "reset":
                await reset(run, chance)
            case "skip":
                await skip(run, chance)
            case "complain" | "resolve" as what:
                names = {"complain": "complaint_filed", "resolve": "complaint_resolved"}
                await run.accept([run.event(u, names[what], ticket_id="1") for u in USERS if chance.random() < 0.5])
            case "break":
                broken.add(chance.choice(["mail1", "mail2", "round1_mail"]))
            case "mend":
                broken.clear()
                await run.unpark()
    broken.clear()
    await run.unpark()


async def migrate(run: Running, chance: random.Random) -> None:
    """Everybody goes on with another version; who stands at a step that it hasn't goes on at one that it has."""
    compiled = load_project(
        write_project(run.folder, {**version(chance), "journeys/policy.yaml": POLICY + HOLDS}), {"email", "sms"}
    )
    there = places(compiled.plans["tour"])
    database, deployments = run.worker.core.database, Deployments()
    async with transaction(database) as c:
        plans = [
            await deployments.plan(c, r.plan)
            for r in await fetch(c, "select distinct plan from enrollments where status <> 'ended'")
        ]
    gone = sorted({step for plan in plans for step in places(plan).keys() - there.keys()})
    named = tuple(("", old, chance.choice(sorted(there))) for old in gone)
    with suppress(Refused):  # somebody has left meanwhile, or has come to a step that isn't mapped
        await deploy(database, compiled, "test", Wishes("migrate", named=named))
    mover = moving.Moving(database, Deployments())
    while await mover.round():
        pass


async def reset(run: Running, chance: random.Random) -> None:
    """One of them goes on at some step of its plan, unless it is on its way."""
    rows = await run.query("select id from enrollments where status <> 'ended' order by id")
    async with transaction(run.worker.core.database) as c:
        with suppress(moving.NoSuchStep, moving.OnItsWay):
            await moving.reset(c, Deployments(), [chance.choice(rows).id], chance.choice(NAMES), "test")


async def skip(run: Running, chance: random.Random) -> None:
    """One of them goes on behind the step in which it stands."""
    rows = await run.query("select id from enrollments where status <> 'ended' order by id")
    async with transaction(run.worker.core.database) as c:
        await operators.skip(c, [chance.choice(rows).id], "test")


async def at_rest(run: Running) -> None:
    """Wait until nobody is on the way and nothing comes for two seconds."""
    seen: Any = None
    still = 0

    async def quiet() -> bool:
        nonlocal seen, still
        now = await run.query(
            "select (select json_agg(e order by id) from enrollments e), (select count(*) from messages), "
            "(select count(*) from inputs where relayed_at is null)"
        )
        still = still + 1 if [tuple(r) for r in now] == seen else 0
        seen = [tuple(r) for r in now]
        await asyncio.sleep(0.1)
        return still > 25

    await run.until(quiet)


@pytest.mark.parametrize("seed", range(2))
async def test_random_moves_come_out_of_the_record(
    seed: int, tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Migrations and resets, one upon the other, of people who wait, are parked, or go round: each step of each life rests on the
    record, ends as recorded, and asked for what Temporal's histories say it asked for."""
    chance = random.Random(seed)
    folder = write_project(tmp_path, {**version(chance), "journeys/policy.yaml": POLICY + HOLDS})
    async with running(folder, database_url, temporal_address, task_queue_prefix, max_size=4) as run:
        await moved_at_random(run, chance, 16)
        await at_rest(run)
        lives = await replayed(run)
        assert [] == [shown(told) for told in lives if not told.exact]
        journeys = run.worker.relay.journeys
        ids = [journeys.cohort_id(r.id) for r in await run.query("select id from cohorts")]
        really = await asked_for([await journeys.client.get_workflow_handle(i).fetch_history() for i in ids])
        assert really == {told.life.id: asked_in(told) for told in lives}
