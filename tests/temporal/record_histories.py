"""Records the histories that `test_replay.py` replays: `python -m tests.temporal.record_histories`, on servers of its own.

Run it when a change of the workflow is meant to make new histories, behind `workflow.patched`, and keep the old files: cohorts
that run in production have such histories. What names the machine that recorded is taken out.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from engine.app.embedded import Embedded
from engine.app.ending import end_process
from engine.core.plan import plan_to_json
from engine.delivery.channel import Outgoing, Receipt, Result
from engine.store.schema import migrate
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


def main() -> None:
    """Start servers, record, stop them."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        with Embedded.start(Path(folder) / "servers", ui_port=None, durable=False) as servers:
            migrate(servers.database_url)
            asyncio.run(record(servers.database_url, servers.temporal_address, Path(folder) / "project"))
    print(*(p.name for p in sorted(FOLDER.iterdir())), sep=os.linesep)


if __name__ == "__main__":
    main()
    end_process(0)
