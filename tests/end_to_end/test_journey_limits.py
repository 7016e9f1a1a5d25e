"""Limits on journeys on the real engine: who is displaced leaves at once, and everybody can be told why they weren't let in."""

from __future__ import annotations

from pathlib import Path

import httpx

from engine.store.database import transaction
from engine.store.history import told as told_of
from tests.api.conftest import OPERATOR, serving
from tests.asking import ask, drawn
from tests.harness import POLICY, running, write_project

LOW = """
journey: low
tier: lifecycle
enter: {event: pinged, again: always}
steps:
  - wait: 30d
    id: long
  - send: email
    id: late
    template: hello
    topic: news
"""
HIGH = """
journey: high
tier: lifecycle
enter: [{event: signed_up, again: always}, {api: true, again: always}]
steps:
  - send: email
    id: only
    template: hello
    topic: news
  - wait: 30d
    id: longer
"""
LIMITS = """
limits:
  - {name: one_story, journeys: [high, low], at_once: 1, when_full: displace}
  - {name: calm, journeys: [high], entries: 1, per: month}
"""


async def test_a_displaced_enrollment_ends_in_the_middle_of_its_wait_and_why_names_the_limits(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The higher journey goes on alone; `why`, the API's answer to an enroll call and the customer's page name the limit that
    kept somebody out; `sojourn track` is told too."""
    files = {"journeys/low.yaml": LOW, "journeys/high.yaml": HIGH, "journeys/policy.yaml": POLICY + LIMITS}
    folder = write_project(tmp_path, files)
    async with (
        running(folder, database_url, temporal_address, task_queue_prefix) as sojourn,
        serving(database_url, temporal_address, None) as api,
    ):
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "pinged")
        await sojourn.waiting_in("long")
        await sojourn.track("ada", "signed_up")
        await sojourn.waiting_in("longer")
        await sojourn.relayed()
        assert [("low", "ended", "displaced by high"), ("high", "live", "")] == await sojourn.ends()
        assert ["only"] == [m.step for m in sojourn.email.to(ada)]
        assert "Left: high began, which stands above it in a limit." in drawn(await ask(sojourn, ada, "low"))

        refused = sojourn.event("ada", "pinged")
        assert () == (await sojourn.accept([refused]))[0].enrollments
        sentence = "the limit one_story allows 1 at a time of high and low, and they were in high (number 2)."
        assert f"but {sentence}" in drawn(await ask(sojourn, ada))
        async with transaction(sojourn.worker.core.database) as c:
            told = await told_of(c, refused.message_id)
        (absence,) = [a for a in (await ask(sojourn, ada, "low")).absences if a.journey == "low"]
        assert (("low", sentence),) == told.refused
        assert "limit" == absence.reason

        await sojourn.query("update enrollments set status = 'ended' where journey = 'high' returning id")
        async with httpx.AsyncClient(base_url=api.http.base_url, headers=OPERATOR, timeout=60) as http:
            answer = (await http.post("/v1/journeys/high/enroll", json={"userId": "ada"})).json()
            page = (await http.get("/v1/customers/ada")).json()
        assert [] == answer["enrollments"]
        assert answer["reason"].startswith(
            "the limit calm allows 1 entry a month into high, and 1 had been made in the month from 1 "
        )
        assert [("high", "calm"), ("low", "one_story")] == [(r["journey"], r["rule"]) for r in page["refusals"]]
