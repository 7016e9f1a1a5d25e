"""`why` on the real engine: every decision with every gate, and every reason not to have entered."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from engine.core.facts import GATES
from engine.core.incoming import Incoming
from engine.insight.finding import UnknownCustomer, find_customer, nearest, unknown_event
from engine.insight.story import Absence
from engine.insight.summary import messages_by_journey
from engine.store.database import now, transaction
from tests.asking import ask, drawn
from tests.harness import POLICY, TRACKING, running, write_project

JOURNEYS = {
    "journeys/welcome.yaml": """
journey: welcome
tier: lifecycle
enter: {event: signed_up, again: never}
goal: {event: confirmed, value: "3"}
steps:
  - send: email
    id: hello
    template: hello
    topic: news
  - send: email
    id: more
    template: again
    topic: news
  - send: sms
    id: text
    template: hello
    topic: offers
""",
    "journeys/care.yaml": """
journey: care
tier: lifecycle
enter: {event: confirmed, where: event.order_id == "A1", key: order_id, again: never}
steps:
  - wait: 3d
    id: pause
""",
    "journeys/draft.yaml": """
journey: draft
status: draft
tier: lifecycle
enter: {event: confirmed, again: always}
steps: [{wait: 1d, id: day}]
""",
    "journeys/lone.yaml": """
journey: lone
tier: lifecycle
enter: {event: pinged, again: always}
steps: [{wait: 1d, id: day}]
""",
}
CAPPED = POLICY + "caps:\n  - {name: daily, tiers: [lifecycle], limit: 1, per: day}\n"


async def test_every_decision_tells_every_gate(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A sent message, one that a cap puts off: each decision has all gates, the deferred one names the
    cap and when it goes; the screen fits 80 columns and holds each sentence."""
    folder = write_project(tmp_path, {**JOURNEYS, "journeys/policy.yaml": CAPPED})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        ada = await run.identify("ada", timezone="Europe/Rome")
        await run.track("ada", "signed_up", plan="pro")

        async def waits() -> bool:
            return bool(await run.query("select 1 from messages where step = 'more' and status = 'deferred'"))

        await run.until(waits)
        told = await ask(run, ada, "welcome")
        passage = told.passages[0]
        messages = [m.message for m in passage.moments if m.message is not None]
        assert [(m.step, m.status) for m in messages] == [("hello", "sent"), ("more", "deferred")]
        assert {tuple(g.gate for g in d.gates) for m in messages for d in m.decisions} == {GATES}
        last = messages[1].decisions[-1]
        assert (last.decision, last.reason, last.rule) == ("defer", "cap", "daily")
        assert last.earliest == messages[1].until
        assert passage.moments[0].text == "Entered by signed_up (plan pro)."
        assert passage.now.startswith("At more, whose message waits until ")
        assert (told.zone, told.own_zone) == ("Europe/Rome", True)
        for width in (80, 120):
            screen = drawn(told, width)
            assert max(len(line.rstrip()) for line in screen.splitlines()) <= width
            assert ("… caps" in screen, "✓ consent" in screen, screen.count("Europe/Rome")) == (True, True, 1)
        assert "✓" not in drawn(told, 80, short=True)
        assert json.loads(json.dumps(told.to_json()))["passages"][0]["journey"] == "welcome"
        async with transaction(run.worker.core.database) as c:
            counted = [(m.journey, m.status, m.reason, m.n) for m in await messages_by_journey(c)]
        assert counted == [("welcome", "deferred", "cap", 1), ("welcome", "sent", "", 1)]


