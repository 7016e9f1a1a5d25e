"""Tags, gaps, limits for segments and limits that customers choose, on the real engine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from engine.insight.why import why
from engine.store.database import transaction
from tests.harness import TRACKING, Running, running
from tests.letters import letter, project


async def said(engine: Running, step: str) -> tuple[str, str]:
    """The last decision about the message of `step`, and what its cap said."""
    found = await engine.query(
        "select d.decision, d.gates from decisions d join messages m on m.key = d.key where m.step = :step order by d.id",
        step=step,
    )
    return found[-1].decision, found[-1].gates[10][3]


async def is_sent(engine: Running, *steps: str) -> None:
    """Wait until the messages of these steps are sent."""

    async def all_of_them() -> bool:
        sent = await engine.query("select step from messages where status = 'sent'")
        return set(steps) <= {r.step for r in sent}

    await engine.until(all_of_them)


DISCOUNTS = "tags: [discount, survey]\ncaps: [{name: discounts, tags: [discount], limit: 1, per: 30d}]\n"


async def test_a_cap_on_a_tag_counts_what_carried_it_when_it_was_sent(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """In real time: the send's tag stands beside the journey's; taken off the journey afterwards, it still counts, and one
    without the tag goes at once. Those that wait stand in one queue. `why` tells the cap and the tags."""
    first = letter("first", head="tags: [survey]", more="tags: [discount]")
    second, plain = (
        letter("second", event="pinged", head="tags: [discount]"),
        letter("plain", event="pinged", head="tags: [survey]"),
    )
    low = letter("low", "promotional", event="confirmed", head="tags: [discount]")
    folder = project(tmp_path, DISCOUNTS, first, second, plain, low)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as engine:
        ada = await engine.identify("ada")
        await engine.track("ada", "signed_up")
        await is_sent(engine, "first")
        project(folder, DISCOUNTS, letter("first"))
        await engine.deploy()
        await engine.track("ada", "pinged")
        await is_sent(engine, "plain")
        await engine.message_is("deferred")
        assert ("defer", True) == ((told := await said(engine, "second"))[0], "discounts: 1 of 1 used within 30d;" in told[1])
        assert ("allow", "No cap applies to this message.") == await said(engine, "plain")
        await engine.track("ada", "confirmed")
        await engine.message_is("deferred", 2)
        until = {r.step: r.until for r in await engine.query("select step, until from messages where status = 'deferred'")}
        assert until["second"] + timedelta(days=30) == until["low"]
        async with transaction(engine.worker.core.database) as c:
            passages = (await why(c, ada, "first")).passages
        assert [("survey", "discount")] == [m.message.tags for p in passages for m in p.moments if m.message is not None]


async def test_a_slot_is_set_aside_for_what_will_carry_the_tag(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """In real time: a promotion with the tag waits for a lifecycle message with it that is due in two days, one without goes."""
    late = letter("late", before="wait: 2d", more="tags: [discount]")
    tagged, plain = (
        letter("tagged", "promotional", head="tags: [discount]"),
        letter("plain", "promotional", head="tags: [survey]"),
    )
    folder = project(tmp_path, DISCOUNTS, late, tagged, plain)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as engine:
        await engine.identify("ada")
        await engine.track("ada", "signed_up")
        await is_sent(engine, "plain")
        await engine.message_is("deferred")
        assert "1 of 1 used within 30d, 1 of them set aside" in (await said(engine, "tagged"))[1]


async def test_of_two_in_one_batch_a_cap_on_their_tag_lets_one_go(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """In real time: both orders of one customer come to the same send at once."""
    orders = letter("orders", head="tags: [discount]").replace("again: always", "key: order_id")
    async with running(project(tmp_path, DISCOUNTS, orders), database_url, temporal_address, task_queue_prefix) as engine:
        await engine.identify("ada")
        await engine.pause()
        await engine.accept([engine.event("ada", "signed_up", order_id=number) for number in ("A1", "A2")])
        engine.resume()
        await engine.message_is("deferred")
        await engine.message_is("sent")
        assert {"sent": 1, "deferred": 1} == await engine.statuses()


async def test_a_gap_keeps_two_messages_apart_and_is_kept_free_for_a_higher_tier(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """In real time: the second message is told four hours after the first, and the promotion four hours after a lifecycle
    message that is due in eight."""
    gap = "gaps: [{name: breather, gap: 4h, tiers: [lifecycle, promotional]}]\n"
    second, late = letter("second", event="pinged"), letter("late", event="confirmed", before="wait: 8h")
    folder = project(tmp_path, gap, letter("first"), second, late, letter("low", "promotional", event="confirmed"))
    async with running(folder, database_url, temporal_address, task_queue_prefix) as engine:
        await engine.identify("ada")
        await engine.track("ada", "signed_up")
        await engine.message_is("sent")
        await engine.track("ada", "pinged")
        await engine.message_is("deferred")
        (sent,) = await engine.query("select slot_at from messages where status = 'sent'")
        (waits,) = await engine.query("select until from messages where status = 'deferred'")
        assert sent.slot_at + timedelta(hours=4) == waits.until
        assert "breather: 4h between two messages, another one is nearer; room from" in (await said(engine, "second"))[1]
        await engine.track("ada", "confirmed")
        await engine.message_is("deferred", 2)
        (due,) = await engine.query("select due from planned where not waiting")
        (low,) = await engine.query("select until from messages where step = 'low'")
        assert due.due + timedelta(hours=4) == low.until


async def test_a_gap_passes(tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str) -> None:
    """With time running fast: three at once go four hours apart, at least, and all of them go."""
    gap = "gaps: [{name: breather, gap: 4h}]\n"
    folder = project(tmp_path, gap, letter("a"), letter("b"), letter("c"))
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=14_400) as engine:
        await engine.identify("ada")
        await engine.track("ada", "signed_up")
        await is_sent(engine, "a", "b", "c")
        one, two, three = await engine.query("select slot_at from messages order by slot_at")
        assert min(two.slot_at - one.slot_at, three.slot_at - two.slot_at) >= timedelta(hours=4)


OWN = "caps: [{name: weekly, limit: 2, per: 7d, own_limit: customer.messages_a_week}]\n"
WISHES = TRACKING.replace("country: string", "country: string, messages_a_week: integer")


async def test_a_customer_may_lower_their_limit_and_raise_it_again_up_to_policys(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """In real time: the second message waits under a limit of one, and goes as soon as the customer wants five; the third waits
    under policy's two."""
    second, third = letter("second", event="pinged"), letter("third", event="confirmed")
    folder = project(tmp_path, OWN, letter("first"), second, third, tracking=WISHES)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as engine:
        await engine.identify("ada", messages_a_week=1)
        await engine.track("ada", "signed_up")
        await engine.message_is("sent")
        await engine.track("ada", "pinged")
        await engine.message_is("deferred")
        words = "weekly: 1 of 1 used within 7d (the customer's own limit; policy's limit is 2); room from"
        assert words in (await said(engine, "second"))[1]
        await engine.identify("ada", messages_a_week=5)
        await engine.message_is("sent", 2)
        await engine.track("ada", "confirmed")
        await engine.message_is("deferred")
        words = "weekly: 2 of 2 used within 7d (policy's limit: the customer's own is higher); room from"
        assert words in (await said(engine, "third"))[1]


