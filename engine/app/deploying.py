"""Deploying: every document by its content hash, in one transaction. All of it takes effect or none, and what was shown is what
happens, because `release.looked_at` says both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from engine.app.release import KINDS, Change, Changes, Fate, Refused, Release, Wishes, looked_at, release_of
from engine.authoring.project import Compiled
from engine.core.wire import Json, digest
from engine.delivery.deployments import Deployments
from engine.intake.interpreting import meanings
from engine.intake.planning import refuse_past
from engine.store import audit, memberships, moves
from engine.store import deployments as store
from engine.store.database import Connection, Database, transaction

__all__ = ["Change", "Changes", "Fate", "Refused", "Release", "Wishes", "deploy", "preview", "put_in_force", "release_of"]

AS_IT_WAS = Wishes()
"""Those inside finish on the plan they started with."""

SHORTEST_HASH = 6
"""Characters that name a deployment at the least."""


class Overtaken(Refused):
    """Somebody else has deployed since the preview."""


class Stranded(Refused):
    """People wait in steps that the new plan doesn't have. `changes`: all that was looked at."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        told = [
            f"{journey}: {f.count} at {f.step!r} (enrollment {f.first}{' and others' if f.count > 1 else ''})"
            for journey, f in changes.stranded()
        ]
        journey, first = changes.stranded()[0]
        hint = f"say where they go on: --map {journey}.{first.step}=STEP; or let them finish: --strategy {journey}=pin"
        super().__init__(f"nothing was deployed: the new plan has no step for {'; '.join(told)}", hint)


@dataclass(frozen=True, slots=True)
class Deployed:
    """One deployment of the past, or the one in force. `changed`: what is other than with the one before it: journeys, by name
    with what became of them (`_became`), then the documents that journeys share."""

    number: int
    at: datetime
    actor: str
    act: str
    hash: str
    changed: tuple[tuple[str, str], ...]


async def preview(c: Connection, compiled: Compiled, wishes: Wishes = AS_IT_WAS) -> Changes:
    """What deploying `compiled` would change. Raises Refused."""
    return await looked_at(c, Deployments(), release_of(compiled), wishes)


async def deploy(database: Database, compiled: Compiled, actor: str, wishes: Wishes = AS_IT_WAS) -> tuple[int, Changes]:
    """Make `compiled` the deployed project. See `put_in_force`."""
    return await put_in_force(database, release_of(compiled), actor, wishes)


async def deploy_if_other(database: Database, compiled: Compiled, actor: str) -> Changes:
    """What `sojourn up` does with the files: `deploy`, unless they are what is in force already and something is on trial or
    takes nobody, which stays so. What it changed."""
    release = release_of(compiled)
    async with transaction(database) as c:
        row = await store.newest(c)
        trial = {journey: of["canary"] for journey, of in (row.rollout if row is not None else {}).items() if "canary" in of}
        if row is not None and row.rollout:
            plans = {name: plan.hash for name, plan in release.plans.items()}
            if {**row.plans, **trial} == plans and all(release.documents[k] == getattr(row, k) for k in KINDS):
                return Changes((), since=row.id)
    return (await put_in_force(database, release, actor))[1]


async def put_in_force(
    database: Database, release: Release, actor: str, wishes: Wishes = AS_IT_WAS, seen: Changes | None = None
) -> tuple[int, Changes]:
    """Make `release` the one in force: the deployment's number, and what it did. Where that is nothing, nothing is written, and
    the number is that of the deployment before. `seen`: what a person was shown before.

    Raises Overtaken where another deploy came after that, Stranded, other Refused, and PastSchedule where a journey would be sent
    once, at a time that is over. Who is to be moved is asked afterwards, by `intake.moving`."""
    deployments = Deployments()
    async with transaction(database) as c:
        changes = await looked_at(c, deployments, release, wishes)
        await store.lock(c)  # nobody enters from here on: what takes long comes before
        newest = await store.newest(c)
        if newest is not None and newest.id != (changes if seen is None else seen).since:
            if seen is not None:
                raise Overtaken(f"somebody else has deployed meanwhile (number {newest.id})", "look again")
            changes = await looked_at(c, deployments, release, wishes)
        if changes.stranded():
            raise Stranded(changes)
        if newest is not None and changes.nothing():
            return newest.id, changes
        await refuse_past(c, [release.plans[one.journey] for one in changes.journeys if one.kind in ("new", "changed")])
        await store.put_documents(c, release.bodies)
        plans = changes.plans()
        number = await store.deploy(
            c, actor=actor, act=release.act, plans=plans, rollout=changes.rollout(), **{k: release.documents[k] for k in KINDS}
        )
        await moves.give_up(c, plans)
        going = [one for one in changes.journeys if one.strategy == "migrate" and one.new is not None and one.old is not None]
        named = changes.named
        await moves.begin(c, number, [{"journey": g.journey, "plan": g.new, "named": named.get(g.journey, {})} for g in going])
        await memberships.begin(c, await meanings(c, await deployments.current(c)))
        await audit.note(c, actor, release.act.split()[0], [f"deployment/{number}"], _audited(release, changes))
    return number, changes


