"""Holds on the real engine: what pauses, what frees it, and when it goes then. Days pass in seconds under a time scale."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.harness import POLICY, running, write_project

DAYS = 43_200.0
"""A day in two seconds."""

HOLDS = """
holds:
  - {from: complaint_filed, until: complaint_resolved, key: ticket_id, pause: [promotional], at_most: 30d}
  - {while_in: recovery, pause: [promotional], at_most: 30d}
"""

OFFER = """
journey: offer
tier: promotional
enter: {event: signed_up, again: never}
steps:
  - wait: 1d
    id: a_day
  - send: email
    id: offer
    template: hello
    topic: offers
    expires: 20d
"""

RECOVERY = """
journey: recovery
tier: service
enter: {event: pinged, again: always}
exit: [{event: cancelled}]
steps:
  - wait: 300d
    id: long
"""

FILES = {
    "journeys/policy.yaml": POLICY + HOLDS,
    "journeys/offer.yaml": OFFER,
    "journeys/recovery.yaml": RECOVERY,
}


def time_of_day(moment: datetime) -> str:
    """The time of day in UTC, which is these customers' zone, to the second."""
    return moment.astimezone(UTC).strftime("%H:%M:%S")


async def test_a_complaint_in_the_middle_of_a_wait_pauses_promotion_until_it_is_resolved(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """No promotion while a complaint is open; resolved, it goes at its planned local time of day and not before."""
    folder = write_project(tmp_path, FILES)
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=DAYS) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.track("ada", "complaint_filed", ticket_id="T1")
        await sojourn.message_is("deferred")
        assert [] == sojourn.email.to(ada)
        await sojourn.track("ada", "complaint_resolved", ticket_id="T1")
        await sojourn.settled()
        assert ["offer"] == [m.step for m in sojourn.email.to(ada)]
        sent = (await sojourn.messages())[0]
        decisions = await sojourn.decisions()
        assert ["defer", "defer", "allow"] == [d.decision for d in decisions]
        assert {"complaint_filed"} == {d.rule for d in decisions[:-1]}
        assert time_of_day(sent.planned_at) == time_of_day(decisions[1].until)
        assert sent.sent_at >= decisions[1].until
        closed = await sojourn.query("select closed_at from holds")
        assert decisions[1].until >= closed[0].closed_at


async def test_a_promotion_that_a_hold_outlives_is_dropped_and_names_the_hold(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A paused message that expires is dropped, the hold is its reason, and the journey goes on."""
    folder = write_project(tmp_path, {**FILES, "journeys/offer.yaml": OFFER.replace("20d", "2d")})
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=DAYS) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.track("ada", "complaint_filed", ticket_id="T1")
        await sojourn.settled()
        assert [] == sojourn.email.to(ada)
        dropped = (await sojourn.messages())[0]
        assert ("dropped", "hold") == (dropped.status, dropped.reason)
        assert "complaint_filed" in dropped.detail
        assert [("offer", "ended", "completed")] == await sojourn.ends()


async def test_two_complaints_with_keys_need_two_resolutions(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """One of two complaints resolved: the hold is still on."""
    folder = write_project(tmp_path, FILES)
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=DAYS) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.track("ada", "complaint_filed", ticket_id="T1")
        await sojourn.track("ada", "complaint_filed", ticket_id="T2")
        await sojourn.message_is("deferred")
        await sojourn.track("ada", "complaint_resolved", ticket_id="T1")

        async def decided_again() -> bool:
            return len(await sojourn.decisions()) >= 2

        await sojourn.until(decided_again)
        assert {"defer"} == {d.decision for d in await sojourn.decisions()}
        assert [] == sojourn.email.to(ada)
        await sojourn.track("ada", "complaint_resolved", ticket_id="T2")
        await sojourn.settled()
        assert 1 == len(sojourn.email.to(ada))


async def test_being_in_one_journey_holds_the_messages_of_another(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """`while_in` pauses other journeys' promotions until the enrollment ends."""
    folder = write_project(tmp_path, FILES)
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=DAYS) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "pinged", number=1)
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("deferred")
        assert ["recovery"] == [d.rule for d in await sojourn.decisions()]
        assert [] == sojourn.email.to(ada)
        await sojourn.track("ada", "cancelled")
        await sojourn.settled()
        assert 1 == len(sojourn.email.to(ada))


async def test_a_hold_leaves_other_tiers_alone(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """An open complaint pauses promotion only: a message of a higher tier goes."""
    higher = OFFER.replace("tier: promotional", "tier: lifecycle").replace("wait: 1d", "wait: 1s")
    folder = write_project(tmp_path, {**FILES, "journeys/offer.yaml": higher})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "complaint_filed", ticket_id="T1")
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        assert 1 == len(sojourn.email.to(ada))
