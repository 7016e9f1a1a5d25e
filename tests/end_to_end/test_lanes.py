"""Workers of one lane: what can't wait has processes and task queues of its own, which a broadcast never makes busy."""

from __future__ import annotations

from pathlib import Path

from engine.temporal.grouping import BULK, URGENT, main_queue, queue_name
from tests.harness import POLICY, Running, running, write_project

FILES = {
    "journeys/policy.yaml": POLICY.replace("{name: transactional, ", "{name: transactional, only: [hello], "),
    "journeys/offer.yaml": """
        journey: offer
        tier: promotional
        enter: {event: signed_up, again: never}
        steps:
          - send: email
            id: receipt
            tier: transactional
            template: hello
          - send: email
            id: offer
            template: again
            topic: offers
        """,
    "journeys/reset.yaml": """
        journey: reset
        tier: transactional
        enter: {event: confirmed, again: always}
        steps:
          - send: email
            id: reset
            template: hello
          - set: {vars.asked: true}
        """,
}


async def pending(sojourn: Running) -> list[str]:
    """The journeys whose inputs Temporal doesn't have."""
    found = await sojourn.query(
        "select e.journey from inputs i join enrollments e on e.id = i.enrollment_id where i.relayed_at is null"
    )
    return [r.journey for r in found]


async def queues(sojourn: Running) -> dict[str, str]:
    """Journey → the task queue of its cohort."""
    journeys = sojourn.worker.relay.journeys
    found = await sojourn.query("select distinct journey, cohort_id from enrollments where cohort_id is not null")
    told = {r.journey: journeys.client.get_workflow_handle(journeys.cohort_id(r.cohort_id)) for r in found}
    return {journey: (await handle.describe()).task_queue for journey, handle in told.items()}


async def test_a_lane_needs_nobody_of_the_other_one(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """With nobody but a worker of the urgent lane, urgent enrollments go through all their steps, and others aren't begun. With
    nobody but one of the other lane, those begin, and what they send in an urgent tier waits for the first one to come back:
    nothing is lost, and each message is handed over in its own lane."""
    folder, where = write_project(tmp_path, FILES), (database_url, temporal_address, task_queue_prefix)
    async with running(folder, *where, lanes=[URGENT]) as urgent:
        await urgent.accept([urgent.known(u) for u in ("ada", "bob")])
        await urgent.track("ada", "signed_up")
        await urgent.track("bob", "confirmed")
        await urgent.until(lambda: _ended(urgent, "reset"))
        assert ["offer"] == await pending(urgent)
        assert ["reset"] == [m.step for m in urgent.email.seen]
    async with running(folder, *where, lanes=[BULK]) as bulk:
        await bulk.relayed()
        await bulk.track("bob", "confirmed")
        assert {lane: queue_name(task_queue_prefix, main_queue(lane)) for lane in (URGENT, BULK)} == {
            URGENT: (await queues(bulk))["reset"],
            BULK: (await queues(bulk))["offer"],
        }
        async with running(folder, *where, lanes=[URGENT]) as again:
            await bulk.settled(60)
            assert ["receipt", "reset"] == sorted(m.step for m in again.email.seen)
        assert ["offer"] == [m.step for m in bulk.email.seen]


async def _ended(sojourn: Running, journey: str) -> bool:
    return (journey, "ended", "completed") in await sojourn.ends()
