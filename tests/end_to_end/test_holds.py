"""Holds on the real engine: what pauses, what frees it, and when it goes then. Days pass in seconds under a time scale."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.intake import operators
from engine.store.database import transaction
from tests.harness import POLICY, running, write_project
from tests.letters import RECOVERY, letter

DAYS = 43_200.0
"""A day in two seconds."""

HOLDS = """
holds:
  - {from: complaint_filed, until: complaint_resolved, key: ticket_id, pause: [promotional], at_most: 30d}
  - {while_in: recovery, pause: [promotional], at_most: 30d}
"""

OFFER = letter("offer", "promotional", topic="offers", expires="20d", before="{wait: 1d, id: a_day}")

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


OPENING = {
    "complaint": ("complaint_filed", {"ticket_id": "T1"}),
    "recovery": ("pinged", {"number": 1}),
}
CLOSING = {
    "complaint": ("complaint_resolved", {"ticket_id": "T1"}),
    "recovery": ("cancelled", {}),
}
LONG = HOLDS.replace("30d", "3000d")
PATIENT = OFFER.replace("20d", "3000d")


@pytest.mark.parametrize("outer", ["complaint", "recovery"])
@pytest.mark.parametrize("nested", [True, False])
async def test_nested_and_overlapping_holds_end_with_the_last_of_them(
    outer: str, nested: bool, tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A hold inside another, or one that reaches over the other's end, opened by an event or by an enrollment: when the first of
    them ends the message is decided again and waits on, naming the other; when the last one ends it goes."""
    inner = "recovery" if outer == "complaint" else "complaint"
    first, last = (inner, outer) if nested else (outer, inner)
    rule = {"complaint": "complaint_filed", "recovery": "recovery"}
    folder = write_project(tmp_path, {**FILES, "journeys/policy.yaml": POLICY + LONG, "journeys/offer.yaml": PATIENT})
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=DAYS) as sojourn:
        ada = await sojourn.identify("ada")
        for hold in (outer, inner):
            event, properties = OPENING[hold]
            await sojourn.track("ada", event, **properties)
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("deferred")
        before = len(await sojourn.decisions())
        event, properties = CLOSING[first]
        await sojourn.track("ada", event, **properties)

        async def decided_again() -> bool:
            return len(await sojourn.decisions()) > before

        await sojourn.until(decided_again)
        latest = (await sojourn.decisions())[-1]
        assert ("defer", "hold", rule[last]) == (latest.decision, latest.reason, latest.rule)
        assert [] == sojourn.email.to(ada)
        event, properties = CLOSING[last]
        await sojourn.track("ada", event, **properties)
        await sojourn.settled()
        assert 1 == len(sojourn.email.to(ada))
        ends = await sojourn.query("select max(closed_at) as closed from holds")
        assert (await sojourn.messages())[0].sent_at >= ends[0].closed


async def test_holds_that_nobody_ends_end_with_their_longest_time(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Two complaints, five days apart, that are never resolved: the message goes when the later one's `at_most` is over, at its
    planned time of day. Nobody closes the holds."""
    short = HOLDS.replace("30d", "8d")
    folder = write_project(tmp_path, {**FILES, "journeys/policy.yaml": POLICY + short, "journeys/offer.yaml": PATIENT})
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=DAYS) as sojourn:
        ada = await sojourn.identify("ada")
        now = (await sojourn.query("select sojourn_now() as now"))[0].now
        await sojourn.accept(
            [
                sojourn.event("ada", "signed_up", now - timedelta(days=1)),
                sojourn.event("ada", "complaint_filed", now - timedelta(days=5), ticket_id="T1"),
                sojourn.event("ada", "complaint_filed", now, ticket_id="T2"),
            ]
        )
        await sojourn.settled()
        (sent,) = await sojourn.messages()
        holds = await sojourn.query("select until, closed_at from holds order by until")
        assert 1 == len(sojourn.email.to(ada))
        assert sent.sent_at >= holds[-1].until == now + timedelta(days=8)
        waited = [d for d in await sojourn.decisions() if d.decision == "defer"]
        assert {"complaint_filed"} == {d.rule for d in waited}
        assert time_of_day(sent.planned_at) == time_of_day(waited[-1].until)
        assert [None, None] == [h.closed_at for h in holds]


async def test_what_a_hold_sets_free_goes_by_tier(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A hold paused a promotion that came first and a lifecycle message that came later. There is room for one in five days:
    set free, the lifecycle message goes, and the promotion five days after it."""
    policy = POLICY + LONG.replace("[promotional]", "[lifecycle, promotional]")
    policy += "caps: [{name: rare, limit: 1, per: 5d}]\n"
    news = PATIENT.replace("journey: offer", "journey: news").replace("tier: promotional", "tier: lifecycle")
    news = news.replace("id: offer", "id: news").replace("event: signed_up", "event: confirmed")
    files = {**FILES, "journeys/policy.yaml": policy, "journeys/offer.yaml": PATIENT, "journeys/news.yaml": news}
    folder = write_project(tmp_path, files)
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=DAYS) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "complaint_filed", ticket_id="T1")
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("deferred", 1)
        await sojourn.track("ada", "confirmed")
        await sojourn.message_is("deferred", 2)
        await sojourn.track("ada", "complaint_resolved", ticket_id="T1")
        await sojourn.settled(100)
        assert ["news", "offer"] == [m.step for m in sojourn.email.to(ada)]
        slots = {m.step: m.slot_at for m in await sojourn.messages()}
        assert slots["offer"] - slots["news"] >= timedelta(days=5)


async def test_what_a_hold_sets_free_must_still_be_allowed(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Consent that was withdrawn while the hold was on counts when it ends: the message is dropped, and the journey goes on."""
    folder = write_project(tmp_path, {**FILES, "journeys/policy.yaml": POLICY + LONG, "journeys/offer.yaml": PATIENT})
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=DAYS) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "complaint_filed", ticket_id="T1")
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("deferred")
        await sojourn.track("ada", "unsubscribed", channel="email", topic="offers")
        await sojourn.track("ada", "complaint_resolved", ticket_id="T1")
        await sojourn.settled()
        assert [] == sojourn.email.to(ada)
        assert [("dropped", "consent")] == [(m.status, m.reason) for m in await sojourn.messages()]


async def test_an_enrollment_that_is_parked_holds_on(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Somebody parked in the journey that holds is still inside it; stopped by an operator, what it paused goes."""
    broken = RECOVERY.replace("wait: 300d", "send: sms\n    template: hello\n    topic: news")
    files = {**FILES, "journeys/policy.yaml": POLICY + LONG, "journeys/offer.yaml": PATIENT, "journeys/recovery.yaml": broken}
    folder = write_project(tmp_path, files)
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=DAYS) as sojourn:
        ada = await sojourn.identify("ada", phone="+390001")
        sojourn.sms.answer = lambda m: RuntimeError("the adapter is broken")
        entered = await sojourn.track("ada", "pinged", number=1)
        await sojourn.message_is("parked")
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("deferred")
        assert ["recovery"] == [d.rule for d in await sojourn.decisions() if d.decision == "defer"]
        async with transaction(sojourn.worker.core.database) as c:
            assert [entered.enrollments[0]] == await operators.stop(c, entered.enrollments, "test")
        await sojourn.settled()
        assert 1 == len(sojourn.email.to(ada))