async def test_absences_name_the_rule_that_said_no(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """No event, a condition that isn't true, a draft, `again: never`, a key in use, history: each has its own sentence."""
    folder = write_project(tmp_path, JOURNEYS)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        ada = await run.identify("ada")
        before = await ask(run, ada)
        assert {a.journey: a.reason for a in before.absences} == {
            "care": "no_event",
            "draft": "not_live",
            "lone": "no_event",
            "welcome": "no_event",
        }
        await run.track("ada", "confirmed", order_id="B2")
        await run.track("ada", "signed_up")
        await run.track("ada", "signed_up")
        past = Incoming("track", "import", "old-1", "pinged", {"number": 1}, identifiers={"user_id": "ada"}, history=True)
        await run.accept([past])
        found = {a.journey: a for a in (await ask(run, ada)).absences}
        assert {j: a.reason for j, a in found.items()} == {
            "care": "where",
            "draft": "not_live",
            "lone": "unknown",
            "welcome": "active",
        }
        assert 'event.order_id == "A1"' in found["care"].detail
        await run.track("ada", "confirmed", order_id="A1")
        await run.track("ada", "confirmed", order_id="A1")
        care = await ask(run, ada, "care")
        assert [(p.journey, p.key, p.status) for p in care.passages] == [("care", "A1", "live")]
        assert [a.reason for a in care.absences] == ["active"]
        nowhere = await ask(run, ada, "welcom")
        assert nowhere.absences == (
            Absence("welcom", "no_journey", "No journey called welcom is deployed; did you mean 'welcome'?"),
        )


async def test_again_rules_are_told_with_the_day_they_end(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """After an end, `again: never` names the earlier passage, and `after 30d` the day from which it is possible."""
    body = "tier: lifecycle\nsteps: [{exit: done}]\n"
    never = f"journey: once\nenter: {{event: signed_up, again: never}}\n{body}"
    after = f"journey: monthly\nenter: {{event: signed_up, again: after 30d}}\n{body}"
    folder = write_project(tmp_path, {"journeys/once.yaml": never, "journeys/monthly.yaml": after})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        ada = await run.identify("ada")
        await run.track("ada", "signed_up")
        await run.settled()
        await run.track("ada", "signed_up")
        told = await ask(run, ada)
        assert {a.journey: a.reason for a in told.absences} == {"once": "again", "monthly": "again"}
        monthly = next(a for a in told.absences if a.journey == "monthly")
        async with transaction(run.worker.core.database) as c:
            free = (await now(c)) + timedelta(days=30)
        assert f"not before {free.day} {free:%B} {free.year}" in monthly.detail


async def test_a_zone_that_is_none_is_named(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Who wonders why a message came at night sees that the customer's time zone is no zone."""
    folder = write_project(tmp_path, JOURNEYS)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        ada = await run.identify("ada", timezone="Mars/Olympus")
        told = await ask(run, ada)
        assert (told.own_zone, told.unusable_zone) == (False, "Mars/Olympus")
        assert "the customer's timezone 'Mars/Olympus' is none that IANA names" in " ".join(drawn(told, 200).split())
        bob = await ask(run, await run.identify("bob"))
        assert (bob.own_zone, bob.unusable_zone) == (False, None)


async def test_customers_are_found_by_any_identifier(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """User id, e-mail address in any case, phone number; near names where nobody is meant."""
    folder = write_project(tmp_path, JOURNEYS)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as run:
        ada = await run.identify("ada.lovelace", email="Ada@Example.com", phone="+391234")
        async with transaction(run.worker.core.database) as c:
            assert [await find_customer(c, t) for t in ("ada.lovelace", "ada@example.COM", "+391234")] == [ada] * 3
            with pytest.raises(UnknownCustomer) as unknown:
                await find_customer(c, "ada.lovelaze")
        assert unknown.value.nearest == ["ada.lovelace"]


def test_nearest_prefers_what_looks_alike() -> None:
    """Close spellings come before those that only hold the text; case doesn't matter."""
    assert nearest("Bob", ["alice", "bobby", "bob1", "kabob-stand"]) == ["bob1", "bobby", "kabob-stand"]


async def test_an_event_is_known_by_tracking_by_whoever_is_inside_and_by_the_engine(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Anything else is answered with the nearest name, also one that was known until yesterday's journey lost its last person."""
    folder = write_project(tmp_path, {"journeys/welcome.yaml": JOURNEYS["journeys/welcome.yaml"]})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as engine:
        await engine.pause()
        await engine.identify("ada")
        await engine.track("ada", "signed_up")
        tracking = TRACKING.replace("confirmed:", "approved:")
        changed = JOURNEYS["journeys/welcome.yaml"].replace("{event: confirmed", "{event: approved")
        write_project(tmp_path, {"journeys/welcome.yaml": changed, "journeys/tracking.yaml": tracking})
        await engine.deploy()

        async def asked(name: str, **properties: str) -> str:
            async with transaction(engine.worker.core.database) as c:
                return await unknown_event(c, name, properties)

        assert ["", "", ""] == [await asked(name) for name in ("approved", "confirmed", "message_opened")]
        assert "no journey and no tracking.yaml knows conformed; did you mean 'confirmed'?" == await asked("conformed")
        assert "" == await asked("consent_changed", channel="email", topic="news")
        misspelled = await asked("consent_changed", channel="emial", topic="tires of Ada")
        assert (
            "no channel is called 'emial'; did you mean 'email'?; it names a topic that there isn't; known here: news, offers"
            == misspelled
        )
        await engine.query("update enrollments set status = 'ended' returning id")
        await engine.query("update cohorts set open = false returning id")
        assert "no journey and no tracking.yaml knows confirmed; known here: " in await asked("confirmed")
