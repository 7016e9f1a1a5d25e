"""Entries by the calendar and broadcasts in a simulation: dates of customers, schedules, events about a thing.

Everybody's turn comes at their moment: how fast a broadcast goes through its audience (`rate`) isn't simulated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from engine.authoring.model_segments import Condition
from engine.core.clock import zone as zone_named
from engine.core.incoming import Incoming
from engine.core.occasions import Anniversary, Occasion, coming_up
from engine.core.plan import Plan
from engine.delivery.deployment import Needs
from engine.intake.dating import anew, coming, moves, rule_of
from engine.intake.fan_out import GRACE, SOURCE
from engine.intake.planning import schedule_of
from engine.simulator.memory import Customer
from engine.simulator.recalling import audience_of
from engine.simulator.stage import DAY, OCCURRENCE, TURN, Stage


def begin(stage: Stage) -> None:
    """Plan the first occurrence of every schedule."""
    for plan, place in stage.deployment.scheduled:
        _next_occurrence(stage, plan, place, stage.now, "")


def _next_occurrence(stage: Stage, plan: Plan, place: int, since: datetime, after: str) -> None:
    schedule = schedule_of(plan.entries[place])
    name, first = next(coming_up(schedule, since, after), ("", since))
    if name:
        stage.later(max(first, stage.now), OCCURRENCE, (plan, place, name), ends=schedule.once is not None)


def occurs(stage: Stage, plan: Plan, place: int, name: str) -> None:
    """An occurrence of a schedule begins: who is in its audience has their turn, at their own local time where it says so."""
    entry, naive = plan.entries[place], datetime.fromisoformat(name)
    schedule = schedule_of(entry)
    _next_occurrence(stage, plan, place, stage.now - timedelta(days=2), name)
    if not stage.deployment.admits(plan, stage.now):
        return
    people = stage.people(Needs())
    message = f"schedule/{plan.journey}/{rule_of(plan, place)}/{name}"
    for customer in _audience(stage, audience_of(entry.options["audience"]), None):
        due = schedule.due(naive, zone_named(people.zone(customer.id, customer.attributes)))
        if schedule.timezone == "customer" and due < stage.now - GRACE:
            continue  # their zone's time is over
        turn = Incoming(
            "enroll", SOURCE, f"{message}/{customer.id}", "$schedule", {"occurrence": name},
            customer=customer.id, journey=plan.journey, way="schedule", place=place,
        )  # fmt: skip
        stage.later(max(due, stage.now), TURN, turn)


def fan_out(stage: Stage, row: Mapping[str, Any], about: Incoming) -> None:
    """An event about a thing: those whom it concerns have their turn at once."""
    plan, place = stage.deployment.plans[row["journey"]], row["place"]
    at = min(about.occurred_at or stage.now, stage.now)
    entry = stage.deployment.event_values(about.name, about.properties, at)
    for customer in _audience(stage, audience_of(plan.entries[place].options["audience"]), entry):
        message = f"{row['occurrence']}/{plan.journey}/{place}/{customer.id}"
        turn = Incoming(
            "enroll", SOURCE, message, about.name, about.properties,
            customer=customer.id, journey=plan.journey, depth=row["depth"], way="broadcast", place=place,
        )  # fmt: skip
        stage.later(stage.now, TURN, turn)


def _audience(stage: Stage, condition: Condition, entry: Mapping[str, Any] | None) -> Iterator[Customer]:
    people = stage.people(stage.recall.everything)
    people.entry = entry
    for customer in sorted(stage.memory.customers.values(), key=lambda one: one.id):
        people.customer(customer.id, customer.attributes)
        if people.includes(condition, customer.id):
            yield customer


def takes_turn(stage: Stage, turn: Incoming) -> None:
    """Somebody's turn in a broadcast has come."""
    if turn.customer in stage.memory.customers:
        stage.accept(turn)


def replan(stage: Stage, customer: Customer, changed: frozenset[str]) -> None:
    """Plan the customer's dates anew, as far as these attributes move them."""
    people = stage.people(Needs())
    for number, (plan, _, rule) in enumerate(stage.deployment.dated):
        if plan.status == "live" and moves(rule, changed):
            occasion = anew(people, rule, customer.id, customer.attributes, changed, customer.dates.get(number), stage.now)
            _plan(stage, customer, number, rule, occasion)


def _plan(stage: Stage, customer: Customer, number: int, rule: Anniversary, occasion: Occasion | None) -> None:
    if occasion is None:
        customer.dates.pop(number, None)
        return
    customer.dates[number] = occasion
    stage.later(max(occasion.due, stage.now), DAY, (customer, number, occasion), ends=rule.every is None)


def comes(stage: Stage, customer: Customer, number: int, occasion: Occasion) -> None:
    """A customer's day has come, unless it is planned otherwise by now. Nobody enters twice for one."""
    if customer.dates.get(number) is not occasion or customer.id not in stage.memory.customers:
        return
    plan, place, rule = stage.deployment.dated[number]
    following = coming(stage.people(Needs()), rule, customer.id, customer.attributes, stage.now, after=occasion.name)
    _plan(stage, customer, number, rule, following)
    message = f"date/{plan.journey}/{rule_of(plan, place)}/{customer.id}/{occasion.name}"
    if message in stage.memory.once:
        return
    stage.memory.once.add(message)
    stage.accept(
        Incoming(
            "enroll", SOURCE, message, "$date", {"occurrence": occasion.name},
            customer=customer.id, occurred_at=occasion.due, journey=plan.journey, way="date", place=place,
        )
    )  # fmt: skip
