"""A project with segments and stages, and short ways to see who is where, for tests of memberships."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from engine.app.deploying import deploy
from engine.authoring.project import load_project
from engine.intake.sweeping import Sweep
from engine.store.database import run, transaction
from tests.harness import TRACKING, write_project
from tests.people import People, opened

FACTS = (
    TRACKING.replace("attributes: {", "attributes: {score: number, renews_at: datetime, ")
    + "computed:\n  pings: {count: pinged}\n"
)
SEGMENTS = """
segments:
  keen: {did: pinged, at_least: 2}
  scored: {if: customer.score >= 10}
  both: {all: [{segment: keen}, {segment: scored}]}
  quiet: {all: [{did: pinged}, {did_not: pinged, within: 10d}]}
  many: {if: customer.pings >= 3}
stages:
  - {stage: lost, segment: quiet}
  - {stage: active, did: pinged}
  - {stage: lead}
"""
DAY = "2026-03-02 10:00"
VIP = "journey: vip\ntier: lifecycle\nenter: {segment: keen, existing: ignore, again: never}\nsteps: [{wait: 30d, id: month}]\n"
WAITS = """
journey: waits
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - wait_for: {segment: keen}
    id: until_keen
    timeout: 90d
"""


@asynccontextmanager
async def people(folder: Path, url: str, segments: str = SEGMENTS, rules: str = "", **journeys: str) -> AsyncIterator[People]:
    """A door whose project has these segments, journeys and more `rules` of policy."""
    texts = journeys or {"waits": WAITS}
    files = {f"journeys/{n}.yaml": text for n, text in texts.items()}
    shared = {"journeys/tracking.yaml": FACTS, "journeys/segments.yaml": segments}
    async with opened(folder, url, rules=rules, files={**shared, **files}) as at:
        yield at


def sweep_of(at: People) -> Sweep:
    return Sweep(at.core.deployments, at.core.intake)


async def swept(at: People) -> None:
    """A whole round."""
    sweep = sweep_of(at)
    while await sweep.round():
        pass


async def later(at: People, days: float) -> None:
    """Let the clock go forward."""
    async with transaction(at.core.database) as c:
        await run(c, "update clock set logical_epoch = logical_epoch + make_interval(secs => :s)", s=days * 86_400)


async def inside(at: People, customer: int) -> set[str]:
    return {r.segment for r in await at.query("select segment from memberships where customer_id = :id", id=customer)}


async def stages(at: People, customer: int) -> list[tuple[Any, ...]]:
    """(stage, previous, cause), oldest first."""
    found = await at.query("select stage, previous, cause from stage_history where customer_id = :id order by id", id=customer)
    return [tuple(r) for r in found]


async def told(at: People, customer: int) -> list[tuple[str, Any]]:
    """What was said of moves, in order: (event, segment or stage)."""
    found = await at.query(
        "select name, properties from events where customer_id = :id and name in ('segment_entered', 'segment_left', "
        "'stage_changed') order by id",
        id=customer,
    )
    return [(r.name.removeprefix("segment_"), r.properties.get("segment") or r.properties.get("stage")) for r in found]


async def redeploy(at: People, folder: Path, segments: str, facts: str = FACTS) -> None:
    """The same project with other segments."""
    write_project(folder, {"journeys/tracking.yaml": facts, "journeys/segments.yaml": segments})
    await deploy(at.core.database, load_project(folder, {"email", "sms"}), "test")
