"""The fan-out of a broadcast, one page to a transaction: first the audience is found, then everybody in it is enrolled.

    hold the broadcast ─▶ look through the next customers ─▶ write down whom it is for ─▶ commit
    hold the broadcast ─▶ lock whose moment has come ─▶ enroll them through the door ─▶ strike them off ─▶ commit

A process that dies leaves a page undone or done: nobody is left out or enrolled twice, and whoever comes next goes on from there.
Source of the rules: authoring.md, "Entries".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from engine.authoring.model_segments import Segment
from engine.core.clock import zone as zone_named
from engine.core.incoming import Incoming
from engine.core.logical import LogicalClock
from engine.core.occasions import Anniversary
from engine.core.plan import Entry
from engine.core.wire import Json, load
from engine.delivery.deployment import Deployment, Needs
from engine.delivery.deployments import Deployments
from engine.delivery.people import People
from engine.delivery.selecting import Page, Selection
from engine.intake.dating import coming
from engine.intake.door import BATCH, Intake
from engine.intake.planning import plan_ahead, schedule_of
from engine.store import broadcast_people, broadcasts, customers, events, identities, memberships, selections
from engine.store.database import Connection, Database, now, transaction

SOURCE = "broadcast"
"""The source of what enrolls people: with a message id that names broadcast and customer, so that it counts once."""

GRACE = timedelta(minutes=5)
"""How late a broadcast by local time may begin and still reach those whose moment it is: later, their zone's time has
passed. Under a time scale it is `GRACE_SECONDS` of real time, where that is more."""

GRACE_SECONDS = 10

LOOKED_AT = 20
"""So many times as many customers as a page may find are looked at for it at the most."""

LOOK_SECONDS = 2.0
"""How often a broadcast to a segment looks whether it is known who is in it."""

GOES_ON, OVER = (False, 0.0), (True, 0.0)


@dataclass(slots=True)
class FanOut:
    """Fan-outs of one process."""

    database: Database
    deployments: Deployments
    intake: Intake
    clock: LogicalClock

    async def plan_ahead(self) -> int:
        """Plan what lies ahead; how many entries by schedule are deployed."""
        async with transaction(self.database) as c:
            return await plan_ahead(c, await self.deployments.current(c), self.clock)

    async def round(self, broadcast: int, turn: int) -> tuple[bool, float]:
        """The next page. (whether this turn is over, real seconds to wait before the next page). A turn is over when there
        is nothing to do now, or the broadcast was paused, cancelled or taken up by another turn."""
        return await self.intake.collision_free(partial(self._round, broadcast=broadcast, turn=turn))

    async def _round(self, c: Connection, *, broadcast: int, turn: int) -> tuple[bool, float]:
        row = await broadcasts.hold(c, broadcast)
        if row is None or row.state != "open" or row.turn != turn:
            return OVER
        deployment = await self.deployments.current(c)
        moment = await now(c)
        entry = load(Entry, row.entry)
        if not row.gathered:
            if row.kind == "segment" and not await memberships.is_worked_out(c, row.rule):
                return False, LOOK_SECONDS  # whoever moves until then moves in silence, and is found behind it
            await self._gather(c, deployment, row, entry, moment)
            return GOES_ON
        if row.pause > 0:
            return False, row.pause
        rate = (entry.options or {}).get("rate")
        ids = await broadcast_people.due(c, broadcast, moment, min(BATCH, max(1, int(rate))) if rate else BATCH)
        if ids:
            await self._enroll(c, deployment, row, entry, ids, moment, rate)
            return GOES_ON
        following = await broadcast_people.next_due(c, broadcast)
        if following is None and row.kind != "date":
            await broadcasts.close(c, [broadcast], "done", moment)
        else:
            await broadcasts.hand_back(c, broadcast, following)
        return OVER

    async def _gather(self, c: Connection, deployment: Deployment, row: Any, entry: Entry, moment: datetime) -> None:
        """Look through the next page of customers, and write down who is meant."""
        begun = row if row.until_id is not None else await broadcasts.begin(c, row.id, moment)
        began_at, until = begun.began_at, begun.until_id
        if row.kind == "date":
            found, last, over, skipped = await _dates(c, deployment, row, entry, until)
        else:
            late = began_at - max(GRACE, self.clock.logical_span(GRACE_SECONDS))
            found, last, over, skipped = await _audience(c, deployment, row, entry, until, began_at, late)
        await broadcast_people.put(c, found)
        await broadcasts.gathered(c, row.id, last, len(found), skipped, over=over)

    async def _enroll(
        self,
        c: Connection,
        deployment: Deployment,
        row: Any,
        entry: Entry,
        ids: Sequence[int],
        moment: datetime,
        rate: float | None,
    ) -> None:
        """Enroll these people, as far as their moment has come now that they are locked, and strike them off."""
        locked = await customers.lock(c, ids)
        planned = [p for p in await broadcast_people.of(c, [row.id], ids) if p.due_at <= moment]
        about = (await events.by_id(c, row.event_id)) if row.event_id is not None else None
        reached = await _reached(c, row, planned)
        batch = [
            _incoming(row, p, about)
            for p in sorted(planned, key=lambda p: (p.due_at, p.customer_id))
            if p.customer_id in locked and p.customer_id not in reached
        ]
        answers = await self.intake.accept_within(c, batch) if batch else []
        entered = sum(1 for a in answers if a.enrollments)
        again = await self._next_dates(c, deployment, row, entry, planned, moment) if row.kind == "date" else []
        staying = {r["customer_id"] for r in again}
        await broadcast_people.put(c, again)
        await broadcast_people.drop(c, [(row.id, p.customer_id) for p in planned if p.customer_id not in staying])
        refused = sum(1 for a in answers if not a.enrollments and not a.duplicate)
        await broadcasts.reached(c, row.id, entered, refused, len(planned) / rate if rate else 0.0)

    async def _next_dates(
        self, c: Connection, deployment: Deployment, row: Any, entry: Entry, planned: Sequence[Any], moment: datetime
    ) -> list[dict[str, Any]]:
        """When those who have just had their day have the next one."""
        rule = load(Anniversary, entry.options["date"])
        people = People(deployment, Needs(), moment)
        locked = await customers.lock(c, [p.customer_id for p in planned])
        found = []
        for p in planned:
            person = locked.get(p.customer_id)
            if person is None or person.erased_at is not None:
                continue
            following = coming(people, rule, p.customer_id, person.attributes, moment, after=p.occurrence)
            if following is not None:
                found.append(_row(row.id, p.customer_id, following.due, following.name))
        return found


async def _dates(
    c: Connection, deployment: Deployment, row: Any, entry: Entry, until: int
) -> tuple[list[dict[str, Any]], int, bool, int]:
    """Of the next customers who have a date: whose day comes when, the number up to which they were looked through, whether
    those were the last, and 0. Seen from when the entry was planned: whose day comes while they are looked for has it."""
    rule = load(Anniversary, entry.options["date"])
    looked = await broadcast_people.dated_page(c, row.after_id, until, BATCH, rule.attribute)
    people = People(deployment, Needs(), row.starts_at)
    found = []
    for person in looked:
        occasion = coming(people, rule, person.id, person.attributes, row.starts_at)
        if occasion is not None:
            found.append(_row(row.id, person.id, occasion.due, occasion.name))
    over = len(looked) < BATCH
    return found, until if over else looked[-1].id, over, 0


async def _audience(
    c: Connection, deployment: Deployment, row: Any, entry: Entry, until: int, began_at: datetime, late: datetime
) -> tuple[list[dict[str, Any]], int, bool, int]:
    """Of the next customers: who is in the audience, the number up to which they were looked through, whether those were the
    last, and for how many their zone's time was over before `late`. Spans of time are counted back from `began_at`, however long
    finding them takes."""
    condition = load(Segment, entry.options["audience"]).condition
    about = None
    if row.event_id is not None:
        event = await events.by_id(c, row.event_id)
        about = deployment.event_values(event.name, event.properties, event.occurred_at)
    last, over = await selections.window(c, row.after_id, until, LOOKED_AT * BATCH)
    asked = Selection(deployment, [condition], about)
    members, full = await asked.members(c, Page(after=row.after_id, until=last), began_at, BATCH)
    if full is not None:
        last, over = full, False
    people = People(deployment, Needs(), began_at)
    schedule = schedule_of(entry) if row.kind == "schedule" else None
    naive = datetime.fromisoformat(row.occurrence) if schedule is not None else None
    found, skipped = [], 0
    for customer, attributes in members:
        due = row.starts_at
        if schedule is not None and naive is not None:
            due = schedule.due(naive, zone_named(people.zone(customer, attributes)))
        if schedule is not None and schedule.timezone == "customer" and due < late:
            skipped += 1
        else:
            found.append(_row(row.id, customer, due, ""))
    return found, last, over, skipped


def _row(broadcast: int, customer: int, due: datetime, occurrence: str) -> dict[str, Any]:
    return {"broadcast_id": broadcast, "customer_id": customer, "due_at": due, "occurrence": occurrence}


async def _reached(c: Connection, row: Any, planned: Sequence[Any]) -> set[int]:
    """Those of `planned` whom this occurrence has reached already as somebody who has been merged into them since."""
    of = {p.customer_id: p for p in planned}
    before = {(SOURCE, _message(row, r.id, of[r.survivor])): r.survivor for r in await identities.followers(c, list(of))}
    return {before[name] for name in await events.known(c, sorted(before))}


def _message(row: Any, customer: int, planned: Any) -> str:
    """What makes an entry happen once. By date that is once for each occasion, whatever is deployed."""
    if row.kind == "date":
        return f"date/{row.journey}/{row.rule}/{customer}/{planned.occurrence}"
    return f"{row.id}/{customer}"


def _incoming(row: Any, planned: Any, about: Any) -> Incoming:
    """What enrolls one person. By date it is their own moment that counts; else it is when their turn comes."""
    properties: dict[str, Json] = {"occurrence": planned.occurrence or row.occurrence}
    if row.kind == "segment":
        properties["segment"] = row.rule
    return Incoming(
        "enroll",
        SOURCE,
        _message(row, planned.customer_id, planned),
        f"${row.kind}" if about is None else about.name,
        properties if about is None else about.properties,
        customer=planned.customer_id,
        occurred_at=planned.due_at if row.kind == "date" else None,
        journey=row.journey,
        depth=row.depth,
        way=row.kind,
        place=row.place,
    )
