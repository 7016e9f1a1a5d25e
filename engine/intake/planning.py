"""Planning: which occurrences of schedules lie ahead, and which entries by date are in force, as the deployment says.

Runs after each deploy and then every hour. Everything here may be done again at any time: an occurrence is planned once,
whoever plans it, and one that nobody began in time is said to be missed rather than made up for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from engine.core.logical import LogicalClock
from engine.core.occasions import Schedule, occurrences
from engine.core.plan import Entry, Plan
from engine.core.wire import dump, load
from engine.delivery.deployment import Deployment
from engine.intake.dating import rule_of, standing
from engine.store import broadcasts
from engine.store.database import Connection, now

AHEAD = timedelta(hours=26)
"""How far ahead occurrences are planned; also between two hourly rounds under a time scale (`PLAN_SECONDS`)."""

PLAN_SECONDS = 3_600
LATE = timedelta(hours=1)
"""An occurrence that nobody began for so long after its last moment anywhere is missed …"""

LATE_SECONDS = 60
"""… but not before so much real time has passed, whatever the time scale."""


class PastSchedule(Exception):
    """A journey would be deployed whose only occurrence is over. The message says which, and what to do."""


async def plan_ahead(c: Connection, deployment: Deployment, clock: LogicalClock) -> int:
    """Bring planned broadcasts in line with the deployment; how many entries by schedule it has."""
    await broadcasts.lock_planning(c)
    moment = await now(c)
    until = moment + max(AHEAD, 2 * clock.logical_span(PLAN_SECONDS))
    late = moment - max(LATE, clock.logical_span(LATE_SECONDS))
    wanted = [*_occurrences(deployment, late, until), *_dates(deployment, moment), *_members(deployment, moment)]
    keys = {(w["journey"], w["kind"], w["rule"], w["occurrence"]): w for w in wanted}
    there = {(r.journey, r.kind, r.rule, r.occurrence): r for r in await broadcasts.unbegun(c)}
    unwanted = [r for k, r in there.items() if k not in keys]
    missed = [r.id for r in unwanted if r.kind == "schedule" and r.starts_at <= late and r.state == "open"]
    await broadcasts.close(c, [r.id for r in unwanted if r.kind == "date"], "done", moment)
    await broadcasts.miss(c, missed, moment)
    await broadcasts.withdraw(c, [r.id for r in unwanted if r.kind == "schedule" and r.starts_at > late])
    await broadcasts.redefine(c, [{**keys[k], "id": r.id} for k, r in there.items() if k in keys])
    await broadcasts.plan(c, [w for k, w in keys.items() if k not in there], moment)
    return len(deployment.scheduled)


def _occurrences(deployment: Deployment, since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
    for plan, place in deployment.scheduled:
        entry = plan.entries[place]
        for name, first in occurrences(schedule_of(entry), since, until):
            if deployment.admits(plan, first):
                yield _item(plan, place, "schedule", name, first)


def _dates(deployment: Deployment, moment: datetime) -> Iterator[dict[str, Any]]:
    for plan, place, _ in deployment.dated:
        if plan.status == "live":
            yield _item(plan, place, "date", standing(plan.entries[place]), moment)


def _members(deployment: Deployment, moment: datetime) -> Iterator[dict[str, Any]]:
    """Those who are in a segment already when a journey that begins with it is deployed: once for each journey and segment."""
    for plan in deployment.plans.values():
        for place, entry in enumerate(plan.entries):
            if entry.kind == "segment" and entry.options["existing"] == "enroll" and deployment.admits(plan, moment):
                yield {**_item(plan, place, "segment", "existing", moment), "rule": entry.options["segment"]}


def _item(plan: Plan, place: int, kind: str, occurrence: str, at: datetime) -> dict[str, Any]:
    return {
        "journey": plan.journey,
        "kind": kind,
        "rule": rule_of(plan, place),
        "occurrence": occurrence,
        "place": place,
        "entry": dump(plan.entries[place]),
        "starts_at": at,
    }


def schedule_of(entry: Entry) -> Schedule:
    """The schedule of an entry that has one."""
    return load(Schedule, entry.options["schedule"])


async def refuse_past(c: Connection, plans: Iterable[Plan]) -> None:
    """Raises PastSchedule where one of these plans, which are new to the deployment, would begin once and that is over; one
    that was planned in time may be deployed again."""
    moment = await now(c)
    over = {}
    for plan in plans:
        for entry in plan.entries:
            schedule = schedule_of(entry) if entry.kind == "schedule" and plan.status == "live" else None
            if schedule is None or schedule.once is None:
                continue
            if schedule.last(datetime.fromisoformat(schedule.once)) <= moment:
                over[(plan.journey, schedule.once)] = schedule
    for key in sorted(over.keys() - await broadcasts.known(c, sorted(over))):
        where = "everywhere" if over[key].timezone == "customer" else f"in {over[key].timezone}"
        raise PastSchedule(
            f"{key[0]} would be sent once, at {key[1].replace('T', ' ')}, which is over {where}: "
            "write a time to come under schedule:, or take the journey out"
        )
