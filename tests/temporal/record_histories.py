"""Records the histories that `test_replay.py` replays, on servers of its own: `python -m tests.temporal.record_histories cohort`
records those of a cohort, `beside` those of a broadcast and a chore, `moved` that of a cohort that lets somebody go.

Run it when a change of the workflow is meant to make new histories, behind `workflow.patched`, and keep the old files: cohorts
that run in production have such histories. What names the machine that recorded is taken out.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from engine.app.deploying import Wishes, deploy
from engine.app.embedded import Embedded
from engine.app.ending import end_process
from engine.authoring.project import load_project
from engine.core.plan import plan_to_json
from engine.delivery.channel import Outgoing, Receipt, Result
from engine.delivery.deployments import Deployments
from engine.intake import moving
from engine.store.database import transaction
from engine.store.schema import migrate
from engine.temporal.broadcasting import broadcast_id
from engine.temporal.chore_workflow import CHORE, ChoreRun
from engine.temporal.chores import AT_ONCE_SECONDS, Chore, Chores, chore_id
from engine.temporal.histories import to_text
from tests.harness import Running, running, write_project

FOLDER = Path(__file__).parent / "histories"

SAMPLER = """
journey: sampler
tier: lifecycle
enter: {event: signed_up, again: never}
exit: [{event: cancelled}]
steps:
  - send: email
    id: first
    template: hello
    topic: news
  - wait_for: confirmed
    id: confirm
    timeout: 8s
    then:
      - task: service
        id: look
        title: "Look"
      - send: email
        id: second
        template: again
        topic: news
    else:
      - exit: silent
"""

LETTER = """
journey: letter
tier: lifecycle
enter: {broadcast: pinged, audience: customer.country == "IT", rate: 1/s, again: always}
steps:
  - send: email
    id: first
    template: hello
    topic: news
