"""`wait_for_delivery` with `fallback` on the real engine: push, then a text, then an e-mail, and one message to caps."""

from __future__ import annotations

from pathlib import Path

from engine.core.enrollment import Command
from engine.delivery.channel import Outgoing, Receipt, Result
from engine.store.database import transaction
from tests.harness import POLICY, Running, running, write_project

REACH = """
journey: reach
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - send: push
    id: hi
    template: hello
    topic: news
    fallback: [sms, email]
    wait_for_delivery: PATIENCE
  - send: email
    id: second
    template: again
    topic: news
    on_defer: skip
"""

ASKED = POLICY.replace("  sms: {default: granted}", "  sms: {default: none}\n  push: {default: granted}")
CAPS = """
caps:
  - {name: daily, tiers: [lifecycle], limit: 1, per: day}
  - {name: texts, channel: sms, limit: 1, per: 30d}
"""
PUSH = {"push": ""}


def project(folder: Path, patience: str, more: str = "") -> Path:
    """A project with the journey. A delivery is awaited for `patience`."""
    files = {"journeys/reach.yaml": REACH.replace("PATIENCE", patience), "journeys/policy.yaml": ASKED + CAPS + more}
    return write_project(folder, {**files, "templates/push/hello.txt": "Hi"})


async def tell(sojourn: Running, user: str, event: str, message: Outgoing, channel: str = "push") -> None:
    """The provider says what became of a message."""
    await sojourn.track(user, event, message=message.key, step="hi", journey="reach", channel=channel)


async def went(sojourn: Running, customer: int) -> list[tuple[str, str, str]]:
    """(channel, status, reason) of what became of the send, in order."""
    found = await sojourn.query(
        "select channel, status, reason from messages where customer_id = :id and step = 'hi' order by attempt", id=customer
    )
    return [(r.channel, r.status, r.reason) for r in found]


async def test_each_goes_as_far_as_it_takes_and_is_one_message_to_caps(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Delivered: nothing more. Not delivered, bounced or refused: the text. Without a phone, or without having agreed to texts:
    the e-mail at once. Who said no to texts gets nothing more. Caps count each person once, and texts as texts."""
    folder = project(tmp_path, "4s")
    async with running(folder, database_url, temporal_address, task_queue_prefix, others=PUSH) as sojourn:
        push = sojourn.others["push"]
        people = {u: await sojourn.identify(u, phone=f"+39{i}") for i, u in enumerate(("ada", "bob", "eve", "fay", "gus", "kim"))}
        people |= {"cal": await sojourn.identify("cal"), "dee": await sojourn.identify("dee", phone="+399")}
        for user in ("ada", "bob", "eve", "fay", "gus", "kim", "cal"):
            await sojourn.track(user, "consent_changed", channel="sms", state="granted")
        await sojourn.track("eve", "unsubscribed", channel="sms")
        push.answer = lambda m: Receipt(Result.REFUSED if m.customer == str(people["gus"]) else Result.ACCEPTED)
        await sojourn.accept([sojourn.event(user, "signed_up") for user in people])
        await sojourn.until(lambda: len(push.seen) == len(people))
        first = {user: push.to(customer)[0] for user, customer in people.items()}
        await tell(sojourn, "ada", "message_delivered", first["ada"])
        await tell(sojourn, "ada", "message_bounced", first["bob"])  # about nothing of hers
        await tell(sojourn, "fay", "message_bounced", first["fay"])
        await sojourn.until(lambda: len(sojourn.sms.seen) == 2, 4)
        assert {"fay", "gus"} == {u for u, i in people.items() if sojourn.sms.to(i)}, "at once"
        for user in ("fay", "gus"):
            await tell(sojourn, user, "message_delivered", sojourn.sms.to(people[user])[0], "sms")
        await sojourn.until(lambda: len(sojourn.sms.seen) == 4)
        await tell(sojourn, "bob", "message_delivered", sojourn.sms.to(people["bob"])[0], "sms")
        await tell(sojourn, "kim", "message_delivered", first["kim"])  # the first one, after all
        await sojourn.settled()
        sent = ("push", "sent", "")
        assert {
            "ada": [sent],
            "bob": [sent, ("sms", "sent", "")],
            "kim": [sent, ("sms", "sent", "")],
            "fay": [sent, ("sms", "sent", "")],
            "gus": [("push", "refused", "refused"), ("sms", "sent", "")],
            "eve": [sent, ("sms", "dropped", "consent")],
            "cal": [sent, ("sms", "dropped", "reachable"), ("email", "sent", "")],
            "dee": [sent, ("sms", "dropped", "consent"), ("email", "sent", "")],
        } == {user: await went(sojourn, customer) for user, customer in people.items()}
        second = await sojourn.query("select status, detail from messages where step = 'second'")
        assert {"dropped"} == {r.status for r in second}
        assert all("daily: 1 of 1 used" in r.detail for r in second), "one message to the cap, whichever way it went"
        charged = await sojourn.query("select customer_id, charged from messages where channel = 'sms' and status = 'sent'")
        assert {"bob": ["push"], "kim": ["push"], "fay": ["push"], "gus": []} == {
            user: r.charged for r in charged for user, customer in people.items() if customer == r.customer_id
        }
        (why,) = await sojourn.query("select gates from decisions where key = :key", key=sojourn.sms.to(people["bob"])[0].key)
        told = next(detail for gate, _, _, detail, _ in why.gates if gate == "cap")
        assert "daily: counted on push already; texts: 0 of 1 used" in told


async def test_neither_a_worker_that_died_nor_one_that_was_away_sends_twice(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A delivery that is told while no worker runs counts, though the time is over when one runs again. A text that was handed
    over by a worker that died before it could tell is not handed over again, and its delivery is awaited."""
    folder = project(tmp_path, "2s")
    async with running(folder, database_url, temporal_address, task_queue_prefix, others=PUSH) as sojourn:
        push = sojourn.others["push"]
        ada, bob = [await sojourn.identify(u, phone=f"+39{i}") for i, u in enumerate(("ada", "bob"))]
        for user in ("ada", "bob"):
            await sojourn.track(user, "consent_changed", channel="sms", state="granted")
        await sojourn.track("ada", "signed_up")
        (member,) = (await sojourn.track("bob", "signed_up")).enrollments
        await sojourn.waiting_in("hi.delivery", 2)
        await sojourn.pause()
        await tell(sojourn, "ada", "message_delivered", push.to(ada)[0])

        async def over() -> bool:
            return bool(await sojourn.query("select 1 from enrollments having max(wake_at) < sojourn_now()"))

        await sojourn.until(over)
        (row,) = await sojourn.query("select plan, wake_at from enrollments where id = :id", id=member)
        async with transaction(sojourn.worker.core.database) as c:
            plan = await sojourn.worker.core.deployments.plan(c, row.plan)
        delivery = sojourn.worker.workers.activities.delivery
        command = Command("deliver", 0, 0, 1, row.wake_at, channel="sms")
        answers = [await delivery.deliver("sms", plan, [(member, command)]) for _ in range(2)]
        assert answers[0] == answers[1]
        sojourn.resume()
        await sojourn.waiting_in("hi.delivery")
        await tell(sojourn, "bob", "message_delivered", sojourn.sms.to(bob)[0], "sms")
        await sojourn.settled()
        assert ([], 1, 1) == (sojourn.sms.to(ada), len(sojourn.sms.to(bob)), len(push.to(bob)))
        assert [] == [m for m in sojourn.email.seen if m.step == "hi"]
