"""Deploying a compiled project: every document by its content hash, in one transaction. All of it takes effect or none."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from engine.authoring.project import Compiled
from engine.core.plan import plan_to_json
from engine.core.policy import policy_to_json
from engine.core.wire import digest
from engine.store import deployments as store
from engine.store.database import Connection, Database, transaction

FILES = ("policy", "segments", "tracking")
"""What a deployment holds of files that all journeys share, besides templates."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a deploy does to one journey: `new`, `changed`, `same` or `gone` (enrolls nobody any more); how many are inside,
    by step."""

    journey: str
    kind: str
    old: str | None
    new: str | None
    inside: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """What a deploy does. `shared`: what journeys have in common and is other than before, by name with `new`, `changed` or
    `gone`: policy.yaml, segments.yaml, tracking.yaml, templates. It holds at once, for those inside too."""

    journeys: tuple[Change, ...]
    shared: tuple[tuple[str, str], ...] = ()


async def preview(c: Connection, compiled: Compiled) -> Changes:
    """What deploying `compiled` would change."""
    row = await store.newest(c)
    old: dict[str, str] = dict(row.plans) if row is not None else {}
    inside: dict[str, Counter[str]] = defaultdict(Counter)
    for r in await store.live_counts(c):
        inside[r.journey][r.step or "at its beginning"] += r.n
    changes = []
    for journey in sorted({*old, *compiled.plans}):
        was = old.get(journey)
        will = compiled.plans[journey].hash if journey in compiled.plans else None
        kind = "new" if was is None else "gone" if will is None else "same" if was == will else "changed"
        changes.append(Change(journey, kind, was, will, tuple(sorted(inside[journey].items()))))
    return Changes(tuple(changes), await _shared(c, row, compiled) if row is not None else ())


async def _shared(c: Connection, row: Any, compiled: Compiled) -> tuple[tuple[str, str], ...]:
    """What journeys share that is other than in the deployment `row`."""
    bodies = _bodies(compiled)
    found = [(f"{kind}.yaml", "changed") for kind in FILES if digest(bodies[kind]) != getattr(row, kind)]
    if digest(bodies["templates"]) != row.templates:
        was, will = (
            {f"template {b['channel']}/{b['name']}": digest(b) for b in listed}
            for listed in ((await store.documents(c, [row.templates]))[row.templates], bodies["templates"])
        )
        for name in sorted(was.keys() | will.keys()):
            if was.get(name) != will.get(name):
                found.append((name, "new" if name not in was else "gone" if name not in will else "changed"))
    return tuple(found)


def _bodies(compiled: Compiled) -> dict[str, Any]:
    """The documents of a deployment besides its plans, by kind."""
    return {
        "policy": policy_to_json(compiled.policy),
        "tracking": compiled.tracking.to_json(),
        "segments": compiled.segments.to_json(),
        "templates": [t.to_json() for _, t in sorted(compiled.templates.items())],
    }


async def deploy(database: Database, compiled: Compiled, actor: str) -> tuple[int, Changes]:
    """Make `compiled` the deployed project. The deployment's id and what changed. Those inside finish on the plan they
    started with."""
    bodies = _bodies(compiled)
    hashes = {kind: digest(body) for kind, body in bodies.items()}
    async with transaction(database) as c:
        changes = await preview(c, compiled)
        await store.put_documents(c, [(hashes[kind], kind, body) for kind, body in bodies.items()])
        await store.put_documents(c, [(p.hash, "plan", plan_to_json(p)) for p in compiled.plans.values()])
        plans = {name: plan.hash for name, plan in compiled.plans.items()}
        number = await store.deploy(c, actor=actor, plans=plans, **hashes)
    return number, changes
