"""Two customers become one while journeys run: what was under way goes on, once, under everything that holds for who is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.incoming import Incoming
from engine.delivery.channel import Outgoing, Receipt, Result
from tests.asking import ask, drawn
from tests.harness import Running, running
from tests.letters import letter, project

ASK = letter("asking", before="{wait_for: confirmed, timeout: 30d, id: confirming}", event="pinged", expires="")
WEEKLY = "caps: [{name: weekly, limit: 1, per: 7d}]\n"


async def merge(run: Running, kept: int, gone: int) -> int:
    """As an operator does; the merge's number."""
    return (await run.worker.core.intake.merge(kept, gone, "test")).id


async def test_an_enrollment_that_waits_goes_on_with_who_is_left(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A visitor waits for something; the known customer does it: one letter, to the known customer's address."""
    folder = project(tmp_path, "", ASK)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        visit = Incoming("track", "test", "v1", "pinged", identifiers={"anonymous_id": "x1"})
        visitor = (await run.accept([visit]))[0].customer
        await run.waiting_in("confirming")
        ada = await run.identify("ada")
        both = Incoming("identify", "test", "v2", identifiers={"user_id": "ada", "anonymous_id": "x1"})
        assert ada == (await run.accept([both]))[0].customer
        await run.track("ada", "confirmed")
        await run.settled()
        assert ([], ["ada@example.com"]) == ([m.to for m in run.email.to(visitor)], [m.to for m in run.email.to(ada)])
        lanes = await run.query("select distinct lane from inputs")
        assert [visitor % 64] == [r.lane for r in lanes]
        told = await ask(run, visitor)
        assert (ada, ["asking"]) == (told.customer, [p.journey for p in told.passages])
        assert [("identify", visitor, (("anonymous_id", "x1"),))] == [(m.cause, m.gone, m.names) for m in told.merges]
        assert "Merged with customer" in drawn(told)


async def test_what_either_got_counts_for_both(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """One a week each, one a week together: the second waits for the week to pass, and after an undo it goes."""
    folder = project(tmp_path, WEEKLY, letter("first"), letter("second", event="pinged"))
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        ada, bob = await run.identify("ada"), await run.identify("bob")
        await run.track("ada", "signed_up")
        await run.message_is("sent")
        number = await merge(run, bob, ada)
        await run.track("ada", "pinged")
        await run.message_is("deferred")
        (waits,) = [m for m in await run.messages() if m.status == "deferred"]
        assert (bob, "cap") == (waits.customer_id, waits.reason)
        await run.worker.core.intake.unmerge(number, "test")
        await run.settled()
        assert [ada, bob] == sorted(m.customer_id for m in await run.messages() if m.status == "sent")


async def test_a_withdrawal_of_either_stops_what_waits(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Ada's letter waits behind a hold; Bob took his consent back: merged, the letter is dropped, at once."""
    hold = "holds: [{from: complaint_filed, until: complaint_resolved, key: ticket_id, pause: [lifecycle], at_most: 30d}]\n"
    folder = project(tmp_path, hold, letter("first"))
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        ada, bob = await run.identify("ada"), await run.identify("bob")
        await run.track("bob", "consent_changed", channel="email", state="withdrawn")
        await run.track("ada", "consent_changed", channel="email", state="granted")
        await run.track("ada", "complaint_filed", ticket_id="t")
        await run.track("ada", "signed_up")
        await run.message_is("deferred")
        await merge(run, ada, bob)
        await run.message_is("dropped")
        assert "consent" == (await run.messages())[0].reason


async def test_doubles_end_and_tell_their_cohort(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Both wait in the same journey: the older goes on and gets the event, the other has left, and one letter goes out."""
    folder = project(tmp_path, "", ASK)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        ada, bob = await run.identify("ada"), await run.identify("bob")
        older = (await run.track("bob", "pinged")).enrollments
        await run.track("ada", "pinged")
        await run.waiting_in("confirming", 2)
        await merge(run, ada, bob)
        await run.track("bob", "confirmed")
        await run.settled()
        await run.relayed()
        assert [("asking", "ended", "completed"), ("asking", "ended", "merged")] == sorted(await run.ends())
        assert [older[0]] == [m.enrollment_id for m in await run.messages()]
        told = drawn(await ask(run, bob))
        assert "who was in this journey earlier already" in told
        assert "by an operator" in told


@pytest.mark.parametrize("receipt", [Receipt(Result.REFUSED, suppress="hard_bounce"), Receipt(Result.ACCEPTED)])
async def test_a_merge_while_a_message_is_with_the_provider(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, receipt: Receipt
) -> None:
    """What the provider says of the address is known of who is left."""
    folder = project(tmp_path, "", letter("first"))
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        ada, bob = await run.identify("ada"), await run.identify("bob")
        send = run.email.send

        async def merging(message: Outgoing) -> Receipt:
            await merge(run, ada, bob)
            return await send(message)

        run.email.answer = lambda m: receipt
        run.email.send = merging  # type: ignore[method-assign]  # once
        await run.track("bob", "signed_up")
        await run.settled()
        found = await run.query("select customer_id, address from suppressions")
        wanted = [(ada, "bob@example.com")] if receipt.suppress else []
        assert wanted == [tuple(r) for r in found]
        assert [ada] == [m.customer_id for m in await run.messages()]


async def test_what_a_merge_ended_goes_on_after_an_undo(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Both wait, one is ended as a double; taken apart, each gets their own event and their own letter, and both are done."""
    folder = project(tmp_path, "", ASK)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        ada, bob = await run.identify("ada"), await run.identify("bob")
        await run.track("bob", "pinged")
        await run.track("ada", "pinged")
        await run.waiting_in("confirming", 2)
        number = await merge(run, bob, ada)
        await run.relayed()
        done = await run.worker.core.intake.unmerge(number, "test")
        assert ["asking"] == [journey for _, journey in done.revived]
        await run.relayed()
        for user in ("ada", "bob"):
            await run.track(user, "confirmed")
        await run.settled()
        assert [("asking", "ended", "completed")] * 2 == await run.ends()
        assert ["ada@example.com", "bob@example.com"] == sorted(m.to for m in run.email.seen)
        assert [ada, bob] == sorted(m.customer_id for m in await run.messages())
