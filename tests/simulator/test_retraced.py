"""What the real engine did with random journeys comes out of its record: each life, replayed, ends as it is recorded."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from engine.app.testing.timeline import timeline
from engine.authoring.project import Compiled
from engine.authoring.shape_tests import Test as Written
from engine.delivery.deployments import Deployments
from engine.insight.lived import read_lives
from engine.insight.retracing import Retraced, retrace
from engine.store.database import transaction
from tests import servers
from tests.agreement.test_agreement import UNTIL, drawn
from tests.asked import Place, asked_for, asked_in, runs_of
from tests.simulator.played import ADDRESSES
from tests.simulator.strategies import Project


async def retraced(
    project: Project, compiled: Compiled, environment: WorkflowEnvironment, prefix: str
) -> list[tuple[Retraced, list[Place]]]:
    """Everybody's enrollments, once the project has been played on the real engine, with where they really stood."""
    tests = [Written.model_validate({**t, "until": UNTIL.isoformat()}) for t in project.tests]
    found: list[tuple[Retraced, list[Place]]] = []
    with servers.fresh_database() as url:
        on_servers = partial(timeline, channels=ADDRESSES, database_url=url, environment=environment, prefix=prefix)
        async with on_servers(compiled, project.journeys, tests) as real:
            await real.play()
            journeys = real.worker.relay.journeys
            ids = [journeys.cohort_id(r.id) for r in await real.query("select id from cohorts")]
            really = await asked_for([history for i in ids for history in await runs_of(environment.client, i)])
            deployments = Deployments()
            async with transaction(real.worker.core.database) as c:
                for passage in real.passages:
                    assert passage.customer is not None
                    lives = await read_lives(c, passage.customer, None, deployments)
                    found += [(retrace(life), really.get(life.id, [])) for life in lives]
    return found


@pytest.mark.nightly
@pytest.mark.parametrize("projects", [5])
async def test_every_life_comes_out_as_it_is_recorded(
    projects: int, tmp_path: Path, skipping: WorkflowEnvironment, task_queue_prefix: str
) -> None:
    """Status, reason, place and every message are those of the record, however journeys branch, wait, repeat and fall back; and
    where a replay says that it is exact, each step is the one that Temporal's histories have."""
    wrong, bases = [], Counter[str]()
    for n in range(projects):
        (folder := tmp_path / f"project-{n}").mkdir()
        for told, really in await retraced(*drawn(n, folder), skipping, f"{task_queue_prefix}-{n}"):
            who = f"project-{n}, enrollment {told.life.id} in {told.life.plan.journey}"
            wrong += [f"{who}: {what}" for what in told.differs]
            if told.exact and asked_in(told) != really:
                wrong.append(f"{who}: stood at {really}, the replay at {asked_in(told)}")
            bases.update(t.basis for t in told.transitions)
    assert [] == wrong
    assert bases["recorded"] > 20 * (bases["recomputed"] + bases["assumed"]), bases
