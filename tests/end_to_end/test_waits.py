"""Waits on the real engine: which event ends which wait, what came too early, what came too late, and whose it was."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.harness import Running, running, write_project

WAITING = """
journey: waiting
tier: lifecycle
enter: {event: signed_up, key: order_id, again: always}
steps:
  - wait: 1s
    id: first
  - wait_for: confirmed
    id: confirm
    timeout: 30d
    since: SINCE
    then:
      - task: found
        title: "Found"
    else:
      - task: missed
        title: "Missed"
"""

LIST = """
journey: list
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - wait: 2s
    id: first
  - wait_for:
      - event: confirmed
        then:
          - task: confirmed
            title: "Confirmed"
      - event: pinged
        where: event.number > 3
        then:
          - task: pinged
            title: "{{ event.number }}"
    id: either
    timeout: 30d
    else:
      - exit: silent
"""

SHORT = """
journey: short
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - wait_for: confirmed
    id: confirm
    timeout: 6s
    then:
      - task: found
        title: "Found"
    else:
      - task: missed
        title: "Missed"
"""


async def queues(sojourn: Running) -> list[str]:
    """The queues of all tasks, oldest first."""
    return [r.queue for r in await sojourn.query("select queue from tasks order by id")]


async def test_since_entry_takes_an_event_that_came_before_the_step(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """An event that came while an earlier step was running ends a wait that asks since entry."""
    folder = write_project(tmp_path, {"journeys/waiting.yaml": WAITING.replace("SINCE", "entry")})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up", order_id="A")
        await sojourn.track("ada", "confirmed", order_id="A")
        await sojourn.settled()
        assert ["found"] == await queues(sojourn)


async def test_since_step_takes_only_what_comes_then(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """With `since: step` an earlier event is no answer, a later one is."""
    folder = write_project(tmp_path, {"journeys/waiting.yaml": WAITING.replace("SINCE", "step")})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up", order_id="A")
        await sojourn.track("ada", "confirmed", order_id="A")
        await sojourn.waiting_in("confirm")
        assert [("waiting", "live", "")] == await sojourn.ends()
        await sojourn.track("ada", "confirmed", order_id="A")
        await sojourn.settled()
        assert ["found"] == await queues(sojourn)


async def test_an_event_of_one_order_ends_the_wait_of_that_order(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Two orders wait, one is confirmed: the other goes on waiting."""
    folder = write_project(tmp_path, {"journeys/waiting.yaml": WAITING.replace("SINCE", "entry")})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        for order in ("A", "B"):
            await sojourn.track("ada", "signed_up", order_id=order)
        await sojourn.waiting_in("confirm", 2)
        await sojourn.track("ada", "confirmed", order_id="B")

        async def over() -> bool:
            return ("waiting", "ended", "completed") in await sojourn.ends()

        await sojourn.until(over)
        rows = await sojourn.query("select key, status from enrollments order by key")
        assert [("A", "live"), ("B", "ended")] == [(r.key, r.status) for r in rows]


