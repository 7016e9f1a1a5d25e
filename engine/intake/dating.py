"""Dates of customers: when each comes into journeys that begin on a day of theirs, kept up as attributes and time zones change.

`replan` runs in the transaction that takes a change in: what is planned is never behind what is known. Source of the rules:
authoring.md, "Entries" (`date`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from engine.core.clock import local
from engine.core.clock import zone as zone_named
from engine.core.occasions import Anniversary, Occasion, moved, upcoming
from engine.core.plan import Entry, Plan
from engine.core.wire import digest
from engine.delivery.deployment import Deployment
from engine.delivery.people import People
from engine.intake.happening import Happening
from engine.store import broadcast_people, broadcasts
from engine.store.database import Connection


def standing(entry: Entry) -> str:
    """What the broadcast of an entry by date is called: another hour or offset is another one."""
    return digest(entry.options)


def rule_of(plan: Plan, place: int) -> str:
    """What tells the entries of a journey by which the calendar brings people in apart, in whatever order they stand: the
    times of a schedule, the attribute of a date; and a number, where several have the same."""
    subjects = [_subject(entry) for entry in plan.entries]
    return f"{subjects[place]}/{subjects[:place].count(subjects[place])}"


def _subject(entry: Entry) -> str:
    if entry.kind == "schedule":
        return digest(entry.options["schedule"])
    return str(entry.options["date"]["attribute"]) if entry.kind == "date" else entry.kind


def date_of(deployment: Deployment, rule: Anniversary, attributes: Mapping[str, Any], zone: str) -> date | None:
    """The customer's date, of a moment the day that it has in their zone; None where they have none."""
    value = deployment.attribute_values(attributes).get(rule.attribute)
    if isinstance(value, datetime):
        return local(value, zone_named(zone)).date() if value.tzinfo is not None else value.date()
    return value if isinstance(value, date) else None


def coming(
    people: People, rule: Anniversary, customer: int, attributes: Mapping[str, Any], now: datetime, *, after: str = ""
) -> Occasion | None:
    """The customer's next occasion, after the one called `after`."""
    zone = people.zone(customer, attributes)
    value = date_of(people.deployment, rule, attributes, zone)
    return None if value is None else upcoming(rule, value, now, zone_named(zone), after=after)


async def replan(c: Connection, h: Happening, now: datetime) -> None:
    """Plan anew for the customers of a batch whose dates, or whose clocks, are others than before."""
    if not h.dated:
        return
    concerned = [(plan, place, rule) for plan, place, rule in h.deployment.dated if any(moves(rule, d) for d in h.dated.values())]
    found = await broadcasts.of_dates(c, sorted({plan.journey for plan, _, _ in concerned}))
    there: dict[tuple[str, str, str], int] = {(r.journey, r.rule, r.occurrence): r.id for r in found}
    if not there:  # none is planned yet: who plans it will find these customers
        return
    planned = {
        (r.broadcast_id, r.customer_id): Occasion(r.occurrence, r.due_at)
        for r in await broadcast_people.of(c, sorted(there.values()), sorted(h.dated))
    }
    put: list[dict[str, Any]] = []
    gone: list[tuple[int, int]] = []
    for plan, place, rule in concerned:
        broadcast = there.get((plan.journey, rule_of(plan, place), standing(plan.entries[place])))
        for customer, changed in h.dated.items():
            if broadcast is None or not moves(rule, changed):
                continue
            attributes = h.people[customer].attributes
            occasion = anew(h.facts, rule, customer, attributes, changed, planned.get((broadcast, customer)), now)
            if occasion is None:
                gone.append((broadcast, customer))
            else:
                put.append(_row(broadcast, customer, occasion))
    await broadcast_people.drop(c, gone)
    await broadcast_people.put(c, put)
    first: dict[int, datetime] = {}
    for row in put:
        first[row["broadcast_id"]] = min(row["due_at"], first.get(row["broadcast_id"], row["due_at"]))
    await broadcasts.sooner(c, [{"id": broadcast, "at": at} for broadcast, at in sorted(first.items())])


def moves(rule: Anniversary, changed: frozenset[str]) -> bool:
    """Whether the change of these attributes moves somebody's occasions."""
    return rule.attribute in changed or "timezone" in changed


def _row(broadcast: int, customer: int, occasion: Occasion) -> dict[str, Any]:
    return {"broadcast_id": broadcast, "customer_id": customer, "due_at": occasion.due, "occurrence": occasion.name}


def anew(
    people: People,
    rule: Anniversary,
    customer: int,
    attributes: Mapping[str, Any],
    changed: frozenset[str],
    planned: Occasion | None,
    now: datetime,
) -> Occasion | None:
    """The customer's next occasion after a change; who only moved to another zone keeps the one that was planned."""
    if planned is not None and rule.attribute not in changed:
        zone = people.zone(customer, attributes)
        value = date_of(people.deployment, rule, attributes, zone)
        return None if value is None else moved(rule, value, planned, zone_named(zone))
    return coming(people, rule, customer, attributes, now)
