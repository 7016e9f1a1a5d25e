"""One customer straight down through every floor: event, enrollment, cohort, gates, channel, ledger."""

from __future__ import annotations

from pathlib import Path

from tests.harness import running, write_project

WELCOME = """
journey: welcome
tier: lifecycle
enter: {event: signed_up, again: never}
exit: [{event: cancelled}]
steps:
  - send: email
    id: hello
    template: hello
    topic: news
  - wait_for: confirmed
    id: confirm
    timeout: 2d
    then:
      - send: email
        id: again
        template: again
        topic: news
    else:
      - exit: silent
"""


async def test_an_event_becomes_a_message_and_a_second_event_the_next(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """send, wait for an event, send: each message is handed over once, and the enrollment ends as completed."""
    folder = write_project(tmp_path, {"journeys/welcome.yaml": WELCOME})
    async with running(folder, database_url, temporal_address, task_queue_prefix, sandboxed=True) as sojourn:
        ada = await sojourn.identify("ada")
        started = await sojourn.track("ada", "signed_up")
        assert len(started.enrollments) == 1
        await sojourn.until(lambda: len(sojourn.email.to(ada)) == 1)
        await sojourn.track("ada", "confirmed")
        await sojourn.settled()
        assert [m.content.fields["subject"] for m in sojourn.email.to(ada)] == ["Hello Ada", "Hello Ada"]
        assert [m.step for m in sojourn.email.to(ada)] == ["hello", "again"]
        ended = await sojourn.query("select status, reason from enrollments")
        assert [(r.status, r.reason) for r in ended] == [("ended", "completed")]


async def test_an_exit_event_ends_a_wait_at_once(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """An exit in the middle of a wait ends the enrollment in the transaction that accepts it, and nothing is sent afterwards."""
    folder = write_project(tmp_path, {"journeys/welcome.yaml": WELCOME})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.until(lambda: len(sojourn.email.to(ada)) == 1)
        await sojourn.track("ada", "cancelled")
        ended = await sojourn.query("select status, reason from enrollments")
        assert [(r.status, r.reason) for r in ended] == [("ended", "cancelled")]
        await sojourn.track("ada", "confirmed")
        await sojourn.track("ada", "signed_up")
        assert len(sojourn.email.to(ada)) == 1
