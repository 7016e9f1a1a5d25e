"""Higher tiers come first also when they come later, on the real engine: slots set aside, one queue per customer, releases."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.delivery.channel import Receipt, Result
from tests.harness import TRACKING, running
from tests.letters import letter, project

DAYS = 43_200.0
"""A day in two seconds."""

WEEKLY = "caps: [{name: weekly, limit: 1, per: 7d, tiers: [lifecycle, promotional]}]\n"


FIVE = {"p1": "promotional", "l1": "lifecycle", "p2": "promotional", "l2": "lifecycle", "l3": "lifecycle"}
"""Journeys that one event enters, and their tiers."""


def five(tmp_path: Path) -> Path:
    """A project of `FIVE` under two messages a day."""
    cap = "caps: [{name: daily, limit: 2, per: day, tiers: [lifecycle, promotional]}]\n"
    return project(tmp_path, cap, *(letter(name, tier) for name, tier in FIVE.items()))


async def test_of_five_at_once_the_two_highest_go_and_the_others_are_told_the_next_days_in_turn(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """In real time, in five cohorts: tier by tier, and each of the others is told its own day the first time it is decided."""
    async with running(five(tmp_path), database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("sent", 2)
        await sojourn.message_is("deferred", 3)
        entered = await sojourn.query("select journey from enrollments order by entered_at, id")
        messages = await sojourn.messages()
        decisions = await sojourn.decisions()
    order = sorted((r.journey for r in entered), key=lambda name: FIVE[name])  # stable: the earlier enrollment stays first
    sent = {m.step: m.sent_at for m in messages if m.status == "sent"}
    assert set(order[:2]) == set(sent)
    told: dict[str, datetime] = {}
    for d in decisions:
        if d.decision == "defer":
            told.setdefault(d.key.split("/")[1], d.until)
    today = max(sent.values()).date()
    assert [1, 1, 2] == [(told[name].date() - today).days for name in order[2:]]


async def test_of_five_at_once_all_go_in_the_end(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """With time running fast: two a day at most."""
    async with running(five(tmp_path), database_url, temporal_address, task_queue_prefix, time_scale=DAYS) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("sent", 5)
        sent = await sojourn.messages()
    assert 5 == len(sojourn.email.to(ada))
    days = Counter(m.slot_at.date() for m in sent)
    assert max(days.values()) <= 2


async def test_a_slot_is_set_aside_for_what_time_alone_will_reach(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A promotion waits for a lifecycle message that is due within the cap's window, and goes when that one has left it."""
    folder = project(tmp_path, WEEKLY, letter("late", before="wait: 2d"), letter("now", "promotional"))
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=DAYS) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.settled(60)
        sent = await sojourn.query("select step, sent_at from messages where status = 'sent' order by sent_at")
    assert 2 == len(sojourn.email.to(ada))
    assert ["late", "now"] == [m.step for m in sent]
    assert sent[1].sent_at - sent[0].sent_at >= timedelta(days=7)


