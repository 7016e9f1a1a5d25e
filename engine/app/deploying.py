"""Deploying a compiled project: every document by its content hash, in one transaction. All of it takes effect or none."""

from __future__ import annotations

from dataclasses import dataclass

from engine.authoring.project import Compiled
from engine.core.plan import plan_to_json
from engine.core.policy import policy_to_json
from engine.core.wire import digest
from engine.store import deployments as store
from engine.store.database import Connection, Database, transaction


@dataclass(frozen=True, slots=True)
class Change:
    """What a deploy does to one journey: `new`, `changed`, `same` or `gone` (enrolls nobody any more); how many are inside,
    by step."""

    journey: str
    kind: str
    old: str | None
    new: str | None
    inside: tuple[tuple[str, int], ...] = ()


async def preview(c: Connection, compiled: Compiled) -> list[Change]:
    """What deploying `compiled` would change, by journey."""
    row = await store.newest(c)
    old: dict[str, str] = dict(row.plans) if row is not None else {}
    inside: dict[str, list[tuple[str, int]]] = {}
    for r in await store.live_counts(c):
        inside.setdefault(r.journey, []).append((r.step or "at its beginning", r.n))
    changes = []
    for journey in sorted({*old, *compiled.plans}):
        was = old.get(journey)
        will = compiled.plans[journey].hash if journey in compiled.plans else None
        kind = "new" if was is None else "gone" if will is None else "same" if was == will else "changed"
        changes.append(Change(journey, kind, was, will, tuple(inside.get(journey, ()))))
    return changes


async def deploy(database: Database, compiled: Compiled, actor: str) -> tuple[int, list[Change]]:
    """Make `compiled` the deployed project. The deployment's id and what changed. Those inside finish on the plan they
    started with."""
    bodies = {
        "policy": policy_to_json(compiled.policy),
        "tracking": compiled.tracking.to_json(),
        "segments": compiled.segments.to_json(),
        "templates": [t.to_json() for _, t in sorted(compiled.templates.items())],
    }
    hashes = {kind: digest(body) for kind, body in bodies.items()}
    async with transaction(database) as c:
        changes = await preview(c, compiled)
        await store.put_documents(c, [(hashes[kind], kind, body) for kind, body in bodies.items()])
        await store.put_documents(c, [(p.hash, "plan", plan_to_json(p)) for p in compiled.plans.values()])
        plans = {name: plan.hash for name, plan in compiled.plans.items()}
        number = await store.deploy(c, actor=actor, plans=plans, **hashes)
    return number, changes
