"""Leaving a journey on the real engine: exits, goals, what ends with an enrollment, and what its cohort does then."""

from __future__ import annotations

from pathlib import Path

from temporalio.client import WorkflowExecutionStatus

from tests.harness import Running, running, write_project

LONG = """
journey: long
tier: lifecycle
enter: {event: signed_up, again: always, key: order_id}
exit: [{event: cancelled}]
goal: {event: confirmed, exit: true}
steps:
  - task: service
    id: look
    title: "Look at {{ entry.order_id }}"
  - wait: 30d
    id: month
  - send: email
    id: late
    template: hello
    topic: news
"""


async def cohort_ended(sojourn: Running) -> bool:
    """Whether the workflow of the first cohort has completed."""
    number = (await sojourn.query("select min(id) as id from cohorts"))[0].id
    if number is None:
        return False
    journeys = sojourn.worker.relay.journeys
    description = await journeys.client.get_workflow_handle(journeys.cohort_id(number)).describe()
    return description.status == WorkflowExecutionStatus.COMPLETED


async def test_an_exit_event_ends_a_month_of_waiting_at_once(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The exit ends the enrollment in the store with the event's acceptance, closes its task, and its workflow lets it go."""
    folder = write_project(tmp_path, {"journeys/long.yaml": LONG})
    async with running(folder, database_url, temporal_address, task_queue_prefix, max_size=1) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up", order_id="A")
        await sojourn.waiting_in("month")
        assert not await cohort_ended(sojourn)
        await sojourn.track("ada", "cancelled", order_id="A")
        assert [("long", "ended", "cancelled")] == await sojourn.ends()
        assert ["closed"] == [r.status for r in await sojourn.query("select status from tasks")]
        await sojourn.until(lambda: cohort_ended(sojourn))
        assert [] == sojourn.email.to(ada)


async def test_a_refund_of_one_order_leaves_the_other_order_alone(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """An exit event that declares the key ends the enrollment with its value and no other."""
    folder = write_project(tmp_path, {"journeys/long.yaml": LONG})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up", order_id="A")
        await sojourn.track("ada", "signed_up", order_id="B")
        await sojourn.waiting_in("month", 2)
        await sojourn.track("ada", "cancelled", order_id="B")
        rows = await sojourn.query("select key, status from enrollments order by key")
        assert [("A", "live"), ("B", "ended")] == [(r.key, r.status) for r in rows]


async def test_a_goal_with_exit_ends_the_enrollment_and_counts_once(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The goal is counted at its event, ends the enrollment, and a second such event changes nothing."""
    folder = write_project(tmp_path, {"journeys/long.yaml": LONG})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up", order_id="A")
        await sojourn.waiting_in("month")
        await sojourn.track("ada", "confirmed", order_id="A")
        first = await sojourn.query("select goal_at from enrollments")
        await sojourn.track("ada", "confirmed", order_id="A")
        assert [("long", "ended", "goal")] == await sojourn.ends()
        assert first == await sojourn.query("select goal_at from enrollments")
        assert first[0].goal_at is not None


async def test_an_exit_in_the_same_batch_as_the_entry_leaves_nothing_behind(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Who enters and leaves in one batch is recorded as ended, does nothing, and leaves no input pending."""
    folder = write_project(tmp_path, {"journeys/long.yaml": LONG})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.accept([sojourn.event("ada", "signed_up", order_id="A"), sojourn.event("ada", "cancelled", order_id="A")])
        assert [("long", "ended", "cancelled")] == await sojourn.ends()
        await sojourn.relayed()
        assert [] == list(await sojourn.query("select 1 from tasks"))
        assert [] == list(await sojourn.messages())
