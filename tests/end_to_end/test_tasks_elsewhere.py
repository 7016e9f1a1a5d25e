"""Tasks handed to a program of the company's, over real PostgreSQL, Temporal and HTTP: once, whatever it answers; what people do
there goes on here, and what is over here is closed there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.app.wiring import load_receiver
from engine.delivery.channel import Content, Outgoing
from engine.delivery.tasks import Handed, Handing
from engine.intake import feedback
from engine.settings.project import ReceiverSettings
from engine.store import tasks
from engine.store.database import transaction
from tests.channels import test_zendesk_tasks as theirs
from tests.channels.http_sink import Request, Sink, answer, says, sink
from tests.harness import Running, running, write_project
from tests.intake.test_feedback import START

CARE = """
journey: care
tier: service
enter: {event: complaint_filed, key: ticket_id, again: always}
exit: [{event: complaint_resolved, match: key}]
steps:
  - if: customer.first_name != "Gone"
    task: service
    id: tell
    title: "Call {{ customer.first_name }}"
    body: "About {{ entry.ticket_id }}"
    due: 2d
  - task: sales
    id: note
    title: "Our own list"
  - wait_for: task_completed
    id: done
    where: event.queue == "service"
    timeout: 10d
    then: [{exit: cared_for}]
    else: [{exit: late}]
"""


class Zendesk:
    """The stand-in: a ticket for each new key, the same for one that comes again. `next`: what it says before that, by turns."""

    def __init__(self) -> None:
        self.tickets: dict[str, int] = {}
        self.solved: list[str] = []
        self.next: list[bytes] = []

    def __call__(self, request: Request) -> bytes:
        if request.method == "PUT":
            self.solved.append(request.target.rpartition("/")[2])
            return says(200, {"ticket": {"status": "solved"}})
        number = self.tickets.setdefault(request.headers["idempotency-key"], 100 + len(self.tickets))
        return self.next.pop(0) if self.next else says(201, {"ticket": {"id": number}})


def config(port: int) -> dict[str, Any]:
    return {
        "use": "channels.zendesk_tasks",
        "base_url": f"http://127.0.0.1:{port}",
        "subdomain": "skin",
        "token": theirs.TOKEN,
        "signing_secret": theirs.SECRET,
    }


@asynccontextmanager
async def before(zendesk: Zendesk, folder: Path, url: str, temporal: str, prefix: str) -> AsyncIterator[tuple[Running, Sink]]:
    """A whole Sojourn whose queue `service` is Zendesk's; `sales` is our own list."""
    write_project(folder, {"journeys/care.yaml": CARE})
    async with sink(zendesk) as heard:
        settings = {"service": ReceiverSettings(**config(heard.port)), "sales": ReceiverSettings(use="own")}
        async with running(folder, url, temporal, prefix, tasks=settings) as sojourn:
            yield sojourn, heard


