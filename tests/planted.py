"""A person of whom something stands in every table that holds anything of anybody, each text marked; and where marks are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.core.incoming import Incoming
from engine.delivery.channel import Receipt, Result
from engine.store import inbox
from engine.store.database import Database, fetch, transaction
from tests.harness import POLICY, TRACKING, Running, write_project

MARK = "zqj"
"""In every text of the person, and in no other."""

LIMITED = POLICY + (
    "limits: [{name: one, journeys: [ordered, crowded], at_once: 1, when_full: bar}]\nholds:\n"
    "  - {from: complaint_filed, until: complaint_resolved, key: ticket_id, pause: [promotional], at_most: 30d}\n"
    "caps: [{name: weekly, limit: 50, per: 7d}]\n"
)

JOURNEYS = {
    "journeys/ordered.yaml": """
        journey: ordered
        tier: lifecycle
        enter: {event: signed_up, key: order_id, again: always, once_per: customer.email}
        steps:
          - set: {vars.note: "for {{ customer.first_name }}"}
          - send: email
            id: hello
            template: hello
            topic: news
          - task: service
            title: "Call {{ customer.first_name }}"
            body: "about {{ entry.order_id }}"
            assignee: "{{ customer.first_name }}"
            once_per: customer.email
          - wait: 30d
            id: month
          - send: email
            id: again
            template: again
            topic: news
    """,
    "journeys/crowded.yaml": """
        journey: crowded
        tier: lifecycle
        enter: {event: signed_up, key: order_id, again: always}
        steps: [{wait: 1d, id: day}]
    """,
}


def project(folder: Path) -> Path:
    """A project whose journeys leave something everywhere."""
    tracking = TRACKING.replace("{number: integer}", "{number: integer, text: string}")
    tracking += "computed:\n  page: {latest: event.text, of: pinged}\n  pages: {last: 5, of: pinged, value: event.text}\n"
    segments = "segments:\n  visitors: {did: pinged}\n"
    segments += "stages:\n  - {stage: known, if: customer.email is not none}\n  - {stage: stranger}\n"
    files = {**JOURNEYS, "journeys/policy.yaml": LIMITED, "journeys/tracking.yaml": tracking, "journeys/segments.yaml": segments}
    return write_project(folder, files)


def said(name: str, message: str, user: str = f"u-{MARK}", **properties: Any) -> Incoming:
    """An event of theirs."""
    return Incoming("track", "web", f"{message}-{MARK}", name, properties, identifiers={"user_id": user})


def told(message: str, user: str = f"u-{MARK}", anonymous: str = "", **traits: Any) -> Incoming:
    """What they say of themselves."""
    who = {"user_id": user, **({"anonymous_id": anonymous} if anonymous else {})}
    return Incoming("identify", "web", f"{message}-{MARK}", traits=traits, identifiers=who)


ADDRESS = f"Ada.{MARK}@Example.com"


async def plant(run: Running) -> int:
    """The person, who waits in a journey; their number."""
    run.email.answer = lambda m: Receipt(Result.ACCEPTED, provider_id=f"p-{MARK}", words=f"queued for {m.to}")
    visit = Incoming("track", "web", f"v-{MARK}", "pinged", {"text": f"page {MARK}"}, identifiers={"anonymous_id": f"x-{MARK}"})
    await run.accept([visit])
    traits = {"email": ADDRESS, "first_name": f"Ada {MARK}", "phone": "+39 06 5551 0001", "timezone": "UTC"}
    ada = (await run.accept([told("i1", **traits)]))[0].customer
    consent = {"channel": "email", "topic": "news", "state": "granted", "source": f"form {MARK}", "wording": f"v1 {MARK}"}
    await run.accept([said("consent_changed", "c1", **consent)])
    await run.accept([said("signed_up", "s1", order_id=f"o-{MARK}", plan=f"plan {MARK}")])
    await run.waiting_in("month")
    await run.accept([told("i2", anonymous=f"x-{MARK}")])  # the visitor becomes part of them
    await run.accept([said("complaint_filed", "t1", ticket_id=f"ticket-{MARK}")])
    await run.accept([said("message_bounced", "b1", channel="sms", hard=True, address=f"+39 {MARK}")])
    await run.accept([said("pinged", "q1", number=f"not a number, says {MARK}")])
    await run.query(
        "insert into broadcasts (journey, kind, rule, occurrence, place, entry, created_at, starts_at) "
        "values ('ordered', 'schedule', 'r', 'o', 0, '{}', now(), now()) returning id"
    )
    await run.query(
        "insert into broadcast_people (broadcast_id, customer_id, due_at, occurrence) "
        "select id, :ada, now() + interval '9 days', :mark from broadcasts returning customer_id",
        ada=ada,
        mark=f"1990 {MARK}",
    )
    letter = {
        "key": "1/note/0/0",
        "customer": ada,
        "channel": "inbox",
        "title": f"For {MARK}",
        "body": f"Dear {MARK}",
        "data": {"to": MARK},
    }
    async with transaction(run.worker.core.database) as c:
        await inbox.put(c, [letter])
    await run.query(
        "insert into short_links (code, customer_id, enrollment_id, message, url, at) "
        "select 'a1', customer_id, enrollment_id, key, :url, now() from messages where customer_id = :ada limit 1 returning id",
        ada=ada,
        url=f"https://shop.example/for/{MARK}",
    )
    return ada


async def found(database: Database, mark: str = MARK) -> dict[str, int]:
    """`table.column` → how many rows hold the mark, of every text, JSON and array column of the whole database."""
    async with transaction(database) as c:
        columns = await fetch(
            c,
            "select table_name, column_name from information_schema.columns where table_schema = 'public' "
            "and data_type in ('text', 'character varying', 'jsonb', 'json', 'ARRAY', 'bytea') order by 1, 2",
        )
        holding = {}
        for t, name in columns:
            text = f"encode({name}, 'escape')" if (t, name) in BYTES else f"cast({name} as text)"
            n = (await fetch(c, f"select count(*) from {t} where strpos(lower({text}), :mark) > 0", mark=mark))[0][0]
            if n:
                holding[f"{t}.{name}"] = n
    return holding


BYTES = {("secrets", "value"), ("tokens", "digest")}


async def temporal_texts(run: Running) -> str:
    """Everything that Temporal holds of the run's cohorts: ids and whole histories with their payloads, as one text."""
    journeys = run.worker.relay.journeys
    parts = []
    for r in await run.query("select id from cohorts order by id"):
        handle = journeys.client.get_workflow_handle(journeys.cohort_id(r.id))
        history = await handle.fetch_history()
        parts.append(history.workflow_id)
        for event in history.events:
            parts.append(str(event))
            parts.append(json.dumps(str(event.SerializeToString())))
    return "\n".join(parts).lower()