async def test_a_list_is_won_by_the_first_that_occurred(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Of two events that a list waits for, the one that occurred first wins, though it was accepted last."""
    folder = write_project(tmp_path, {"journeys/list.yaml": LIST})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await asyncio.sleep(0.3)
        before = datetime.now(UTC) - timedelta(milliseconds=200)
        await sojourn.track("ada", "confirmed")
        await sojourn.track("ada", "pinged", at=before, number=7)
        await sojourn.settled()
        assert ["pinged"] == await queues(sojourn)
        assert ["7"] == [r.title for r in await sojourn.query("select title from tasks")]


async def test_a_where_lets_an_event_pass_by(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """An event that fails the wait's `where` neither ends it nor is remembered for it."""
    folder = write_project(tmp_path, {"journeys/list.yaml": LIST})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.track("ada", "pinged", number=2)
        await sojourn.waiting_in("either")
        await sojourn.track("ada", "pinged", number=4)
        await sojourn.settled()
        assert ["4"] == [r.title for r in await sojourn.query("select title from tasks")]


async def test_an_event_before_the_timeout_wins_though_no_worker_ran(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Accepted in time while the workers were down, an event wins over a timeout that was noticed first."""
    folder = write_project(tmp_path, {"journeys/short.yaml": SHORT})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.waiting_in("confirm")
        await sojourn.pause()
        await sojourn.track("ada", "confirmed")
        (row,) = await sojourn.query("select wake_at from enrollments")
        await sojourn.until(lambda: datetime.now(UTC) > row.wake_at)
        sojourn.resume()
        await sojourn.settled()
        assert ["found"] == await queues(sojourn)


async def test_an_event_that_occurred_before_the_timeout_wins_though_it_arrives_late(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A late event with an earlier `occurred_at` wins while the step hasn't been left, a later one doesn't."""
    folder = write_project(tmp_path, {"journeys/short.yaml": SHORT})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        for user in ("ada", "bob"):
            await sojourn.identify(user)
        await sojourn.accept([sojourn.event(user, "signed_up") for user in ("ada", "bob")])
        await sojourn.waiting_in("confirm", 2)
        await sojourn.pause()
        (last,) = await sojourn.query("select max(wake_at) as at from enrollments")
        (first,) = await sojourn.query("select min(wake_at) as at from enrollments")
        await sojourn.until(lambda: datetime.now(UTC) > last.at)
        await sojourn.track("ada", "confirmed", at=first.at - timedelta(seconds=1))
        await sojourn.track("bob", "confirmed", at=last.at + timedelta(milliseconds=1))
        sojourn.resume()
        await sojourn.settled()
        rows = await sojourn.query("select customer_id, queue from tasks order by customer_id")
        assert [(sojourn.customers["ada"], "found"), (sojourn.customers["bob"], "missed")] == [tuple(r) for r in rows]


async def test_an_event_that_a_wait_has_taken_ends_no_second_wait(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """One confirmation ends one wait; the next wait for the same event needs another."""
    twice = """
    journey: twice
    tier: lifecycle
    enter: {event: signed_up, again: never}
    steps:
      - wait_for: confirmed
        id: one
        timeout: 30d
      - wait_for: confirmed
        id: two
        timeout: 30d
    """
    folder = write_project(tmp_path, {"journeys/twice.yaml": twice})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.track("ada", "confirmed")
        await sojourn.waiting_in("two")
        assert [("twice", "live", "")] == await sojourn.ends()
        await sojourn.track("ada", "confirmed")
        await sojourn.settled()
        assert [("twice", "ended", "completed")] == await sojourn.ends()


async def test_a_wait_for_a_date_follows_the_attribute(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A wait until an attribute's moment is planned again when the attribute changes, and ends when it is over."""
    renewal = """
    journey: renewal
    tier: lifecycle
    enter: {event: signed_up, again: never}
    steps:
      - wait: {until: customer.renews_at, on_past: run}
        id: renews
      - task: done
        title: "Renewed"
    """
    tracking = """
    events:
      signed_up: {properties: {plan: string}}
    attributes: {first_name: string, email: string, renews_at: datetime}
    """
    folder = write_project(tmp_path, {"journeys/renewal.yaml": renewal, "journeys/tracking.yaml": tracking})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        far = datetime.now(UTC) + timedelta(days=300)
        await sojourn.identify("ada", renews_at=far.isoformat())
        await sojourn.track("ada", "signed_up")
        await sojourn.waiting_in("renews")
        farther = far + timedelta(days=100)
        await sojourn.identify("ada", renews_at=farther.isoformat())

        async def moved() -> bool:
            return [farther] == [r.wake_at for r in await sojourn.query("select wake_at from enrollments")]

        await sojourn.until(moved)
        await sojourn.identify("ada", renews_at=(datetime.now(UTC) - timedelta(days=1)).isoformat())
        await sojourn.settled()
        assert ["done"] == await queues(sojourn)


async def test_no_date_leaves_with_that_reason(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A wait for a moment that nobody knows ends the enrollment as `no_date`."""
    journey = """
    journey: dated
    tier: lifecycle
    enter: {event: signed_up, again: never}
    steps:
      - wait: {until: customer.renews_at, on_past: run}
        id: renews
    """
    tracking = """
    events:
      signed_up: {properties: {plan: string}}
    attributes: {first_name: string, email: string, renews_at: datetime}
    """
    folder = write_project(tmp_path, {"journeys/dated.yaml": journey, "journeys/tracking.yaml": tracking})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        assert [("dated", "ended", "no_date")] == await sojourn.ends()
