"""What went wrong may quote a customer's data: it is kept in the store, and Temporal holds only what kind of thing it was."""

from __future__ import annotations

from pathlib import Path

from engine.temporal.client import Journeys
from tests.harness import running, write_project

WELCOME = """
journey: welcome
tier: transactional
enter: {event: signed_up, again: never}
steps:
  - {send: email, id: hello, template: hello}
"""


async def test_the_words_of_a_failure_stay_out_of_temporal(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """An adapter's exception that names an address parks its member with all its words in the store and none in the history."""
    folder = write_project(tmp_path, {"journeys/welcome.yaml": WELCOME})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        sojourn.email.answer = lambda m: RuntimeError(f"can't write to {m.to}")
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")

        async def parked() -> bool:
            return bool(await sojourn.query("select 1 from enrollments where status = 'parked'"))

        await sojourn.until(parked)
        told = await sojourn.query("select reason, cohort_id from enrollments")
        assert "channel email: RuntimeError: can't write to ada@example.com" == told[0].reason
        journeys: Journeys = sojourn.worker.relay.journeys
        handle = journeys.client.get_workflow_handle(journeys.cohort_id(told[0].cohort_id))
        payloads = "".join([str(event) async for event in handle.fetch_history_events()])
        assert "channel email" in payloads
        assert "ada@example.com" not in payloads