@pytest.mark.parametrize("wait", ["wait: 8d", "wait_for: confirmed\n    timeout: 2d"])
async def test_no_slot_is_set_aside_for_what_comes_too_late_to_matter_or_may_never_come(
    wait: str, tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """In real time: a promotion goes at once."""
    folder = project(tmp_path, WEEKLY, letter("late", before=wait), letter("now", "promotional"))
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("sent")
        assert ["now"] == [m.step for m in sojourn.email.to(ada)]
        assert 1 == len(await sojourn.query("select 1 from enrollments where journey = 'late' and status <> 'ended'"))


async def test_what_is_set_aside_is_released_when_the_journey_is_left(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """In real time: the promotion is told to wait for days, and goes at once when the lifecycle journey ends."""
    late = letter("late", head="exit: [{event: cancelled}]", before="wait: 2d")
    folder = project(tmp_path, WEEKLY, late, letter("now", "promotional"))
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("deferred")
        (waits,) = await sojourn.messages()
        assert waits.until - waits.planned_at > timedelta(days=8)
        assert "1 of 1 used within 7d, 1 of them set aside for messages that go first" in waits.detail
        await sojourn.track("ada", "cancelled")
        await sojourn.message_is("sent")
        assert ["now"] == [m.step for m in sojourn.email.to(ada)]


@pytest.mark.parametrize("change", ["consent", "suppression", "address"])
async def test_what_can_no_longer_be_sent_sets_nothing_aside(
    change: str, tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A withdrawn consent, a suppressed address and an address that is gone all free the slot, and the promotion is told."""
    late = letter("late", channel="sms", topic="offers", before="wait: 2d")
    folder = project(tmp_path, WEEKLY, late, letter("now", "promotional"))
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada", phone="+391234567")
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("deferred")
        if change == "consent":
            await sojourn.track("ada", "consent_changed", channel="sms", topic="offers", state="withdrawn")
        elif change == "suppression":
            await sojourn.track("ada", "message_bounced", channel="sms", hard=True)
        else:
            await sojourn.identify("ada", phone=None)
        await sojourn.message_is("sent")
        assert ["now"] == [m.step for m in sojourn.email.to(ada)]


async def test_what_its_condition_no_longer_wants_gives_its_place_back(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Two wait for the next weeks; the first of them, no longer wanted when its day comes, is dropped with that reason, and the
    other goes in its place, although the first one's journey goes on."""
    goes_on = "{wait_for: cancelled, timeout: 300d}"
    late = letter("late", event="pinged", more="if: customer.country != 'IT'", after=goes_on)
    folder = project(tmp_path, WEEKLY, letter("a"), late, letter("next", event="confirmed"))
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=DAYS) as sojourn:
        ada = await sojourn.identify("ada", country="DE")
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("sent")
        await sojourn.track("ada", "pinged")
        await sojourn.message_is("deferred")
        await sojourn.track("ada", "confirmed")
        await sojourn.message_is("deferred", 2)
        await sojourn.identify("ada", country="IT")
        await sojourn.message_is("sent", 2)
        messages = {m.step: m for m in await sojourn.messages()}
    assert ["a", "next"] == [m.step for m in sojourn.email.to(ada)]
    assert ("dropped", "condition", None) == (messages["late"].status, messages["late"].reason, messages["late"].slot_at)
    assert timedelta(days=7) <= messages["next"].sent_at - messages["a"].sent_at < timedelta(days=13)


DATED = """
journey: late
tier: lifecycle
enter: {event: signed_up, again: always}
steps:
  - id: date
    wait:
      until: customer.due_at
      on_past: skip
      then:
        - send: email
          id: late
          template: hello
          topic: news
          expires: 60d
  - wait_for: cancelled
    id: afterwards
    timeout: 300d
"""


def dated(tmp_path: Path) -> Path:
    """A lifecycle message for the customer's own date `due_at`, left out when that has passed, and a promotion."""
    tracking = TRACKING.replace("attributes: {", "attributes: {due_at: datetime, ")
    return project(tmp_path, WEEKLY, DATED, letter("now", "promotional", event="pinged"), tracking=tracking)


async def test_a_wait_that_is_planned_again_and_skipped_takes_its_registration_back(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The reminder of an appointment that was moved into the past will not come, so what waited for its slot goes."""
    folder = dated(tmp_path)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada", due_at=(datetime.now(UTC) + timedelta(days=3)).isoformat())
        await sojourn.track("ada", "signed_up")
        await sojourn.until(lambda: sojourn.query("select 1 from planned"))
        await sojourn.track("ada", "pinged")
        await sojourn.message_is("deferred")
        await sojourn.identify("ada", due_at="2020-01-01T10:00:00Z")
        await sojourn.message_is("sent")
        await sojourn.waiting_in("afterwards")
        assert ["now"] == [m.step for m in sojourn.email.to(ada)]


async def test_a_date_at_the_end_of_the_calendar_stops_nobody(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Who waits for the year 9999 waits; the same customer's other messages go, and nothing is parked."""
    folder = dated(tmp_path)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada", due_at="9999-12-31T23:00:00Z")
        await sojourn.track("ada", "signed_up")
        await sojourn.until(lambda: sojourn.query("select 1 from enrollments where wake_at is not null"))
        await sojourn.track("ada", "pinged")
        await sojourn.message_is("sent")
        assert ["now"] == [m.step for m in sojourn.email.to(ada)]


async def test_a_fallback_keeps_its_place(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Nobody can text the customer, so the lifecycle message falls back to e-mail; the promotion, which might have been quicker,
    waits for it."""
    first = letter("first", channel="sms", more="fallback: [email]")
    folder = project(tmp_path, WEEKLY, first, letter("now", "promotional"))
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("sent")
        await sojourn.message_is("deferred")
        assert ["first"] == [m.step for m in sojourn.email.to(ada)]


async def test_what_falls_back_stays_registered_under_the_channels_that_are_left(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Also while nobody serves the next channel: it is to come, and waits for no turn of its own."""
    folder = project(tmp_path, WEEKLY, letter("first", channel="sms", more="fallback: [email]"))
    async with running(folder, database_url, temporal_address, task_queue_prefix, served=["sms"]) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("dropped")
        await sojourn.until(lambda: sojourn.query("select 1 from planned where jsonb_array_length(channels) = 1"))
        assert [(["email"], False)] == [tuple(r) for r in await sojourn.query("select channels, waiting from planned")]


async def test_a_sent_message_leaves_nothing_registered_while_its_journey_goes_on(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Also for a member of the global holdout, whose message was dropped."""
    going = letter("going", after="{wait_for: confirmed, timeout: 30d}")
    holdout = "holdout: {name: global, share: 50%, tiers: [lifecycle]}\n"
    folder = project(tmp_path, WEEKLY + holdout, going)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        people = [f"p{n}" for n in range(12)]
        await sojourn.accept([sojourn.known(p) for p in people])
        await sojourn.accept([sojourn.event(p, "signed_up") for p in people])
        await sojourn.waiting_in("wait_for.confirmed", 12)
        statuses = await sojourn.statuses()
        assert {"sent", "dropped"} == set(statuses)
        assert [] == await sojourn.query("select 1 from planned")


async def test_a_message_that_a_hold_stops_takes_nobodys_slot(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The provider asks for patience, then a hold comes: the slot that it had is free, one at the hold's end is set aside for it,
    and that is free too when the consent goes."""
    hold = "holds: [{from: complaint_filed, until: complaint_resolved, pause: [lifecycle], at_most: 30d}]\n"
    now = letter("now", "promotional", event="pinged")
    folder = project(tmp_path, WEEKLY + hold, letter("first", topic="offers"), now)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        sojourn.email.answer = lambda m: Receipt(Result.LATER if m.step == "first" else Result.ACCEPTED, retry_after=3.0)
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("reserved")
        await sojourn.track("ada", "complaint_filed")
        await sojourn.message_is("deferred")
        (kept,) = await sojourn.messages()
        assert kept.slot_at is None
        assert [(1,)] == await sojourn.query("select count(*) from planned")
        await sojourn.track("ada", "pinged")
        await sojourn.message_is("sent")
        assert "now" == sojourn.email.to(ada)[-1].step
        await sojourn.track("ada", "consent_changed", channel="email", topic="offers", state="withdrawn")
        await sojourn.track("ada", "complaint_resolved")
        await sojourn.message_is("dropped")
        assert [] == await sojourn.query("select 1 from planned")


ROUNDS = """
journey: rounds
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - id: rounds
    repeat:
      times: 3
      every: 2d
      steps:
        - send: email
          id: round
          template: hello
          topic: news
"""


async def test_the_later_rounds_of_a_repeat_set_their_slots_aside_too(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """In real time, under one message in three days: the promotion after the first round lets the second go before it."""
    folder = project(tmp_path, WEEKLY.replace("7d", "3d"), ROUNDS, letter("now", "promotional", event="pinged"))
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("sent")
        await sojourn.until(lambda: sojourn.query("select 1 from planned"))
        await sojourn.track("ada", "pinged")
        await sojourn.message_is("deferred")
        first, waits = await sojourn.messages()
        assert timedelta(days=6) <= waits.until - first.sent_at < timedelta(days=6, minutes=1)
