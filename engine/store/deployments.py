"""What is deployed: immutable documents by content hash, the newest deployment, and which plan each journey enrolls into.

A deploy is one transaction: all of it takes effect or none. Plans stay for as long as an enrollment needs them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy.engine import Row

from engine.core.wire import Json
from engine.store.database import Connection, Database, collision_free, fetch, rows, run

T = TypeVar("T")

CHANNEL = "sojourn_deployments"
"""PostgreSQL NOTIFY channel on which a deploy says that there is a new one."""

DEPLOY_LOCK = 7_235_772
"""Advisory lock under which one deploy happens at a time; who follows a deployment shares it (`following_one`)."""


async def following_one(database: Database, do: Callable[[Connection], Awaitable[T]], *, dry_run: bool = False) -> T:
    """What `do` gives, in one collision-free transaction during which no deploy happens: it follows one deployment from
    beginning to end, and the next one finds whom it created. See `collision_free`."""

    async def held(c: Connection) -> T:
        await run(c, "select pg_advisory_xact_lock_shared(:n)", n=DEPLOY_LOCK)  # before any other lock, as a deploy takes it
        return await do(c)

    return await collision_free(database, held, dry_run=dry_run)


async def put_documents(c: Connection, documents: Sequence[tuple[str, str, Json]]) -> None:
    """Store documents (hash, kind, body); those that are there stay as they are."""
    await run(
        c,
        "insert into documents (hash, kind, body) select hash, kind, body from "
        "jsonb_to_recordset(cast(:rows as jsonb)) as r(hash text, kind text, body jsonb) on conflict do nothing",
        rows=rows({"hash": h, "kind": k, "body": b} for h, k, b in documents),
    )


async def documents(c: Connection, hashes: Sequence[str]) -> dict[str, Json]:
    """Hash → body, for those that exist."""
    found = await fetch(c, "select hash, body from documents where hash = any(cast(:hashes as text[]))", hashes=list(hashes))
    return {r.hash: r.body for r in found}


async def lock(c: Connection) -> None:
    """Let no other deploy happen, and nobody enter or go on by the deployment in force, until this transaction ends."""
    await run(c, "select pg_advisory_xact_lock(:n)", n=DEPLOY_LOCK)


async def deploy(
    c: Connection,
    *,
    actor: str,
    act: str,
    policy: str,
    tracking: str,
    segments: str,
    templates: str,
    plans: Mapping[str, str],
    rollout: Mapping[str, Json],
) -> int:
    """Make these documents (by hash) the deployed ones, `plans` being journey → plan hash, `rollout` what is in force beside that
    (journey → {"drained": true} or {"canary": plan hash, "share": of new entries}). Journeys that aren't named keep running but
    enroll nobody. The caller holds `lock`. The deployment's id."""
    found = await fetch(
        c,
        "insert into deployments (at, actor, act, policy, tracking, segments, templates, plans, rollout) values "
        "(clock_timestamp(), :actor, :act, :policy, :tracking, :segments, :templates, cast(:plans as jsonb), "
        "cast(:rollout as jsonb)) returning id",
        actor=actor,
        act=act,
        rollout=rows([dict(rollout)])[1:-1],
        policy=policy,
        tracking=tracking,
        segments=segments,
        templates=templates,
        plans=rows([dict(plans)])[1:-1],
    )
    await run(
        c,
        "insert into journeys (name, plan) "
        "select name, plan from jsonb_to_recordset(cast(:rows as jsonb)) as r(name text, plan text) "
        "on conflict (name) do update set plan = excluded.plan",
        rows=rows({"name": n, "plan": h} for n, h in plans.items()),
    )
    await run(c, "select pg_notify(:channel, '')", channel=CHANNEL)
    return int(found[0].id)


async def newest(c: Connection) -> Row[Any] | None:
    """The deployment in force, as `listing` has it. None before the first."""
    found = await listing(c, 1)
    return found[0] if found else None


async def listing(c: Connection, limit: int | None) -> list[Row[Any]]:
    """The newest deployments, at most `limit` (None: all): id, at, actor, act, policy, tracking, segments, templates, plans,
    rollout."""
    return await fetch(
        c,
        "select id, at, actor, act, policy, tracking, segments, templates, plans, rollout from deployments order by id desc "
        "limit :n",
        n=limit,
    )


async def needed_plans(c: Connection) -> list[str]:
    """Hashes of the plans that somebody may be inside of: `plans_inside`, and those of the deployment before, by which somebody
    may be entering at this moment."""
    before = await fetch(
        c,
        "select p.value from (select plans from deployments order by id desc limit 2) d, jsonb_each_text(d.plans) p union "
        "select r.value ->> 'canary' from (select rollout from deployments order by id desc limit 2) d, jsonb_each(d.rollout) r "
        "where r.value ? 'canary'",
    )
    return sorted({*await plans_inside(c), *(r[0] for r in before)})


async def plans_inside(c: Connection) -> list[str]:
    """Hashes of the deployed plans and of those of everyone still inside, who are found by their cohorts, of which there are five
    hundred times fewer than enrollments."""
    found = await fetch(
        c,
        "select plan from cohorts where open union select k.plan from cohorts k "
        "where exists (select 1 from enrollments e where e.cohort_id = k.id and e.status <> 'ended') "
        "union select plan from enrollments where cohort_id is null and status <> 'ended' "
        "union select plan from journeys union select r.value ->> 'canary' from "
        "(select rollout from deployments order by id desc limit 1) d, jsonb_each(d.rollout) r where r.value ? 'canary'",
    )
    return [r[0] for r in found]


async def journeys(c: Connection) -> list[str]:
    """The names of all journeys that were ever deployed."""
    return [r.name for r in await fetch(c, "select name from journeys order by name")]


async def live_counts(c: Connection) -> list[Row[Any]]:
    """How many live or parked enrollments stand at each step of each plan: journey, plan, step, status, n, and the lowest
    number among them (`first`)."""
    return await fetch(
        c,
        "select journey, plan, coalesce(step, '') as step, status, count(*) as n, min(id) as first from enrollments "
        "where status <> 'ended' group by 1, 2, 3, 4 order by 1, 2, 3, 4",
    )