async def test_there_and_back(tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str) -> None:
    """One ticket a task, also where the answer to it was lost or Zendesk was busy; done there, the journey goes on; left here, it
    is solved there; refused, the enrollment waits for a person and goes on after the mend."""
    zendesk = Zendesk()
    async with before(zendesk, tmp_path, database_url, temporal_address, task_queue_prefix) as (sojourn, heard):

        async def rows() -> dict[str, Any]:
            found = await sojourn.query("select t.*, e.key as ticket from tasks t join enrollments e on e.id = t.enrollment_id")
            return {r.ticket: r for r in found if r.queue == "service"}

        async def filed(ticket: str, *answers: bytes) -> None:
            zendesk.next = list(answers)
            await sojourn.identify(ticket)
            await sojourn.track(ticket, "complaint_filed", ticket_id=ticket)

        await filed("calm")
        await sojourn.waiting_in("done", 1)
        await filed("busy", answer(429, b"", "Retry-After: 0"), answer(503, b"", "Retry-After: 0"), answer(502))
        await sojourn.waiting_in("done", 2)
        assert len(zendesk.tickets) == 2
        first = json.loads(Request.read(heard.arrived[0]).body)["ticket"]
        assert (first["subject"], first["comment"]["body"].split("\n")[0]) == ("Call Calm", "About calm")
        at = await rows()
        assert [(at[t].handover, at[t].receiver, at[t].remote_id) for t in ("calm", "busy")] == [
            ("there", "tasks.service", "100"),
            ("there", "tasks.service", "101"),
        ]
        own = await sojourn.query("select distinct receiver, handover from tasks where queue = 'sales'")
        assert [tuple(r) for r in own] == [("", "")]

        await filed("refused", says(422, {"error": "RecordInvalid", "description": "Subject: is banned"}))
        await sojourn.until(lambda: parked(sojourn))
        ((why,),) = await sojourn.query("select reason from enrollments where status = 'parked'")
        assert why == "task: tasks.service: 422 RecordInvalid Subject: is banned"
        await sojourn.identify("refused", first_name="Gone")  # what was made is handed over, whatever holds by now
        await sojourn.unpark()
        await sojourn.waiting_in("done", 3)
        said = [json.loads(Request.read(one).body)["ticket"]["subject"] for one in heard.arrived[-2:]]
        assert said == ["Call Refused", "Call Refused"]

        channel = load_receiver("service", config(heard.port))
        body = theirs.status("SOLVED").replace(b"35436", b"100").replace(b"7/tell_service/0/0", at["calm"].key.encode())
        for news in (1, 0):  # Zendesk repeats itself
            async with transaction(sojourn.worker.core.database) as c:
                told = await channel.parse_webhook(theirs.TestZendeskTasks().notice(body, START, "provider"))
                deployment = await sojourn.worker.core.deployments.current(c)
                got = await feedback.hear(c, deployment, channel, told, START, lambda real: real, {})
                alien = await feedback.hear(
                    c, deployment, channel, [replace(told[0], key="x", provider_id="9")], START, lambda r: r, {}
                )
            assert (len(got.events), alien.events, alien.alien, alien.early) == (news, [], 1, 1)
            await sojourn.accept(got.events)
        await sojourn.until(lambda: ended(sojourn, "cared_for"))
        await sojourn.track("busy", "complaint_resolved", ticket_id="busy")
        await sojourn.until(lambda: ended(sojourn, "complaint_resolved"))
        at = await rows()
        assert [(at[t].status, at[t].handover) for t in ("calm", "busy", "refused")] == [
            ("done", "finished"),
            ("closed", "there"),
            ("open", "there"),
        ]
        handing = sojourn.worker.workers.activities.acting.handing
        assert not await handing.finish()
        assert (zendesk.solved, (await rows())["busy"].handover) == (["101"], "finished")
        assert len(zendesk.tickets) == 3
        await by_the_rules(sojourn, handing, zendesk, at["refused"].enrollment_id)


async def by_the_rules(sojourn: Running, handing: Handing, zendesk: Zendesk, enrollment: int) -> None:
    """What a crash leaves behind: somebody's live lease is left alone; a dead one is handed over again where a key is recognised,
    and counts as made where none is."""
    database = sojourn.worker.core.database

    async def put(key: str) -> Outgoing:
        task = {"key": key, "enrollment_id": enrollment, "queue": "service", "title": "x", "body": "", "assignee": ""}
        async with transaction(database) as c:
            await tasks.insert(c, [{**task, "once": None, "due_at": None, "receiver": "tasks.service"}])
            assert list(await tasks.claim(c, [key], "dead", 60.0)) == [key]
        return Outgoing(key, "", Content({"title": "x"}, text=""), {}, "1", "care", "tell", "", "")

    async def die(key: str) -> None:
        await sojourn.query("update tasks set lease_until = now() - interval '1 s' where key = :key returning 1", key=key)

    message = await put("k1")
    count = len(zendesk.tickets)
    assert (await handing.hand_over([message]))["k1"].again is not None
    assert len(zendesk.tickets) == count
    await die("k1")
    assert await handing.hand_over([message]) == {"k1": Handed()}
    assert "k1" in zendesk.tickets

    other = await put("k2")
    await die("k2")
    receiver = handing.receivers["service"]
    assert receiver is not None
    receiver.capabilities = replace(receiver.capabilities, on_unknown="assume_sent")
    assert await handing.hand_over([other]) == {"k2": Handed()}
    assert "k2" not in zendesk.tickets
    assert [tuple(r) for r in await sojourn.query("select handover from tasks where key in ('k1', 'k2') order by key")] == [
        ("there",),
        ("unknown",),
    ]


async def parked(sojourn: Running) -> bool:
    return bool(await sojourn.query("select 1 from enrollments where status = 'parked'"))


async def ended(sojourn: Running, reason: str) -> bool:
    return bool(await sojourn.query("select 1 from enrollments where status = 'ended' and reason = :reason", reason=reason))
