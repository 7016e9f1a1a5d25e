"""Every journey that ships, exercised on the real engine by the tests that stand next to it."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from engine.authoring.project import Compiled, load_project
from engine.authoring.shape_tests import Test
from engine.core.plan import Send
from tests.journeys.expectations import compared
from tests.journeys.timeline import timeline

ROOT = Path(__file__).parents[2]


@cache
def shipped() -> Compiled:
    """The project at the root of the repository."""
    return load_project(ROOT, {"email", "sms", "push"})


@cache
def groups() -> dict[tuple[str, ...], list[Test]]:
    """Tests by the journeys that they run: only those journeys may enroll anybody while they are played."""
    found: dict[tuple[str, ...], list[Test]] = defaultdict(list)
    for tests in shipped().tests.values():
        for test in tests.root:
            found[tuple(sorted(test.journeys or [test.journey or ""]))].append(test)
    return dict(found)


@pytest.mark.parametrize("journeys", groups(), ids="+".join)
async def test_a_journey_does_what_its_tests_say(
    journeys: tuple[str, ...],
    database_url: str,
    skipping: WorkflowEnvironment,
    task_queue_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On real servers, messages, tasks and exits come as listed, in order, at the minute, and nothing comes beside them."""
    monkeypatch.setenv("SOJOURN_SECRET_CRM_TOKEN", "token")
    tests = groups()[journeys]
    async with timeline(
        shipped(), journeys, tests, root=ROOT, database_url=database_url, environment=skipping, prefix=task_queue_prefix
    ) as played:
        await played.play()
        told = {p.test.test: compared(p.test.expect, await played.lines(p), p.zone) for p in played.passages}
    assert {name: expected for name, (expected, _) in told.items()} == {name: actual for name, (_, actual) in told.items()}
