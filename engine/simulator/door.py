"""The one door of a simulation: what comes in, taken in by the very rules of intake, one thing at a time.

who is it ─▶ what it says of consent ─▶ remember it ─▶ `Happening` ─▶ what that leads to, in memory ─▶ who moved into which
segment and stage ─▶ what is told of that comes in through the same door
"""

from __future__ import annotations

from typing import Any

from engine.core.enrollment import Begin, Input
from engine.core.incoming import Accepted, Incoming
from engine.delivery import interpretation
from engine.intake.agreeing import Said, asks_first, decided
from engine.intake.door import COUNTED
from engine.intake.happening import GOAL_REACHED, Happening
from engine.intake.interpreting import Touches
from engine.simulator import answering, calendar, moving
from engine.simulator.memory import Before, Customer, Enrollment, Seen
from engine.simulator.naming import who
from engine.simulator.sending import register, requeue
from engine.simulator.stage import Stage


def accept(stage: Stage, incoming: Incoming) -> Accepted:
    """Take one thing in, now. What the same source has sent before changes nothing."""
    deployment = stage.deployment
    incoming, why = deployment.checked(incoming)
    customer, refused = who(stage, incoming, sound=not why)
    if customer is None or why or refused:
        return Accepted(0 if customer is None else customer.id, quarantined=why or refused)
    if stage.is_repeat(incoming):
        return Accepted(customer.id, duplicate=True)
    if asks_first(deployment.policy, incoming):
        incoming = decided(deployment.policy, incoming, Said(list(customer.consents), customer.vias()), stage.now)
    event = next(stage.events)
    at = min(incoming.occurred_at or stage.now, stage.now)
    stage.recall.remember(deployment, stage.memory, customer, incoming, at, event, stage.now)
    customer.let_expire(stage.now)
    happening = _open(stage, customer, incoming)
    started = happening.take(customer, incoming, event)
    _write(stage, customer, incoming, happening)
    moving.move(stage, customer, happening.touches.wanted.get(customer.id, {}))
    for enrollment in list(customer.stays.values()):
        moving.watch(stage, enrollment, anew=True)
    for consequence in happening.consequences:
        stage.accept(consequence)
    return Accepted(customer.id, enrollments=tuple(started))


def _open(stage: Stage, customer: Customer, incoming: Incoming) -> Happening:
    """What this can concern."""
    deployment = stage.deployment
    live = [] if incoming.history else [stage.plans[inside.plan] for inside in customer.enrollments]
    entries = deployment.entries_for({incoming.name}, {incoming.journey} if incoming.kind == "enroll" else set())
    facts = stage.people(deployment.needs(*live, *entries))
    touches = Touches(interpretation.of(deployment))
    newcomers = frozenset({customer.id}) if customer.new and touches.interpretation.names else frozenset[int]()
    touches.came(newcomers, () if incoming.history else (customer.id,))
    customer.new = customer.changed = customer.moved = customer.left = False
    customer.addresses.clear()
    return Happening(
        deployment,
        stage.plans,
        facts,
        {customer.id: customer},
        customer.before,
        stage.numbers,
        stage.now,
        touches,
        newcomers,
        stage.cares(GOAL_REACHED),
        entered={customer.id: _entered(stage, customer)} if deployment.policy.limits else {},
        shared=stage.memory.shared,
    )


def _entered(stage: Stage, customer: Customer) -> list[tuple[str, Any]]:
    """The entries that a limit may count; who enters is added to it."""
    longest = [COUNTED[one.per] for one in stage.deployment.policy.limits if one.entries is not None]
    since = stage.now - max(longest) if longest else stage.now
    customer.entered = [(journey, at) for journey, at in customer.entered if at >= since]
    return customer.entered


def _write(stage: Stage, customer: Customer, incoming: Incoming, h: Happening) -> None:
    """Everything that happened. Ends come before new enrollments, because a restart needs the old one ended."""
    for row in h.consents:
        customer.say(row)
    for row in h.suppressions:
        customer.suppress(row)
    for row in h.releases:
        customer.unstop(row)
    freed, moved = h.freed(), h.moved()
    for goal in h.goals:
        _reach(stage, customer.stays[goal["id"]], goal)
    for row in h.ends:
        if row["id"] in customer.stays:
            answering.end(stage, customer.stays[row["id"]], row["reason"], row["at"])
    for (_, journey, key), (at, number) in h.last.items():
        customer.before[(customer.id, journey, key)] = Before(at, number)
    for row in h.begun:
        _begin(stage, customer, row, h)
    for row in h.inputs:
        _put_in(stage, customer, incoming, row)
    for row in h.broadcasts:
        calendar.fan_out(stage, row, incoming)
    if customer.id in h.dated:
        calendar.replan(stage, customer, h.dated[customer.id])
    for hold in [one for one in customer.holds if one.closed_at is not None]:
        customer.close(hold, stage.now)
        if hold.id is not None:
            stage.wake_deferred(customer, tuple(hold.pause))
    for hold in customer.holds:
        hold.id = hold.id or next(stage.numbers)
    if moved:
        stage.wake_deferred(customer, None)
    if freed:
        requeue(stage, customer)


def _reach(stage: Stage, enrollment: Enrollment, goal: dict[str, Any]) -> None:
    stage.say("goal", enrollment, at=goal["at"], value=goal["value"])
    if enrollment.status == "ended" and enrollment.state.status == "ended":
        answering.forget(enrollment.customer, enrollment)


def _begin(stage: Stage, customer: Customer, row: dict[str, Any], h: Happening) -> None:
    known = next(inside for inside in customer.enrollments if inside.id == row["id"])
    known.begun = None
    enrollment = Enrollment(known, customer, stage.plans[row["plan"]], row["holdout"], row["goal_until"], row["once"])
    customer.stays[known.id] = enrollment
    stage.say("enter", enrollment, at=row["entered_at"])
    if known.status == "ended":
        answering.end(stage, enrollment, row["reason"], row["ended_at"])
        return
    if known.id in h.planned:
        register(customer, enrollment, h.planned[known.id])
    stage.give(enrollment, Begin(1, row["entered_at"]))


def _put_in(stage: Stage, customer: Customer, incoming: Incoming, row: dict[str, Any]) -> None:
    """An input of an enrollment that hasn't ended; the event stays known where a wait may ask for it."""
    enrollment = customer.stays.get(row["enrollment_id"])
    if enrollment is None or enrollment.status == "ended":
        return
    enrollment.seq += 1
    matched = tuple(row["matched"])
    if row["kind"] == "event":
        at = min(incoming.occurred_at or stage.now, stage.now)
        enrollment.inputs.append(Seen(enrollment.seq, row["at"], matched, incoming.name, incoming.properties, at))
    stage.give(enrollment, Input(enrollment.seq, row["at"], row["kind"], matched, row["reason"]))
