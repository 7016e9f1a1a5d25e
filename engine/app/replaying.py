"""Temporal's histories against today's code: with which cohorts, broadcasts and chores this worker would go on, and whom the
others carry. Reads only."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from temporalio.client import WorkflowHistory

from engine.app.wiring import PREFIX, encryption_keys
from engine.core.plan import plan_from_json
from engine.core.wire import Json
from engine.settings.project import Settings
from engine.store import deployments, relay
from engine.store.database import Database, transaction
from engine.temporal import histories
from engine.temporal.client import connect
from engine.temporal.histories import BadHistory, Kept, Kind, Run
from engine.temporal.plans import SHELF
from engine.temporal.replaying import Replayed, replay

BESIDE = 100
"""Runs of broadcasts, and of chores, at the most, whatever the limit: chores begin every few seconds, and all are alike."""

NO_PLAN = "no plan of it is in this database: a worker of this project can't go on with it"


@dataclass(frozen=True, slots=True)
class Broken:
    """A run that doesn't replay: why, and the enrollments that it carries (none where it is closed, or no cohort)."""

    run: Run
    reason: str
    enrollments: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a replay. `fits`: runs that replay · `gone`: runs that Temporal removed meanwhile · `events`: of all histories
    together · `seconds`: of real time · `written`: files · `cut`: kinds of which only the newest runs were replayed, and how
    many."""

    fits: int
    broken: tuple[Broken, ...]
    gone: int = 0
    events: int = 0
    seconds: float = 0.0
    written: tuple[Path, ...] = ()
    cut: tuple[tuple[Kind, int], ...] = ()

    @property
    def enrollments(self) -> tuple[int, ...]:
        """Everybody who is inside a cohort that this worker would break."""
        return tuple(sorted({e for b in self.broken for e in b.enrollments}))

    def reasons(self) -> list[tuple[str, int]]:
        """Why, with how many runs each, the most frequent first."""
        return Counter(b.reason for b in self.broken).most_common()

    def to_json(self) -> dict[str, Json]:
        """For machines."""
        return {
            "replayed": self.fits,
            "broken": [
                {
                    "workflow": b.run.workflow,
                    "run": b.run.run,
                    "kind": b.run.kind,
                    "name": b.run.name,
                    "journey": b.run.journey if b.run.kind == "cohort" else None,
                    "open": b.run.open,
                    "reason": b.reason,
                    "enrollments": list(b.enrollments),
                }
                for b in self.broken
            ],
            "enrollments": list(self.enrollments),
            "gone": self.gone,
            "events": self.events,
            "seconds": round(self.seconds, 3),
            "written": [str(path) for path in self.written],
            "cut": dict(self.cut),
        }


async def replay_stored(
    settings: Settings,
    database: Database,
    temporal_address: str,
    *,
    journey: str | None = None,
    open_only: bool = False,
    since: datetime | None = None,
    limit: int | None = None,
    export: Path | None = None,
    begin: Callable[[int], None] = lambda total: None,
    step: Callable[[], None] = lambda: None,
    prefix: str = PREFIX,
) -> Report:
    """Replay what Temporal still has, the newest first, at most `limit` runs of cohorts, and for all journeys also at most
    `BESIDE` of broadcasts and as many of chores. `export`: a folder that gets a file for each. `begin` hears how many there are,
    `step` is called after each. Raises Unreachable."""
    keys = encryption_keys(settings)
    client = await connect(temporal_address, settings.temporal.namespace, encryption_key=keys)
    queries = {histories.wanted(prefix, journey, open_only=open_only, since=since): limit}
    if journey is None:
        beside = histories.wanted_beside(prefix, open_only=open_only, since=since)
        queries |= dict.fromkeys(beside, min(BESIDE, limit or BESIDE))
    found: list[Run] = []
    cut: list[tuple[Kind, int]] = []
    for query, most in queries.items():
        newest = await histories.runs(client, prefix, query, None if most is None else most + 1)
        if most is not None and len(newest) > most:
            cut.append((newest.pop().kind, most))
        found += newest
    cohorts = [r for r in found if r.kind == "cohort"]
    async with transaction(database) as c:
        plans = await relay.plans_of(c, sorted({r.cohort for r in cohorts}))
        documents = await deployments.documents(c, sorted(set(plans.values())))
    unknown = _shelve(documents)
    begin(len(found))
    broken = {r: NO_PLAN for r in cohorts if plans.get(r.cohort) not in documents}
    broken |= {r: unknown[plans[r.cohort]] for r in cohorts if plans.get(r.cohort) in unknown}
    gone: list[Run] = []
    written: list[Path] = []

    async def stored() -> AsyncIterator[tuple[Run, WorkflowHistory]]:
        for run in found:
            if run in broken:
                step()
                continue
            history = await histories.fetch(client, run)
            if history is None:
                gone.append(run)
                step()
                continue
            if export is not None:
                plan = documents[plans[run.cohort]] if run.kind == "cohort" else None
                written.append(histories.to_file(export, run, plan, history))
            yield run, history

    started = time.monotonic()
    fitting: list[Replayed] = []
    async for told in replay(stored(), encryption_key=keys):
        step()
        fitting.append(told)
    seconds = time.monotonic() - started
    broken |= {t.run: t.reason for t in fitting if t.reason}
    async with transaction(database) as c:
        inside = await relay.members_of(c, sorted({r.cohort for r in broken if r.open and r.cohort}))
    return Report(
        fits=sum(not t.reason for t in fitting),
        broken=tuple(Broken(r, why, tuple(inside.get(r.cohort, ())) if r.open else ()) for r, why in broken.items()),
        gone=len(gone),
        events=sum(t.events for t in fitting),
        seconds=seconds,
        written=tuple(written),
        cut=tuple(cut),
    )


def _shelve(plans: Mapping[str, Json]) -> dict[str, str]:
    """Make these plans (JSON by hash) available to workflows; why not, for those that this version can't execute."""
    return {plan_hash: why for plan_hash, body in plans.items() if (why := _shelved(body))}


def _shelved(plan: Json) -> str:
    """Make a plan available to workflows; why not, where this version can't execute it, else ""."""
    try:
        SHELF.add(plan_from_json(plan))
    except ValueError as wrong:
        return str(wrong)
    return ""


def read_files(folder: Path) -> list[Kept]:
    """Every history in `folder`. Raises BadHistory, also where there is none."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise BadHistory(f"{folder} has no *.json: `sojourn replay --export {folder}` writes histories there")
    return [histories.from_file(path) for path in files]


async def replay_files(
    settings: Settings, kept: Sequence[Kept], *, sandboxed: bool = False, step: Callable[[], None] = lambda: None
) -> Report:
    """Replay histories that were exported, each with the plan that it was exported with."""
    fitting: list[Kept] = []
    broken: list[Broken] = []
    for one in kept:
        if why := "" if one.plan is None else _shelved(one.plan):
            step()
            broken.append(Broken(one.run, why))
        else:
            fitting.append(one)
    started = time.monotonic()
    told = []
    async for one_told in replay(histories.from_files(fitting), encryption_key=encryption_keys(settings), sandboxed=sandboxed):
        step()
        told.append(one_told)
    return Report(
        fits=sum(not t.reason for t in told),
        broken=(*broken, *(Broken(t.run, t.reason) for t in told if t.reason)),
        events=sum(t.events for t in told),
        seconds=time.monotonic() - started,
    )
