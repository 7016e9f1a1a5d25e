"""Plans come to a worker that is running: a workflow waits a moment for the one that a deploy has just brought."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from engine.core.plan import Exit, Plan, plan_to_json, sealed
from engine.temporal import plans
from engine.temporal.plans import SHELF, PlanMissing, PlanShelf
from tests.harness import running, write_project

WELCOME = """
journey: welcome
tier: transactional
enter: {event: signed_up, again: always}
steps:
  - {send: email, id: hello, template: hello}
"""
PLAN = sealed(Plan("j", "lifecycle", entries=(), ops=(Exit("x", "over"),)))


@pytest.mark.parametrize("sandboxed", [False, True])
async def test_a_deploy_while_everything_runs_is_silent(
    tmp_path: Path,
    database_url: str,
    temporal_address: str,
    task_queue_prefix: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    sandboxed: bool,
) -> None:
    """Whoever enters first after a deploy is carried on its plan, and nothing fails, neither here nor in Temporal's core."""
    folder = write_project(tmp_path, {"journeys/welcome.yaml": WELCOME})
    async with running(folder, database_url, temporal_address, task_queue_prefix, sandboxed=sandboxed) as sojourn:
        await sojourn.identify("ada")
        capfd.readouterr()
        write_project(tmp_path, {"journeys/welcome.yaml": WELCOME.replace("id: hello", f"id: hello_{task_queue_prefix[-6:]}")})
        await sojourn.deploy()
        await sojourn.track("ada", "signed_up")
        await sojourn.settled()
        (plan,) = await sojourn.query("select plan from enrollments")
        assert plan.plan in SHELF
    assert [] == [r.getMessage() for r in caplog.records if r.levelname not in ("DEBUG", "INFO")]
    assert "Failing workflow task" not in "".join(capfd.readouterr())


async def test_a_cohort_whose_plan_nobody_has_stops_no_other(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A Temporal namespace served another database: its plan is asked for in vain, which is said, and work goes on."""
    folder = write_project(tmp_path, {"journeys/welcome.yaml": WELCOME})
    async with running(folder, database_url, temporal_address, task_queue_prefix) as sojourn:
        SHELF.wanted.add("of-another-database")
        try:
            await sojourn.until(lambda: "no plan of-another-database was ever deployed to this database" in caplog.text)
            await sojourn.identify("ada")
            await sojourn.track("ada", "signed_up")
            await sojourn.settled()
        finally:
            SHELF.wanted.discard("of-another-database")


def test_a_plan_that_comes_is_waited_for() -> None:
    """The thread that asks goes on as soon as the loop has loaded the plan."""
    shelf = PlanShelf()
    found: list[object] = []
    asking = threading.Thread(target=lambda: found.append(shelf.get(PLAN.hash)))
    asking.start()
    while not shelf.wanted:
        assert asking.is_alive()
    shelf.add(PLAN)
    asking.join(5)
    assert ([plan_to_json(PLAN)], set()) == (found, shelf.wanted)


def test_a_plan_that_does_not_come_fails_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its patience the task fails, and the wish stays, so that the retry finds the plan."""
    monkeypatch.setattr(plans, "PATIENCE_SECONDS", 0.01)
    shelf = PlanShelf()
    shelf.add(PLAN)
    with pytest.raises(PlanMissing, match="plan nowhere is not loaded yet"):
        shelf.get("nowhere")
    assert {"nowhere"} == shelf.wanted
    shelf.add(replace(PLAN, hash="nowhere"))
    assert plan_to_json(PLAN) == shelf.get("nowhere")
