"""Caps, quiet hours and what `on_defer` does about them, on the real engine; and the messages that may not go at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from engine.core.wire import share
from engine.delivery.channel import Outgoing, Receipt, Result
from tests.harness import POLICY, running, write_project

DAYS = 43_200.0
"""A day in two seconds."""

TWO = """
journey: two
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - send: email
    id: first
    template: hello
    topic: news
  - send: email
    id: second
    template: again
    topic: news
"""

ONE = """
journey: one
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - send: email
    id: only
    template: hello
    topic: news
"""

A_DAY = "caps: [{name: daily, limit: 1, per: day}]\n"


NIGHT = 'quiet_hours: [{from: "21:00", to: "08:00", channels: [email]}]\n'


def where_it_is(hour: int, now: datetime) -> str:
    """A time zone in which the hour of the day is `hour` at `now`."""
    ahead = (hour - now.astimezone(UTC).hour + 12) % 24 - 12
    return f"Etc/GMT{-ahead:+d}"


async def test_a_cap_of_one_a_day_defers_to_the_next_days_planned_time(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The second message goes on the next day at its planned local time of day, not at midnight."""
    folder = write_project(tmp_path, {"journeys/two.yaml": TWO, "journeys/policy.yaml": POLICY + A_DAY})
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=DAYS) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        assert ["first", "second"] == [m.step for m in sojourn.email.to(ada)]
        first, second = await sojourn.messages()
        waited = next(d for d in await sojourn.decisions() if d.decision == "defer")
        assert "daily" == waited.rule
        assert second.planned_at + timedelta(days=1) == waited.until
        assert second.sent_at >= waited.until
        assert (first.sent_at + timedelta(days=1)).date() == second.sent_at.date()


