"""`accept`: the one door. A batch comes in, one transaction takes it in, and on return it is on disk.

    resolve people ─▶ lock them (in id order) ─▶ store events once ─▶ one after the other in memory: profile, consents, holds,
    exits, goals, waits, entries ─▶ write everything in bulk ─▶ commit ─▶ the relay is told

Everything is read before and written after, in a handful of statements per batch; what happens between is in `happening`.
Nobody else writes inputs but the ends and releases in `store.enrollments`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import DBAPIError

from engine.authoring.expressions import Context
from engine.core.incoming import Accepted, Incoming
from engine.core.plan import Plan
from engine.core.wire import Json
from engine.delivery.deployment import Deployment
from engine.delivery.deployments import Deployments
from engine.delivery.people import People
from engine.delivery.queueing import requeue
from engine.intake import entering
from engine.intake.agreeing import until_confirmed
from engine.intake.happening import GOAL_REACHED, Happening
from engine.intake.person import Hold, Inside, Person
from engine.store import customers, enrollments, events, planned, refusals, tasks
from engine.store import relay as relay_store
from engine.store.database import Connection, Database, collided, now, run, transaction

BATCH = 500
"""Incomings per transaction at the most; longer batches take several, in order."""

COUNTED = {"day": timedelta(days=2), "week": timedelta(days=9), "month": timedelta(days=33)}
"""How far back from an event the calendar period may begin whose entries a limit counts, in any zone."""

COLLISIONS = 5
"""How often a transaction is tried that collides with another."""


@dataclass(slots=True)
class Intake:
    """The door of one process."""

    database: Database
    deployments: Deployments

    async def accept(self, batch: list[Incoming]) -> list[Accepted]:
        """Take `batch` in. One answer per item, in order; a `message_id` that its source has used before changes nothing."""
        answers: list[Accepted] = []
        for i in range(0, len(batch), BATCH):
            answers += await self._accept_part(batch[i : i + BATCH])
        return answers

    async def _accept_part(self, part: Sequence[Incoming]) -> list[Accepted]:
        """One transaction; run again where PostgreSQL gave it up in favour of another."""
        for attempt in range(1, COLLISIONS + 1):
            try:
                async with transaction(self.database) as c:
                    return await self._accept(c, part)
            except DBAPIError as error:
                if attempt == COLLISIONS or not collided(error):
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _accept(self, c: Connection, batch: Sequence[Incoming]) -> list[Accepted]:
        owners = await _resolve(c, batch)
        locked = await customers.lock(c, owners)
        moment = await now(c)
        deployment = await self.deployments.current(c)
        checked = [
            deployment.checked(i) if o in locked else (i, f"there is no customer {o}") for o, i in zip(owners, batch, strict=True)
        ]
        refused = [(i, why) for i, (_, why) in zip(batch, checked, strict=True) if why]
        await events.quarantine(c, [_quarantined(i, why, moment) for i, why in refused])
        taken = [(owner, incoming, why) for owner, (incoming, why) in zip(owners, checked, strict=True)]
        taken = await until_confirmed(c, deployment.policy, taken, moment)
        stored = await events.insert(c, _event_rows(taken, moment))
        happening = await self._open(c, deployment, locked, [(o, i) for o, i, why in taken if not why], stored, moment)
        answers = []
        for owner, incoming, why in taken:
            if why:
                answers.append(Accepted(owner, quarantined=why))
                continue
            event_id = stored.pop((incoming.source, incoming.message_id), None)
            if event_id is None:
                answers.append(Accepted(owner, duplicate=True))
                continue
            started = happening.take(happening.people[owner], incoming, event_id)
            answers.append(Accepted(owner, enrollments=tuple(started)))
        await _write(c, happening, moment)
        if happening.consequences:
            await self._accept(c, happening.consequences)
        return answers

    async def _open(
        self,
        c: Connection,
        deployment: Deployment,
        locked: dict[int, Any],
        taken: Sequence[tuple[int, Incoming]],
        stored: dict[tuple[str, str], int],
        moment: datetime,
    ) -> Happening:
        """Read what this batch can concern."""
        fresh = [(o, i) for o, i in taken if (i.source, i.message_id) in stored and not i.history]
        ids = sorted({o for o, _ in fresh})
        live = await enrollments.of_customers(c, ids) if ids else []
        plans: dict[str, Plan] = {r.plan: await self.deployments.plan(c, r.plan) for r in live}
        entries = deployment.entries_for({i.name for _, i in fresh}, {i.journey for _, i in fresh if i.kind == "enroll"})
        everyone = [*plans.values(), *entries]
        facts = await People.load(c, deployment, ids, deployment.needs(*everyone), moment)
        candidates = []
        for owner, incoming in fresh:
            for plan in entries:
                candidates += [(owner, plan.journey, k) for k in entering.keys(plan, incoming)]
        earlier = await enrollments.earlier(c, sorted(set(candidates)))
        open_holds = await customers.holds(c, ids, moment) if deployment.policy.holds and ids else []
        people = {i: Person(i, dict(r.attributes), r.erased_at is not None) for i, r in locked.items()}
        for r in live:
            people[r.customer_id].enrollments.append(Inside.of(r))
        for r in open_holds:
            if r.closed_at is None:
                people[r.customer_id].holds.append(
                    Hold(r.name, r.key, tuple(r.pause), r.opened_at, r.until, r.enrollment_id, r.id)
                )
        fresh_ids = await enrollments.new_ids(c, len(candidates)) if candidates else []
        happening = Happening(
            deployment, plans, facts, people, earlier, iter(fresh_ids), moment, self.deployments.cares(GOAL_REACHED)
        )
        if candidates and (limits := [one for one in deployment.policy.limits if one.entries is not None]):
            since = min(min(i.occurred_at or moment, moment) for _, i in fresh) - max(COUNTED[one.per] for one in limits)
            for r in await enrollments.entered(c, sorted({o for o, _, _ in candidates}), since):
                happening.entered.setdefault(r.customer_id, []).append((r.journey, r.entered_at))
        claims = _claims(happening, entries, fresh)
        for r in await enrollments.shared(c, claims) if claims else ():
            happening.shared[(r.journey, r.once, r.key)] = (r.entered_at, r.live)
        return happening


def _claims(happening: Happening, entries: Sequence[Plan], fresh: Sequence[tuple[int, Incoming]]) -> list[tuple[str, str]]:
    """Every (journey, `once_per` value) that somebody of this batch may enter for; traits of the same batch count."""
    found = set()
    attributes = {p.id: dict(p.attributes) for p in happening.people.values()}
    for owner, incoming in fresh:
        attributes[owner] |= incoming.traits
        for plan in entries:
            for entry in plan.entries:
                if entry.once_per is None:
                    continue
                event = happening.deployment.event_values(incoming.name, dict(incoming.properties), happening.now)
                facts = {**attributes[owner], "id": owner}
                context = Context(
                    customer=happening.deployment.attribute_values(facts), now=happening.now, entry=event, event=event
                )
                once = entering.claim(happening.deployment, entry, context)
                if once is not None:
                    found.add((plan.journey, once))
    return sorted(found)


Identifier = tuple[str, str]
"""(kind, value)."""


async def _resolve(c: Connection, batch: Sequence[Incoming]) -> list[int]:
    """The customer of each item. People who are new come into being; an anonymous one is joined to the known one named with it.
    Two who are known already are never merged here."""
    named: list[list[Identifier]] = [[(k, v) for k, v in i.identifiers.items() if v] for i in batch]
    everyone = sorted({pair for pairs in named for pair in pairs})
    found = await customers.find(c, everyone)
    strangers = _strangers([p for p, i in zip(named, batch, strict=True) if i.customer is None], found)
    if strangers:
        await customers.create(c, strangers)
        found = await customers.find(c, everyone)
    owners: list[int] = []
    links: dict[Identifier, int] = {}
    for incoming, pairs in zip(batch, named, strict=True):
        owner = incoming.customer if incoming.customer is not None else next(found[p] for p in pairs if p in found)
        owners.append(owner)
        for pair in pairs:
            if pair not in found:
                links.setdefault(pair, owner)
    await customers.add_identifiers(c, [(k, v, i) for (k, v), i in links.items()])
    return owners


def _strangers(named: Sequence[Sequence[Identifier]], found: Mapping[Identifier, int]) -> list[list[Identifier]]:
    """The new people of a batch, each with all identifiers that some item names together."""
    groups: dict[Identifier, list[Identifier]] = {}
    for pairs in named:
        if any(p in found for p in pairs):
            continue
        group = list(dict.fromkeys(q for p in pairs for q in groups.get(p, [p])))
        for pair in group:
            groups[pair] = group
    return list({id(group): group for group in groups.values()}.values())


def _event_rows(taken: Sequence[tuple[int, Incoming, str]], moment: datetime) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for owner, incoming, why in taken:
        if why:
            continue
        at = incoming.occurred_at or moment
        body: Json = dict(incoming.properties) if incoming.kind in ("track", "enroll") else dict(incoming.traits)
        rows.setdefault(
            (incoming.source, incoming.message_id),
            {
                "source": incoming.source,
                "message_id": incoming.message_id,
                "customer_id": owner,
                "name": incoming.name or f"${incoming.kind}",
                "properties": body,
                "depth": incoming.depth,
                "occurred_at": min(at, moment),
                "accepted_at": moment,
            },
        )
    return list(rows.values())


def _quarantined(incoming: Incoming, why: str, moment: datetime) -> dict[str, Any]:
    body = {
        "kind": incoming.kind,
        "message_id": incoming.message_id,
        "name": incoming.name,
        "identifiers": dict(incoming.identifiers),
        "properties": dict(incoming.properties),
        "traits": dict(incoming.traits),
        "occurred_at": incoming.occurred_at,
    }
    return {"source": incoming.source, "at": moment, "reason": why, "body": body}


async def _write(c: Connection, h: Happening, moment: datetime) -> None:
    """Everything that happened, in bulk. Ends come before new enrollments, because a restart needs the old one ended."""
    await customers.write_attributes(c, {p.id: p.attributes for p in h.people.values() if p.changed})
    await customers.add_consents(c, h.consents)
    await customers.suppress(c, h.suppressions)
    await enrollments.reach_goals(c, h.goals)
    await tasks.complete(c, h.tasks_done, moment)
    await enrollments.end(c, h.ends, close_tasks=True)
    await enrollments.insert(c, h.begun)
    await refusals.add(c, h.refused)
    await planned.register(c, list(h.planned.values()))
    await enrollments.append_inputs(c, h.inputs)
    await customers.open_holds(c, [hold.row(p.id) for p in h.people.values() for hold in p.holds if hold.id is None])
    closed = [(p.id, hold) for p in h.people.values() for hold in p.holds if hold.id is not None and hold.closed_at is not None]
    if closed:
        await customers.close_holds(c, [hold.id for _, hold in closed if hold.id is not None], moment)
    moved = h.moved()
    await enrollments.wake_deferred(c, [*((owner, hold.pause) for owner, hold in closed), *((owner, None) for owner in moved)])
    await requeue(c, h.deployment, h.freed(), moment)
    if h.begun or h.inputs or h.ends or closed or moved:
        await run(c, "select pg_notify(:channel, '')", channel=relay_store.CHANNEL)
