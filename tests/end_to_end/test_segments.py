"""Segments on the real engine: journeys entered by them, waits that they and time end, and what a deploy sets going."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engine.intake.awaiting import Awaiting
from engine.intake.sweeping import Sweep
from engine.temporal.chores import chore_id
from tests.asking import ask, drawn
from tests.harness import TRACKING, Running, running, write_project

FACTS = TRACKING.replace("attributes: {", "attributes: {renews_at: datetime, ")
SEGMENTS = """
segments:
  keen: {did: pinged, at_least: 2}
  fresh: {did: pinged, within: 2s}
stages:
  - {stage: active, segment: fresh}
  - {stage: quiet, did: pinged}
  - {stage: lead}
"""
WELCOME = """
journey: vip
tier: lifecycle
enter: {segment: keen, existing: EXISTING, again: never}
steps:
  - {send: email, id: hello, template: hello, topic: news}
"""
GONE = """
journey: gone
tier: lifecycle
enter: {segment: fresh, when: leaves, existing: ignore, again: never}
steps:
  - {send: email, id: hello, template: hello, topic: news}
"""
RENEWAL = """
journey: renewal
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - wait_for: {if: customer.renews_at <= now}
    id: due
    timeout: 90d
    then: [{task: sales, title: "Renew"}]
    else: [{task: nobody, title: "Too late"}]
"""


def written(folder: Path, existing: str = "ignore", **journeys: str) -> Path:
    """A project with these segments and journeys."""
    files = {f"journeys/{name}.yaml": text.replace("EXISTING", existing) for name, text in journeys.items()}
    return write_project(folder, {"journeys/tracking.yaml": FACTS, "journeys/segments.yaml": SEGMENTS, **files})


async def swept(sojourn: Running) -> None:
    """What the chores of an hour do."""
    core = sojourn.worker.core
    for chore in (Sweep(core.deployments, core.intake), Awaiting(core.database, core.deployments, core.intake)):
        while await chore.round():
            pass


async def test_entering_and_leaving_send_messages_and_why_tells_of_it(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """By an event and by time; who moved when, and why, is shown."""
    folder = written(tmp_path, vip=WELCOME, gone=GONE)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        ada = await sojourn.identify("ada")
        await sojourn.track("ada", "pinged", number=1)
        await sojourn.track("ada", "pinged", number=2)
        await sojourn.settled()
        assert [("vip", "ended", "completed")] == await sojourn.ends()
        await asyncio.sleep(2.1)
        await swept(sojourn)
        await sojourn.settled()
        assert ["vip", "gone"] == [j for j, *_ in await sojourn.ends()]
        assert 2 == len(sojourn.email.to(ada))
        told = await ask(sojourn, ada)
        assert [("keen", "event", "pinged")] == [(m.segment, m.cause, m.event) for m in told.segments]
        expected = [("quiet", "active", "time", None), ("active", "lead", "event", "pinged")]
        expected.append(("lead", None, "event", "$identify"))
        assert expected == [(m.stage, m.previous, m.cause, m.event) for m in told.stages]
        shown = drawn(told)
        assert "Stage quiet since" in shown
        assert "(by time)" in shown
        assert "In the segments keen (since" in shown
        assert "by pinged" in shown
        assert "Entered by segment_left (segment fresh)" in shown
        past = await ask(sojourn, ada, at=told.stages[1].since)
        assert ((), "active") == (past.segments, past.stages[0].stage)


async def test_who_is_in_it_at_the_deploy_is_enrolled_where_the_journey_says_so(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Once, with the deploy that brings the journey; the chore works out what is new without waiting for its hour."""
    folder = written(tmp_path, other=GONE.replace("gone", "other"))
    async with running(folder, database_url, temporal_address, task_queue_prefix, keeps_chores=True) as sojourn:
        for user in ("ada", "bob"):
            await sojourn.identify(user)
            await sojourn.track(user, "pinged", number=1)
        await sojourn.track("ada", "pinged", number=2)
        more = SEGMENTS.replace("segments:\n", "segments:\n  once: {did: pinged}\n")
        written(tmp_path, "enroll", vip=WELCOME)
        (folder / "journeys/segments.yaml").write_text(more)
        await sojourn.deploy()

        async def entered() -> bool:
            return bool(await sojourn.query("select 1 from enrollments where journey = 'vip'"))

        async def worked_out() -> bool:
            return not await sojourn.query("select 1 from interpretations where until_id is not null")

        await sojourn.until(entered)
        await sojourn.until(worked_out, 40)
        assert [(2,)] == [tuple(r) for r in await sojourn.query("select count(*) from memberships where segment = 'once'")]
        assert [] == await sojourn.query("select 1 from events where properties->>'segment' = 'once'")
        await sojourn.deploy()
        await sojourn.until(lambda: sojourn.email.to(sojourn.customers["ada"]))
        found = await sojourn.query("select customer_id from enrollments where journey = 'vip'")
        assert [sojourn.customers["ada"]] == [r.customer_id for r in found]
        describe = await sojourn.worker.workers.client.get_schedule_handle(chore_id(task_queue_prefix, "segments")).describe()
        assert describe.info.num_actions >= 1


async def test_time_alone_ends_a_wait_for_a_condition(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Nothing comes for this customer; the sweep finds that it holds now, and not before."""
    folder = written(tmp_path, renewal=RENEWAL)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        soon = datetime.now(UTC) + timedelta(seconds=3)
        await sojourn.identify("ada", renews_at=soon.isoformat())
        await sojourn.identify("bob", renews_at=(soon + timedelta(days=30)).isoformat())
        for user in ("ada", "bob"):
            await sojourn.track(user, "signed_up")
        await sojourn.waiting_in("due", 2)
        await swept(sojourn)
        if datetime.now(UTC) < soon:
            assert [] == await sojourn.query("select 1 from events where name = '$time'")
        await asyncio.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()) + 0.1)
        await swept(sojourn)

        async def done() -> bool:
            ended = [r.customer_id for r in await sojourn.query("select customer_id from enrollments where status = 'ended'")]
            return ended == [sojourn.customers["ada"]]

        await sojourn.until(done)
        tasks = await sojourn.query("select customer_id, queue from tasks")
        assert [(sojourn.customers["ada"], "sales")] == [tuple(t) for t in tasks]
        await swept(sojourn)
        assert [(1,)] == [tuple(r) for r in await sojourn.query("select count(*) from events where name = '$time'")]