def _audited(release: Release, changes: Changes) -> dict[str, Any]:
    """What the log says of a deploy that was more than that."""
    other = {one.journey: one.strategy for one in changes.journeys if one.strategy != "pin" and one.new is not None}
    trial = {one.journey: one.canary for one in changes.journeys if one.canary is not None}
    said: dict[str, Any] = {"strategy": other, "canary": trial}
    if release.act.startswith("rollback"):
        said["to"] = int(release.act.split()[-1])
    return {name: value for name, value in said.items() if value}


async def promotion(c: Connection) -> Release:
    """What is on trial, for everybody. Raises Refused where nothing is."""
    row = await store.newest(c)
    trial = {journey: of["canary"] for journey, of in (row.rollout if row is not None else {}).items() if "canary" in of}
    if row is None or not trial:
        raise Refused("nothing is on trial", "`sojourn deploy --canary 10%` begins it")
    drained = {journey: of for journey, of in row.rollout.items() if journey not in trial}
    return replace(await _again(c, row, {**row.plans, **trial}), act="promote", rollout=drained)


async def earlier(c: Connection, which: str | None) -> Release:
    """What was in force with the deployment `which` (its number, or how its hash begins; None: the newest that was other than
    the one in force), without what was on trial then. Raises Refused."""
    rows = await store.listing(c, None)
    if len(rows) < 2:
        raise Refused("there is no earlier deployment to go back to", "`sojourn deployments` lists them")
    others = [r for r in rows[1:] if _content(r, _drained(r)) != hash_of(rows[0])]
    if which is None and not others:
        raise Refused(
            f"every earlier deployment is as the one in force (number {rows[0].id})", "`sojourn deployments` lists them"
        )
    row = others[0] if which is None else _named(rows, which)
    if row.id == rows[0].id:
        raise Refused(
            f"deployment {row.id} is the one in force: going back to it changes nothing", "`sojourn deployments` lists others"
        )
    told = f"back to deployment {row.id}, of {row.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, by {row.actor}"
    untried = tuple(sorted(journey for journey, of in row.rollout.items() if "canary" in of))
    then = await _again(c, row, row.plans)
    return replace(then, act=f"rollback to {row.id}", rollout=_drained(row), told=told, untried=untried)


def _named(rows: Sequence[Any], which: str) -> Any:
    """The deployment whose number is `which`, or whose hash begins so. Raises Refused."""
    found = [r for r in rows if which == str(r.id)]
    if not found and len(which) >= SHORTEST_HASH:
        found = [r for r in rows if hash_of(r).startswith(which.lower())]
        if len({hash_of(r) for r in found}) > 1:
            raise Refused(f"several deployments have a hash that begins with {which!r}", "write more of it")
    if not found:
        number = not which or which.isdecimal()
        short = len(which) < SHORTEST_HASH and not number and any(hash_of(r).startswith(which.lower()) for r in rows)
        hint = f"write at least {SHORTEST_HASH} characters of a hash; " if short else ""
        raise Refused(f"there is no deployment {which!r}", f"{hint}`sojourn deployments` lists numbers and hashes")
    return found[0]


async def _again(c: Connection, row: Any, plans: Mapping[str, str]) -> Release:
    known = Deployments()
    return Release({kind: getattr(row, kind) for kind in KINDS}, {name: await known.plan(c, h) for name, h in plans.items()})


async def history(c: Connection, limit: int) -> list[Deployed]:
    """The newest deployments, the one in force first."""
    rows = await store.listing(c, limit + 1)
    olders = [*rows[1:], *([None] if len(rows) <= limit else [])]
    return [Deployed(r.id, r.at, r.actor, r.act, hash_of(r), _changed(r, o)) for r, o in zip(rows, olders, strict=False)][:limit]


def hash_of(row: Any) -> str:
    """Of a deployment: the same whenever the same is in force."""
    return _content(row, row.rollout)


def _content(row: Any, rollout: Mapping[str, Json]) -> str:
    return digest([{kind: getattr(row, kind) for kind in KINDS}, row.plans, rollout])


def _drained(row: Any) -> dict[str, Json]:
    """Of a deployment's rollout: what outlasts it."""
    return {journey: of for journey, of in row.rollout.items() if "drained" in of}


def _changed(row: Any, older: Any) -> tuple[tuple[str, str], ...]:
    journeys = sorted({*row.plans, *(older.plans if older is not None else ())})
    found = [(journey, ", ".join(_became(journey, row, older))) for journey in journeys]
    shared = [(kind, "changed") for kind in KINDS if older is not None and getattr(row, kind) != getattr(older, kind)]
    return (*((journey, words) for journey, words in found if words), *shared)


def _became(journey: str, row: Any, older: Any) -> Iterator[str]:
    """What the deployment `row` made of a journey: `new`, `gone`, `changed`, `no longer on trial`, `10% on trial`,
    `takes nobody`, `takes people in again`; nothing where it went on as in `older` (None: there was none before)."""
    if journey not in row.plans:
        yield "gone"
        return
    said, before = row.rollout.get(journey, {}), older.rollout.get(journey, {}) if older is not None else {}
    if older is None or journey not in older.plans:
        yield "new"
    elif older.plans[journey] != row.plans[journey]:
        yield "changed"
    elif "canary" in before and "canary" not in said:
        yield "no longer on trial"
    if "canary" in said and said != before:
        yield f"{100 * said['share']:g}% on trial"
    if said.get("drained") and not before.get("drained"):
        yield "takes nobody"
    if before.get("drained") and not said.get("drained"):
        yield "takes people in again"
