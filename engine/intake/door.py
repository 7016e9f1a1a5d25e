"""`accept`: the one door. A batch comes in, one transaction takes it in, and on return it is on disk.

    resolve people ─▶ lock them (in id order) ─▶ store events once ─▶ one after the other in memory: profile, consents, holds,
    exits, goals, waits, entries ─▶ write everything in bulk ─▶ commit ─▶ the relay is told

Everything is read before and written after, in a handful of statements per batch; what happens between is in `happening`.
Nobody else writes inputs but the ends and releases in `store.enrollments`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from engine.core.incoming import Accepted, Incoming
from engine.core.plan import Plan
from engine.core.wire import Json
from engine.delivery import interpretation
from engine.delivery.deployment import Deployment
from engine.delivery.deployments import Deployments
from engine.delivery.people import People
from engine.delivery.queueing import requeue
from engine.intake import commanded, entering, kept, merging, resting
from engine.intake.agreeing import Taken, until_confirmed
from engine.intake.dating import replan
from engine.intake.forgetting import NOT_KEPT, bare
from engine.intake.happening import GOAL_REACHED, Happening
from engine.intake.interpreting import Touches, interpret
from engine.intake.joining import Join
from engine.intake.keeping import follow
from engine.intake.merging import Merged
from engine.intake.outdated import without_outdated
from engine.intake.person import Hold, Inside, Person
from engine.intake.resolving import resolve
from engine.intake.unknown import Unknown
from engine.observe import metrics, tracing
from engine.store import (
    audit,
    broadcasts,
    customers,
    enrollments,
    events,
    identities,
    memberships,
    planned,
    quarantine,
    refusals,
    tasks,
)
from engine.store import deployments as store
from engine.store import entries as entry_store
from engine.store.database import Connection, Database, now

BATCH = 500
"""Incomings per transaction at the most; longer batches take several, in order."""

COUNTED = {"day": timedelta(days=2), "week": timedelta(days=9), "month": timedelta(days=33)}
"""How far back from an event the calendar period may begin whose entries a limit counts, in any zone."""

PROPERTIES = ("track", "enroll", "alias", "merge")
"""Kinds of which the event's body is what `properties` say; of the others it is `traits`."""

T = TypeVar("T")


