"""What a provider answers and what becomes of the message: status, slot, retry, parking. Rules: semantics.md, "Sending once"."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from engine.core.enrollment import Command
from engine.delivery.channel import Outgoing, Receipt, Result
from engine.store.database import transaction
from engine.temporal import workflow
from tests.harness import HELLO, POLICY, TRACKING, Sink, running, write_project

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

CAPPED = {"journeys/one.yaml": ONE, "journeys/policy.yaml": POLICY + "caps: [{name: weekly, limit: 3, per: 7d}]\n"}


def once(sink: Sink, first: Receipt | Exception) -> None:
    """`sink` answers `first` to the first message that it sees and takes all others."""
    sink.answer = lambda m: first if len(sink.seen) == 1 else Receipt(Result.ACCEPTED)


async def test_429_with_retry_after_waits_that_long_and_keeps_its_slot(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Refused for now: the same handover is tried again no sooner than the provider asked, under the same key and slot."""
    folder = write_project(tmp_path, CAPPED)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        once(sojourn.email, Receipt(Result.LATER, words="429 slow down", retry_after=2.0))
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("reserved")
        (waiting,) = await sojourn.messages()
        assert waiting.slot_at is not None
        await sojourn.settled()
        (sent,) = await sojourn.messages()
        assert ("sent", 2, waiting.slot_at) == (sent.status, sent.tries, sent.slot_at)
        assert sent.sent_at >= waiting.until
        assert 1 == len({m.key for m in sojourn.email.seen})