async def test_a_limit_that_is_no_number_is_left_aside_and_a_text_that_says_one_counts(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Both came in before the attribute was declared as a number: the one gets policy's two, which `why` explains, the other
    none at all."""
    folder = project(tmp_path, "", letter("first"), letter("second"))
    async with running(folder, database_url, temporal_address, task_queue_prefix) as engine:
        ada, eve = await engine.identify("ada", messages_a_week="often"), await engine.identify("eve", messages_a_week="0")
        project(folder, OWN, tracking=WISHES)
        await engine.deploy()
        await engine.accept([engine.event("ada", "signed_up"), engine.event("eve", "signed_up")])
        await engine.settled()
        assert (2, 0) == (len(engine.email.to(ada)), len(engine.email.to(eve)))
        told = await engine.query("select customer_id, decision, reason, gates from decisions order by id")
        words = "of 2 used within 7d (policy's limit: the customer's own is no number of messages)."
        assert {True} == {words in d.gates[10][3] for d in told if d.customer_id == ada}
        dropped = [(d.decision, d.reason) for d in told if d.customer_id == eve]
        assert [("drop", "cap")] * 2 == dropped


SEGMENTS = "segments:\n  active: {did: confirmed}\n  quiet: {not: {segment: active}}\n"
LIMITS = """
caps:
  - {name: weekly, limit: 1, per: 7d, limits: [{segment: active, limit: 2}]}
  - {name: newcomers, limit: 1, per: 30d, segments: [quiet]}
"""


async def test_members_of_a_segment_have_another_limit_from_the_event_on_that_makes_them_one(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """In real time: the second message waits, for the limit and as a newcomer's; an event that no journey looks at lets it go
    at once, and the third waits under the segment's limit."""
    rest = (letter(name, event="pinged") for name in ("second", "third"))
    folder = project(tmp_path, LIMITS, letter("first"), *rest, segments=SEGMENTS)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as engine:
        await engine.identify("ada")
        await engine.track("ada", "signed_up")
        await engine.message_is("sent")
        await engine.track("ada", "pinged")
        await engine.message_is("deferred", 2)
        higher, lower = await engine.query("select step from messages where status = 'deferred' order by enrollment_id")
        assert "newcomers: 1 of 1 used within 30d" in (await said(engine, higher.step))[1]
        await engine.track("ada", "confirmed")
        await is_sent(engine, higher.step)
        words = "weekly: 1 of 2 used within 7d (the limit for active); newcomers: only for quiet."
        assert words == (await said(engine, higher.step))[1]
        assert {"sent": 2, "deferred": 1} == await engine.statuses()
        assert "deferred" == (await engine.query("select status from messages where step = :step", step=lower.step))[0].status