@dataclass(slots=True)
class Intake:
    """The door of one process."""

    database: Database
    deployments: Deployments
    unknown: Unknown = field(default_factory=Unknown)

    async def accept(self, batch: list[Incoming]) -> list[Accepted]:
        """Take `batch` in. One answer per item, in order; a `message_id` that its source has used before changes nothing."""
        answers: list[Accepted] = []
        for i in range(0, len(batch), BATCH):
            part = batch[i : i + BATCH]
            traces = {one.trace for one in part if one.trace is not None}
            with metrics.INTAKE.time(), tracing.span("intake.accept", traces=traces, events=len(part)):
                answers += await self.collision_free(partial(self._accept, batch=part))
        return answers

    async def accept_with(
        self, batch: Sequence[Incoming], also: Callable[[Connection, Sequence[Accepted]], Awaitable[None]]
    ) -> list[Accepted]:
        """The same for at most `BATCH`, and `also`, which is given the answers, in the same transaction."""

        async def do(c: Connection) -> list[Accepted]:
            answers = await self._accept(c, batch)
            await also(c, answers)
            return answers

        return await self.collision_free(do)

    async def accept_within(self, c: Connection, batch: Sequence[Incoming]) -> list[Accepted]:
        """The same within the caller's transaction, at most `BATCH`: taken in when that commits, together with what else it
        does."""
        return await self._accept(c, batch)

    async def merge(self, kept: int, gone: int, actor: str, *, dry_run: bool = False) -> Merged:
        """Make customer `gone` part of `kept`, whatever policy says. `dry_run`: only say what it would do. Raises CantMerge."""

        async def do(c: Connection) -> Merged:
            stays, goes = await commanded.lock_two(c, kept, gone)
            (made,) = await merging.merge(c, self.deployments, [Join(goes, stays, "command")], actor, await now(c))
            return await self._acted(c, made, "merge", actor)

        return await self.collision_free(do, dry_run=dry_run)

    async def unmerge(self, number: int, actor: str, *, dry_run: bool = False) -> Merged:
        """Take the merge `number` back. `dry_run`: only say what it would do. Raises CantMerge."""

        async def do(c: Connection) -> Merged:
            found = await commanded.lock_merge(c, number)
            return await self._acted(c, await merging.undo(c, found, actor, await now(c)), "unmerge", actor)

        return await self.collision_free(do, dry_run=dry_run)

    async def _acted(self, c: Connection, done: Merged, act: str, actor: str) -> Merged:
        await self._accept(c, done.events)
        subjects = [f"customer/{i}" for i in (done.kept, done.gone)]
        await audit.note(c, actor, act, subjects, {"merge": done.id})
        return done

    async def collision_free(self, do: Callable[[Connection], Awaitable[T]], *, dry_run: bool = False) -> T:
        """`do` in one transaction that follows one deployment (see `store.deployments.following_one`)."""
        return await store.following_one(self.database, do, dry_run=dry_run)

    async def _accept(self, c: Connection, batch: Sequence[Incoming]) -> list[Accepted]:
        deployment = await self.deployments.current(c)
        checked = [deployment.checked(i) for i in batch]
        who = await resolve(c, deployment.policy.identity, checked)
        moment = await now(c)
        merged: list[Merged] = []
        locked = dict(who.people)
        if who.joins:
            await enrollments.lock_all(c, sorted(who.people))  # those of the whole batch, in order, before any of them moves
            merged = await merging.merge(c, self.deployments, who.joins, "intake", moment)
            locked = await customers.lock(c, [i for i in who.owners if i])
        items = [
            (owner, incoming, why or who.refused.get(n, "") or ("" if owner in locked else f"there is no customer {owner}"))
            for n, (owner, (incoming, why)) in enumerate(zip(who.owners, checked, strict=True))
        ]
        for n, (owner, incoming, why) in enumerate(items):
            if n in who.forgotten or (owner in locked and locked[owner].erased_at is not None):
                items[n] = (owner, bare(incoming), NOT_KEPT if why or n in who.forgotten else "")
        refused = [(i, why) for i, (_, _, why) in zip(batch, items, strict=True) if why and why != NOT_KEPT]
        await quarantine.add(c, [kept.row(i, why, moment) for i, why in refused])
        for incoming, why in checked:
            if not why:
                self.unknown.look(deployment, incoming)
        told: list[Taken] = [(m.kept, event, "") for m in merged if m.kept in locked for event in m.events]
        taken = await until_confirmed(c, deployment.policy, [*told, *items], moment)
        new = _event_rows(taken, moment)
        stored = await events.insert(c, new)
        fresh = {
            stored[r["source"], r["message_id"]]: (r["customer_id"], r["name"])
            for r in new
            if (r["source"], r["message_id"]) in stored and locked[r["customer_id"]].erased_at is None
        }
        await follow(c, deployment, fresh, moment)
        taken, former = await without_outdated(c, taken, moment)
        live = {o for o, i, _ in taken if not i.history}
        happening = await self._open(c, deployment, locked, [(o, i) for o, i, why in taken if not why], live, stored, moment)
        for owner, kind, address in former:
            happening.people[owner].addresses.append((kind, address))
        answers = []
        by_token: dict[str, list[int]] = {}
        for owner, incoming, why in taken:
            if why:
                answers.append(Accepted(owner, quarantined=why, erased=why == NOT_KEPT))
                continue
            event_id = stored.pop((incoming.source, incoming.message_id), None)
            if event_id is None:
                answers.append(Accepted(owner, duplicate=True))
                continue
            if incoming.trace is not None:
                happening.traces[event_id] = incoming.trace
            started = happening.take(happening.people[owner], incoming, event_id)
            answers.append(Accepted(owner, enrollments=tuple(started)))
            if incoming.kind == "enroll" and incoming.source.startswith("token/"):
                by_token.setdefault(incoming.source, []).extend(started)
        await _write(c, happening, moment)
        for actor, started in by_token.items():  # one, in practice: a call of the API has one token
            await audit.note(c, actor, "enroll", [f"enrollment/{i}" for i in started], {})
        moved = await interpret(c, deployment, happening.touches.wanted, moment)
        if happening.consequences or moved:
            await self._accept(c, [*happening.consequences, *moved])
        return answers[len(told) :]

    async def _open(
        self,
        c: Connection,
        deployment: Deployment,
        locked: dict[int, Any],
        taken: Sequence[tuple[int, Incoming]],
        live_people: Collection[int],
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
        earlier = await entry_store.earlier(c, sorted(set(candidates)))
        open_holds = await customers.holds(c, ids, moment) if deployment.policy.holds and ids else []
        people = {i: Person(i, dict(r.attributes), r.erased_at is not None) for i, r in locked.items()}
        for r in live:
            people[r.customer_id].enrollments.append(Inside.of(r))
        for r in open_holds:
            if r.closed_at is None:
                people[r.customer_id].holds.append(
                    Hold(r.name, r.key, tuple(r.pause), r.opened_at, r.until, r.enrollment_id, r.id)
                )
        fresh_ids = await entry_store.new_ids(c, len(candidates)) if candidates else []
        touches = Touches(interpretation.of(deployment))
        newcomers = await memberships.newcomers(c, sorted(people)) if touches.interpretation.names else set()
        touches.came(newcomers, live_people)
        happening = Happening(
            deployment,
            plans,
            facts,
            people,
            earlier,
            iter(fresh_ids),
            moment,
            touches,
            frozenset(newcomers),
            self.deployments.cares(GOAL_REACHED),
        )
        if candidates and (limits := [one for one in deployment.policy.limits if one.entries is not None]):
            since = min(min(i.occurred_at or moment, moment) for _, i in fresh) - max(COUNTED[one.per] for one in limits)
            for r in await entry_store.entered(c, sorted({o for o, _, _ in candidates}), since):
                happening.entered.setdefault(r.customer_id, []).append((r.journey, r.entered_at))
        claims = entering.claims(facts, people, entries, fresh)
        for r in await entry_store.shared(c, claims) if claims else ():
            happening.shared[(r.journey, r.once, r.key)] = (r.entered_at, r.live)
        return happening


def _event_rows(taken: Sequence[tuple[int, Incoming, str]], moment: datetime) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for owner, incoming, why in taken:
        if why:
            continue
        at = incoming.occurred_at or moment
        body: Json = dict(incoming.properties) if incoming.kind in PROPERTIES else dict(incoming.traits)
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


def _traced(h: Happening, items: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    """`items` with the trace of the event that each of them names."""
    return [{**item, "trace": h.traces.get(item[event])} for item in items] if h.traces else items


async def _write(c: Connection, h: Happening, moment: datetime) -> None:
    """Everything that happened, in bulk. Ends come before new enrollments, because a restart needs the old one ended."""
    await customers.write_attributes(c, {p.id: p.attributes for p in h.people.values() if p.changed})
    await identities.release(c, h.released())
    await customers.add_consents(c, h.consents)
    complaints = await customers.complaints_that_count(c, h.complaints)
    await customers.suppress(c, h.suppressions)
    await customers.unstop(c, h.releases)
    await enrollments.reach_goals(c, h.goals)
    await tasks.complete(c, h.tasks_done, moment)
    await enrollments.end(c, h.ends, close_tasks=True)
    await enrollments.insert(c, _traced(h, h.begun, "entry_event"))
    await refusals.add(c, h.refused)
    await planned.register(c, list(h.planned.values()))
    await enrollments.append_inputs(c, _traced(h, h.inputs, "event_id"))
    await broadcasts.plan(c, h.broadcasts, moment)
    await replan(c, h, moment)
    await customers.open_holds(c, [hold.row(p.id) for p in h.people.values() for hold in p.holds if hold.id is None])
    closed = [(p.id, hold) for p in h.people.values() for hold in p.holds if hold.id is not None and hold.closed_at is not None]
    if closed:
        await customers.close_holds(c, [hold.id for _, hold in closed if hold.id is not None], moment)
    moved = h.moved()
    await enrollments.wake_deferred(c, [*((owner, hold.pause) for owner, hold in closed), *((owner, None) for owner in moved)])
    await requeue(c, h.deployment, h.freed(), moment)
    if complaints:
        await resting.complained(c, complaints)
    if h.broadcasts:
        await broadcasts.tell(c)
    if h.begun or h.inputs or h.ends or closed or moved:
        await enrollments.tell_relay(c)