"""


async def record_beside(url: str, address: str, folder: Path) -> None:
    """A broadcast to two people, one a second; a chore that has more to do after its first part."""
    write_project(folder, {"journeys/letter.yaml": LETTER})
    async with running(folder, url, address, "recorded") as sojourn:
        for user in ("ada", "bob"):
            await sojourn.identify(user, country="IT")
        await sojourn.track("catalogue", "pinged")
        await sojourn.until(lambda: len(sojourn.email.seen) == 2)
        client = sojourn.worker.relay.journeys.client
        (carried,) = await sojourn.query("select id, turn from broadcasts")
        await _write("broadcast.json", client.get_workflow_handle(broadcast_id("recorded", carried.id, carried.turn)))
    more = [True, False]

    async def part() -> bool:
        await asyncio.sleep(AT_ONCE_SECONDS)
        return more.pop(0)

    async def done(name: str) -> None:
        """Nobody wants to know."""

    chores = Chores([Chore("some", timedelta(hours=1), part)], done)
    runner = UnsandboxedWorkflowRunner()
    queue = "recorded-chores"
    async with Worker(client, task_queue=queue, workflows=[ChoreRun], activities=chores.activities(), workflow_runner=runner):
        name = f"{chore_id('recorded', 'some')}-run"
        await _write("chore.json", await client.start_workflow(CHORE, ["some", 10], id=name, task_queue=queue))


async def _write(file: str, handle: Any) -> None:
    await handle.result()
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / file).write_text(to_text(None, await handle.fetch_history()))


async def record_moved(url: str, address: str, folder: Path) -> None:
    """Somebody who is reset, and before that is done asked to go on with another plan: the cohort that lets them go."""
    write_project(folder, {"journeys/sampler.yaml": SAMPLER.replace("timeout: 8s", "timeout: 30d")})
    async with running(folder, url, address, "recorded", partitions=1, max_size=4) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.waiting_in("confirm", 1)
        (cohort,) = await sojourn.query("select id, plan from cohorts")
        plan = next(p for p in (await _plans(sojourn)) if p["journey"] == "sampler")
        await sojourn.pause()
        database = sojourn.worker.core.database
        async with transaction(database) as c:
            await moving.reset(c, Deployments(), [1], "first", "recorder")
        longer = write_project(folder, {"journeys/sampler.yaml": SAMPLER.replace("timeout: 8s", "timeout: 60d")})
        await deploy(database, load_project(longer, {"email", "sms"}), "recorder", Wishes("migrate"))
        mover = moving.Moving(database, Deployments())
        while await mover.round():
            pass
        sojourn.resume()
        await sojourn.until(lambda: len(sojourn.email.seen) == 2)
        await sojourn.pause()
        journeys = sojourn.worker.relay.journeys
        handle = journeys.client.get_workflow_handle(journeys.cohort_id(cohort.id))
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / "moved.json").write_text(to_text(plan, await handle.fetch_history()))


async def record(url: str, address: str, folder: Path) -> None:
    """One cohort of four: one confirmed, one parked and retried, one silent, one that left; rolled once. A file for each run."""
    write_project(folder, {"journeys/sampler.yaml": SAMPLER})
    async with running(folder, url, address, "recorded", partitions=1, max_size=4) as sojourn:
        users = ["ada", "bob", "eve", "joe"]
        unlucky = {u: str(await sojourn.identify(u)) for u in users}["bob"]
        await sojourn.accept([sojourn.event(u, "signed_up") for u in users])
        await sojourn.waiting_in("confirm", 4)
        journeys = sojourn.worker.relay.journeys
        (cohort,) = await sojourn.query("select id, plan from cohorts")
        handle = journeys.client.get_workflow_handle(journeys.cohort_id(cohort.id))
        first_run = (await handle.describe()).run_id
        await journeys.roll(cohort.id)

        async def rolled() -> bool:
            return (await handle.describe()).run_id != first_run

        await sojourn.until(rolled)
        await _live_through(sojourn, unlucky)
        await handle.result()
        last_run = (await handle.describe()).run_id
        plan = next(p for p in (await _plans(sojourn)) if p["journey"] == "sampler")
        FOLDER.mkdir(exist_ok=True)
        for number, run in enumerate((first_run, last_run), start=1):
            history = await journeys.client.get_workflow_handle(handle.id, run_id=run).fetch_history()
            (FOLDER / f"sampler-{number}.json").write_text(to_text(plan, history))


async def _live_through(sojourn: Running, unlucky: str) -> None:
    def answer(message: Outgoing) -> Receipt | Exception:
        return RuntimeError("a bug") if message.customer == unlucky else Receipt(Result.ACCEPTED)

    sojourn.email.answer = answer
    await sojourn.track("joe", "cancelled")
    await sojourn.accept([sojourn.event(u, "confirmed") for u in ("ada", "bob")])

    async def parked() -> bool:
        return bool(await sojourn.query("select 1 from enrollments where status = 'parked'"))

    await sojourn.until(parked)
    sojourn.email.answer = lambda m: Receipt(Result.ACCEPTED)
    await sojourn.unpark()
    await sojourn.settled(60)


async def _plans(sojourn: Running) -> list[Any]:
    deployments = sojourn.worker.core.deployments
    async with sojourn.worker.core.database.begin() as c:
        return [plan_to_json(p) for p in await deployments.plans_needed(c)]


Recorder = Callable[[str, str, Path], Awaitable[None]]
RECORDERS: Mapping[str, Recorder] = {"cohort": record, "beside": record_beside, "moved": record_moved}


def main(names: list[str]) -> None:
    """Start servers, record what is named, stop them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        with Embedded.start(Path(folder) / "servers", ui_port=None, durable=False) as servers:
            migrate(servers.database_url)
            for name in names:
                asyncio.run(RECORDERS[name](servers.database_url, servers.temporal_address, Path(folder) / name))
    print(*(p.name for p in sorted(FOLDER.iterdir())), sep=os.linesep)


if __name__ == "__main__":
    main(sys.argv[1:])
    end_process(0)