async def test_a_retry_after_of_more_than_a_minute_gives_the_slot_back(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A long wait frees the slot: the message is deferred, and decided anew then."""
    folder = write_project(tmp_path, CAPPED)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        once(sojourn.email, Receipt(Result.LATER, retry_after=90.0))
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("deferred")
        (waiting,) = await sojourn.messages()
        assert ("provider", None) == (waiting.reason, waiting.slot_at)
        assert timedelta(seconds=85) < waiting.until - waiting.planned_at


@pytest.mark.parametrize("words", ["500 oops", "ReadTimeout"])
async def test_an_unknown_outcome_is_tried_again_where_the_provider_knows_the_key(
    words: str, tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A 500 or a timeout on an idempotent channel: again under the same key, until the provider answers."""
    folder = write_project(tmp_path, CAPPED)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        once(sojourn.email, Receipt(Result.UNKNOWN, words=words))
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        (sent,) = await sojourn.messages()
        assert ("sent", 2) == (sent.status, sent.tries)
        assert ["1/only/0/0"] * 2 == [m.key for m in sojourn.email.seen]


async def test_an_unknown_outcome_counts_as_sent_where_the_provider_knows_no_key(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """On a channel that may repeat a message, an unknown outcome is never tried again, and its slot stays used."""
    folder = write_project(tmp_path, CAPPED)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        sojourn.email.capabilities = replace(sojourn.email.capabilities, idempotent=False, on_unknown="assume_sent")
        once(sojourn.email, Receipt(Result.UNKNOWN, words="ReadTimeout"))
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        (message,) = await sojourn.messages()
        assert ("unknown", "ReadTimeout") == (message.status, (await sojourn.query("select words from messages"))[0].words)
        assert message.slot_at is not None
        assert 1 == len(sojourn.email.seen)


@pytest.mark.parametrize("event", ["unsubscribed", "cancelled"])
async def test_a_message_that_may_have_arrived_keeps_its_slot_when_it_is_not_tried_again(
    event: str, tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """After a timeout, a withdrawn consent or an exit keeps the message from being tried again: it counts as sent."""
    leaving = {**CAPPED, "journeys/one.yaml": ONE.replace("steps:", "exit: [{event: cancelled}]\nsteps:")}
    folder = write_project(tmp_path, leaving)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        sojourn.email.answer = lambda m: Receipt(Result.UNKNOWN, words="ReadTimeout", retry_after=3.0)
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("reserved")
        (waiting,) = await sojourn.messages()
        await sojourn.track("ada", event, channel="email")
        await sojourn.settled()
        await sojourn.message_is("unknown")
        (message,) = await sojourn.messages()
        assert ("unknown", "unknown", waiting.slot_at) == (message.status, message.reason, message.slot_at)
        assert 1 == len(sojourn.email.seen)


async def test_a_condition_that_fails_for_one_of_three_parks_that_one(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A send's `if` whose result is too large for one customer parks that one; the others get theirs."""
    tracking = TRACKING.replace("country: string", "country: string, level: integer")
    steep = ONE.replace("    topic: news", "    topic: news\n    if: customer.level ** customer.level > 0")
    folder = write_project(tmp_path, {"journeys/one.yaml": steep, "journeys/tracking.yaml": tracking})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        for user, level in (("ada", 2), ("bob", 10**9), ("cyd", 3)):
            await sojourn.identify(user, level=level)
        await sojourn.accept([sojourn.event(u, "signed_up") for u in ("ada", "bob", "cyd")])
        await sojourn.message_is("sent", 2)
        await sojourn.message_is("parked")
        await sojourn.until(lambda: sojourn.query("select 1 from enrollments where status = 'parked'"))


async def test_a_permanent_refusal_releases_the_slot_and_goes_on(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Refused for ever: recorded with the provider's words, the slot is free, the journey goes on, the address stays usable."""
    folder = write_project(tmp_path, CAPPED)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        once(sojourn.email, Receipt(Result.REFUSED, words="422 no"))
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        (message,) = await sojourn.messages()
        assert ("refused", None) == (message.status, message.slot_at)
        assert ["422 no"] == [r.words for r in await sojourn.query("select words from messages")]
        assert [("one", "ended", "completed")] == await sojourn.ends()
        assert [] == list(await sojourn.query("select 1 from suppressions"))


@pytest.mark.parametrize(
    ("suppress", "fallback", "kind"),
    [("hard_bounce", "    fallback: [sms]\n", "fallback"), ("", "    fallback: [sms]\n", "next"), ("hard_bounce", "", "next")],
    ids=["a bounce", "a refusal", "a bounce without another channel"],
)
async def test_a_refusal_leads_the_same_way_when_a_worker_died_before_it_could_tell(
    suppress: str, fallback: str, kind: str, tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The ledger knows the answer, Temporal doesn't, and asks again: also then an address that is refused for good leads to the
    next channel, and a message that is refused goes nowhere else. Nothing is handed over twice."""
    folder = write_project(tmp_path, {**CAPPED, "journeys/one.yaml": ONE + fallback})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.pause()
        ada = await sojourn.identify("ada", phone="+390001")
        sojourn.email.answer = lambda m: Receipt(Result.REFUSED, suppress=suppress)
        (member,) = (await sojourn.track("ada", "signed_up")).enrollments
        (row,) = await sojourn.query("select plan, entered_at from enrollments")
        async with transaction(sojourn.worker.core.database) as c:
            plan = await sojourn.worker.core.deployments.plan(c, row.plan)
        delivery = sojourn.worker.workers.activities.delivery
        command = Command("deliver", 0, 0, 0, row.entered_at, channel="email")
        answers = [await delivery.deliver("email", plan, [(member, command)]) for _ in range(2)]
        assert [kind, kind] == [outcome.kind for answer in answers for _, outcome in answer]
        assert answers[0] == answers[1], "at the same moment: what follows counts from it"
        sojourn.resume()
        await sojourn.settled()
        assert (1, int(kind == "fallback")) == (len(sojourn.email.to(ada)), len(sojourn.sms.to(ada)))
        (refused,) = [m for m in await sojourn.messages() if m.channel == "email"]
        assert ("refused", suppress or "refused", None) == (refused.status, refused.reason, refused.slot_at)


async def test_an_adapter_that_raises_parks_its_message_and_no_other(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A bug in an adapter parks the enrollment with its words; after the mend a retry sends the message."""
    folder = write_project(tmp_path, CAPPED)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        people = [await sojourn.identify(f"user{i}") for i in range(5)]
        unlucky = str(people[2])
        sojourn.email.answer = lambda m: RuntimeError("no such field") if m.customer == unlucky else Receipt(Result.ACCEPTED)
        await sojourn.accept([sojourn.event(f"user{i}", "signed_up") for i in range(5)])
        await sojourn.message_is("sent", 4)
        await sojourn.message_is("parked")
        (message,) = await sojourn.query("select customer_id, reason, detail, slot_at from messages where status = 'parked'")
        assert (people[2], "channel", None) == (message.customer_id, message.reason, message.slot_at)
        assert "RuntimeError: no such field" in message.detail

        async def parked() -> bool:
            return bool(await sojourn.query("select 1 from enrollments where status = 'parked'"))

        await sojourn.until(parked)
        sojourn.email.answer = lambda m: Receipt(Result.ACCEPTED)
        assert 1 == len(await sojourn.unpark())
        await sojourn.settled()
        assert {"sent": 5} == await sojourn.statuses()


async def test_a_template_that_fails_for_one_of_five_hundred_parks_that_one(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The other 499 get theirs; the one is parked with the reason, and after a mended template is deployed a retry sends it."""
    broken = HELLO.replace("Hi {{ customer.first_name }}", "Hi {{ 2 ** (customer.first_name | length) }}")
    folder = write_project(tmp_path, {**CAPPED, "templates/email/hello.txt": broken})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.accept([sojourn.known(f"user{i}", first_name="A" * 9999 if i == 77 else "Ada") for i in range(500)])
        await sojourn.accept([sojourn.event(f"user{i}", "signed_up") for i in range(500)])
        await sojourn.message_is("sent", 499)
        await sojourn.message_is("parked")

        async def parked() -> bool:
            return bool(await sojourn.query("select 1 from enrollments where status = 'parked'"))

        await sojourn.until(parked)
        (one,) = await sojourn.query("select reason, detail, slot_at from messages where status = 'parked'")
        assert ("template", None) == (one.reason, one.slot_at)
        assert "too large" in one.detail
        (member,) = await sojourn.query("select reason, step from enrollments where status = 'parked'")
        assert "only" == member.step
        assert one.detail[:180] == member.reason
        write_project(tmp_path, {**CAPPED, "templates/email/hello.txt": HELLO})
        await sojourn.deploy()
        assert 1 == len(await sojourn.unpark())
        await sojourn.settled()
        assert {"sent": 500} == await sojourn.statuses()
        assert 500 == len({m.key for m in sojourn.email.seen}) == len(sojourn.email.seen)


async def test_a_channel_that_no_worker_serves_parks_with_that_reason(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead channel queue parks its members after a bounded wait, and says which queue nobody serves."""
    monkeypatch.setattr(workflow, "QUEUE_PATIENCE", timedelta(seconds=1))
    folder = write_project(tmp_path, {"journeys/one.yaml": ONE.replace("send: email", "send: sms")})
    async with running(folder, database_url, temporal_address, task_queue_prefix, served=("email",)) as sojourn:
        await sojourn.identify("ada", phone="+390001")
        await sojourn.track("ada", "signed_up")

        async def parked() -> bool:
            return bool(await sojourn.query("select 1 from enrollments where status = 'parked'"))

        await sojourn.until(parked)
        assert [("one", "parked", "no worker serves sms.bulk: start one that has this channel and lane")] == await sojourn.ends()


async def test_a_lane_outlives_a_stuck_one(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """While a provider puts bulk messages off, a message of a tier that skips caps goes at once, on its own lane."""
    urgent = ONE.replace("journey: one", "journey: urgent").replace("lifecycle", "transactional").replace("signed_up", "pinged")
    folder = write_project(tmp_path, {"journeys/one.yaml": ONE, "journeys/urgent.yaml": urgent})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada")
        later = Receipt(Result.LATER, retry_after=30.0)

        def answer(message: Outgoing) -> Receipt:
            return later if message.tier == "lifecycle" else Receipt(Result.ACCEPTED)

        sojourn.email.answer = answer
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("reserved")
        await sojourn.track("ada", "pinged", number=1)
        await sojourn.message_is("sent")
        assert ["urgent"] == [m.journey for m in sojourn.email.to(ada) if m.tier == "transactional"]