@pytest.mark.parametrize(("on_defer", "end"), [("skip", "completed"), ("exit", "deferred")])
async def test_on_defer_skips_or_leaves(
    on_defer: str, end: str, tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """With `on_defer: skip` a capped message is dropped and the journey goes on; with `exit` it ends there."""
    journey = TWO.rstrip() + f"\n    on_defer: {on_defer}\n"
    folder = write_project(tmp_path, {"journeys/two.yaml": journey, "journeys/policy.yaml": POLICY + A_DAY})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        assert [("sent", ""), ("dropped", "cap")] == [(m.status, m.reason) for m in await sojourn.messages()]
        assert [("two", "ended", end)] == await sojourn.ends()


async def test_quiet_hours_over_midnight_defer_to_their_end(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Late in a customer's evening a message waits until the quiet hours end, at eight the next morning there."""
    folder = write_project(tmp_path, {"journeys/one.yaml": ONE, "journeys/policy.yaml": POLICY + NIGHT})
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=3_600) as sojourn:
        zone = where_it_is(22, (await sojourn.query("select sojourn_now() as now"))[0].now)
        await sojourn.identify("ada", timezone=zone)
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        waited, went = await sojourn.decisions()
        assert ("defer", "quiet_hours", "allow") == (waited.decision, waited.reason, went.decision)
        assert time(8, 0) == waited.until.astimezone(ZoneInfo(zone)).time()
        assert timedelta(0) < waited.until - waited.at < timedelta(hours=11)
        assert went.at >= waited.until


async def test_a_message_that_would_expire_in_quiet_hours_is_dropped(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A message that isn't worth sending at the end of the quiet hours is dropped, naming them."""
    journey = ONE.rstrip() + "\n    expires: 2h\n"
    folder = write_project(tmp_path, {"journeys/one.yaml": journey, "journeys/policy.yaml": POLICY + NIGHT})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada", timezone=where_it_is(22, datetime.now(UTC)))
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        (message,) = await sojourn.messages()
        assert ("dropped", "expired") == (message.status, message.reason)
        assert "Quiet hours" in message.detail
        assert [] == sojourn.email.to(ada)


async def test_who_has_no_address_is_reached_on_the_fallback(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Without an e-mail address the text message goes instead, as another attempt of the same step."""
    journey = ONE.rstrip() + "\n    fallback: [sms]\n"
    folder = write_project(tmp_path, {"journeys/one.yaml": journey})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada", email=None, phone="+390001")
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        assert [] == sojourn.email.to(ada)
        assert ["+390001"] == [m.to for m in sojourn.sms.to(ada)]
        found = [(m.channel, m.status, m.reason) for m in await sojourn.messages()]
        assert [("email", "dropped", "reachable"), ("sms", "sent", "")] == found


async def test_a_withdrawn_consent_is_no_reason_to_fall_back(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Who withdrew consent to e-mail isn't sent a text instead."""
    journey = ONE.rstrip() + "\n    fallback: [sms]\n"
    folder = write_project(tmp_path, {"journeys/one.yaml": journey})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada", phone="+390001")
        await sojourn.track("ada", "unsubscribed", channel="email")
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        assert [("email", "dropped", "consent")] == [(m.channel, m.status, m.reason) for m in await sojourn.messages()]
        assert [] == sojourn.sms.to(ada)


async def test_a_consent_withdrawn_between_decision_and_retry_stops_the_retry(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The gates run again before every handover: a message that the provider put off is dropped and its slot given back."""
    folder = write_project(tmp_path, {"journeys/one.yaml": ONE, "journeys/policy.yaml": POLICY + A_DAY})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada")
        sojourn.email.answer = lambda m: Receipt(Result.LATER, retry_after=2.0)
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("reserved")
        assert (await sojourn.messages())[0].slot_at is not None
        await sojourn.track("ada", "unsubscribed", channel="email", topic="news")
        sojourn.email.answer = lambda m: Receipt(Result.ACCEPTED)
        await sojourn.settled()
        (message,) = await sojourn.messages()
        assert ("dropped", "consent", None) == (message.status, message.reason, message.slot_at)
        assert 1 == len(sojourn.email.to(ada))


async def test_a_hard_refusal_suppresses_the_address_for_every_journey(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """After a hard bounce nothing more goes to that address, on no tier; a new address is used again."""
    urgent = TWO.replace("tier: lifecycle", "tier: transactional")
    folder = write_project(tmp_path, {"journeys/two.yaml": urgent})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada")
        sojourn.email.answer = lambda m: Receipt(Result.REFUSED, words="550 no such user", suppress="hard_bounce")
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        found = [(m.status, m.reason, m.slot_at) for m in await sojourn.messages()]
        assert [("refused", "hard_bounce", None), ("dropped", "suppression", None)] == found
        assert 1 == len(sojourn.email.to(ada))


async def test_a_suppressed_address_falls_back(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A refusal that suppresses the address goes on with the next channel at once."""
    journey = ONE.rstrip() + "\n    fallback: [sms]\n"
    folder = write_project(tmp_path, {"journeys/one.yaml": journey})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada", phone="+390001")
        sojourn.email.answer = lambda m: Receipt(Result.REFUSED, suppress="hard_bounce")
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        assert ["refused", "sent"] == [m.status for m in await sojourn.messages()]
        assert 1 == len(sojourn.sms.to(ada))


async def test_a_holdout_gets_no_messages_and_no_tasks(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Who is held out of a journey passes through it, counted, without a message or a task; the others get both."""
    journey = ONE.replace("tier: lifecycle", "tier: lifecycle\nholdout: 50%") + '  - task: service\n    title: "Look"\n'
    folder = write_project(tmp_path, {"journeys/one.yaml": journey})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        people = [await sojourn.identify(f"user{i}") for i in range(12)]
        for i in range(12):
            await sojourn.track(f"user{i}", "signed_up")
        await sojourn.settled()
        held = {p for p in people if share("journey/one", str(p)) < 0.5}
        assert 0 < len(held) < 12
        tasks = {r.customer_id for r in await sojourn.query("select customer_id from tasks")}
        assert set(people) - held == tasks
        assert set(people) - held == {int(m.customer) for m in sojourn.email.seen}
        dropped = await sojourn.query("select customer_id, reason from messages where status = 'dropped'")
        assert {(p, "holdout") for p in held} == {(r.customer_id, r.reason) for r in dropped}


async def test_a_global_holdout_keeps_back_the_tiers_that_it_names(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Policy's own holdout drops a tier that it names and lets the others pass."""
    holdout = "holdout: {name: everyone, share: 100%, tiers: [promotional]}\n"
    promotion = TWO.replace("id: second", "id: second\n    tier: promotional")
    folder = write_project(tmp_path, {"journeys/two.yaml": promotion, "journeys/policy.yaml": POLICY + holdout})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        found = [(m.step, m.status, m.reason) for m in await sojourn.messages()]
        assert [("first", "sent", ""), ("second", "dropped", "holdout")] == found


async def test_a_slot_reserved_for_a_retry_is_given_back_when_quiet_hours_defer_it(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A message that holds its slot and is deferred by another gate waits for one at their end."""
    folder = write_project(tmp_path, {"journeys/one.yaml": ONE, "journeys/policy.yaml": POLICY + A_DAY})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada", timezone=where_it_is(22, datetime.now(UTC)))
        sojourn.email.answer = lambda m: Receipt(Result.LATER, retry_after=2.0)
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("reserved")
        write_project(tmp_path, {"journeys/one.yaml": ONE, "journeys/policy.yaml": POLICY + A_DAY + NIGHT})
        await sojourn.deploy()
        await sojourn.message_is("deferred")
        (message,) = await sojourn.messages()
        assert ("quiet_hours", None) == (message.reason, message.slot_at)
        assert [(1,)] == await sojourn.query("select count(*) from planned")


async def test_a_message_to_an_ended_enrollment_is_never_handed_over(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """After an exit is accepted, a message that the provider had put off does not leave any more."""
    journey = ONE.replace("enter:", "exit: [{event: cancelled}]\nenter:")
    folder = write_project(tmp_path, {"journeys/one.yaml": journey})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada")
        sojourn.email.answer = lambda m: Receipt(Result.LATER, retry_after=1.0)
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("reserved")
        await sojourn.track("ada", "cancelled")
        tried = len(sojourn.email.to(ada))
        await sojourn.relayed()
        assert [("dropped", "live")] == [(m.status, m.reason) for m in await sojourn.messages()]
        assert tried == len(sojourn.email.to(ada))
        assert [("one", "ended", "cancelled")] == await sojourn.ends()


async def test_a_cap_on_one_channel_counts_that_channel_only(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Texts use up the cap on texts; e-mails don't."""
    texts = TWO.replace("send: email\n    id: second\n    template: again", "send: sms\n    id: second\n    template: hello")
    cap = "caps: [{name: mails, channel: email, limit: 1, per: 7d}]\n"
    folder = write_project(tmp_path, {"journeys/two.yaml": texts, "journeys/policy.yaml": POLICY + cap})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada", phone="+390001")
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        assert (1, 1) == (len(sojourn.email.to(ada)), len(sojourn.sms.to(ada)))


def accepted(message: Outgoing) -> Receipt:
    """The provider takes it."""
    return Receipt(Result.ACCEPTED)


async def test_a_released_slot_lets_the_next_one_in(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A permanent refusal gives its slot back: the next message of the same day goes at once."""
    folder = write_project(tmp_path, {"journeys/two.yaml": TWO, "journeys/policy.yaml": POLICY + A_DAY})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        sojourn.email.capabilities = replace(sojourn.email.capabilities, concurrency=1)
        sojourn.email.answer = lambda m: Receipt(Result.REFUSED) if m.step == "first" else accepted(m)
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        assert [("refused", True), ("sent", False)] == [(m.status, m.slot_at is None) for m in await sojourn.messages()]
