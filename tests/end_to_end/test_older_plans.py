"""Enrollments that finish on an older plan, and processes that have never met it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.delivery.deployments import Deployments
from engine.store.database import connect, fetch, run, transaction
from engine.store.deployments import needed_plans
from tests.harness import Running, running, write_project

LISTENING = """
journey: listening
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - wait_for: {event: message_sent, where: event.journey == "other"}
    id: sent
    timeout: 30d
"""

DEAF = """
journey: listening
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - wait: 30d
    id: deaf
"""

OTHER = """
journey: other
tier: lifecycle
enter: {event: pinged, again: always}
steps:
  - send: email
    id: hello
    template: hello
    topic: news
"""


async def test_an_older_plan_hears_of_messages_from_a_process_that_never_met_it(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Somebody waits for `message_sent` on a plan that a deploy has replaced; a worker that started after the deploy sends."""
    folder = write_project(tmp_path, {"journeys/listening.yaml": LISTENING, "journeys/other.yaml": OTHER})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.waiting_in("sent")
        write_project(folder, {"journeys/listening.yaml": DEAF})
        await sojourn.deploy()
        sojourn.worker.workers.activities.delivery.deployments = Deployments()
        await sojourn.track("ada", "pinged")
        await sojourn.settled()
        assert [("listening", "ended", "completed"), ("other", "ended", "completed")] == await sojourn.ends()


async def cares(sojourn: Running, deployments: Deployments) -> bool:
    """Whether this process would tell of a message that was sent, after a look at what is deployed."""
    async with transaction(sojourn.worker.core.database) as c:
        await deployments.current(c)
        return deployments.cares("message_sent")


async def test_a_plan_is_cared_for_as_long_as_somebody_may_be_inside(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A process that starts knows the plans of those inside, placed in a cohort or not, and of the deployment before, by which
    somebody may be entering just now; and asks the store for them once, not with every event."""
    folder = write_project(tmp_path, {"journeys/listening.yaml": LISTENING})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.pause()
        await sojourn.identify("ada")
        write_project(folder, {"journeys/listening.yaml": DEAF})
        await sojourn.deploy()
        assert await cares(sojourn, Deployments()), "it was deployed a moment ago"
        (folder / "templates/sms/hello.txt").write_text("Hello")
        await sojourn.deploy()
        assert not await cares(sojourn, Deployments()), "two deployments ago, and nobody is inside"
        write_project(folder, {"journeys/listening.yaml": LISTENING})
        await sojourn.deploy()
        entered = await sojourn.track("ada", "signed_up")
        assert 1 == len(entered.enrollments)
        write_project(folder, {"journeys/listening.yaml": DEAF})
        await sojourn.deploy()
        (folder / "templates/sms/hello.txt").write_text("Hello")
        await sojourn.deploy()
        assert await cares(sojourn, Deployments()), "she waits for a cohort"
        sojourn.resume()
        await sojourn.waiting_in("sent")
        await sojourn.query("update cohorts set open = false returning 1")
        known = Deployments()
        assert await cares(sojourn, known), "she lives in a cohort that admits nobody any more"


@pytest.mark.parametrize("ended", ["i > 4", "false"], ids=["few live", "all live"])
async def test_what_is_needed_is_found_without_reading_every_enrollment(ended: str, database_url: str) -> None:
    """Of twenty thousand in forty cohorts, no more are looked at than there are cohorts."""
    database = connect(database_url)
    try:
        async with transaction(database) as c:
            await run(c, "insert into cohorts (plan, owner, open) select 'p' || i % 4, 'o', false from generate_series(1, 40) i")
            await run(
                c,
                "insert into enrollments (id, customer_id, journey, plan, entry_event, entered_at, status, cohort_id) "
                f"select i, i, 'j', 'p' || (i % 40 + 1) % 4, i, now(), case when {ended} then 'ended' else 'live' end, "
                "i % 40 + 1 from generate_series(1, 20000) i",
            )
            await run(c, "analyze enrollments")
            await run(c, "analyze cohorts")
        async with transaction(database) as c:
            assert ["p0", "p1", "p2", "p3"] == sorted(await needed_plans(c))
            read = "select seq_tup_read + idx_tup_fetch as n from pg_stat_xact_user_tables where relname = 'enrollments'"
            assert (await fetch(c, read))[0].n <= 40
    finally:
        await database.dispose()
