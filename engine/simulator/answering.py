"""Answers to what enrollments ask for: conditions and moments, acts, and what follows when one ends or is parked.

The same questions, acts and registrations as the engine's, on what is in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from engine.authoring.expressions import ExpressionError
from engine.core.enrollment import Command, Outcome, State
from engine.core.interpreter import key
from engine.core.plan import Act, Branch, Exit, Plan, Split, Wait, WaitFor
from engine.delivery.acts import Asked, call_failed, fill, incoming_of, nested, task_of
from engine.delivery.evaluate import Question
from engine.delivery.people import People
from engine.delivery.queueing import registration
from engine.simulator.memory import Customer, Enrollment
from engine.simulator.sending import register, requeue
from engine.simulator.stage import FORGET, Call, Stage, step_of
from engine.simulator.told import ELSE, HELD_OUT


def evaluate(stage: Stage, enrollment: Enrollment, command: Command) -> Outcome:
    """Which branch, what moment, which event; what will be sent next is registered."""
    deployment, plan = stage.deployment, enrollment.plan
    people = stage.people(deployment.needs(plan))
    enrollment.look_at(command.event)
    try:
        context = people.context(enrollment, command.at)
        inputs = sorted(enrollment.inputs, key=lambda seen: (seen.at, seen.seq))
        outcome = Question(deployment, plan, enrollment, context, command, enrollment.state, inputs).answer()
    except (ExpressionError, ValueError) as wrong:
        outcome = Outcome("park", command.op, command.visit, command.attempt, reason=f"condition: {wrong}"[:180])
    _register(stage, enrollment, people, outcome)
    _tell(stage, enrollment, command, outcome)
    return outcome


def _register(stage: Stage, enrollment: Enrollment, people: People, outcome: Outcome) -> None:
    """What the member will send next, if only time stands between; what was registered before and isn't now will not come."""
    customer, state = enrollment.customer, enrollment.state
    coming = None
    if (state.op, state.visit, state.attempt) == (outcome.op, outcome.visit, outcome.attempt):
        zone = people.zone(customer.id, customer.attributes)
        coming = registration(stage.deployment.policy, enrollment.plan, enrollment.id, state, outcome, zone)
    if coming is not None:
        register(customer, enrollment, coming)
    elif customer.planned.pop(enrollment.id, None) is not None:
        requeue(stage, customer)


def _tell(stage: Stage, enrollment: Enrollment, command: Command, outcome: Outcome) -> None:
    op = enrollment.plan.ops[command.op]
    about = {"op": command.op, "step": step_of(enrollment.plan, command.op)}
    if outcome.kind == "sleep":
        stage.say("wait", enrollment, **about, until=outcome.until)
    elif isinstance(op, (WaitFor, Branch, Split)) and outcome.kind in ("goto", "next"):
        choice = _choice(enrollment.plan, command.op, outcome)
        stage.say("branch" if choice else "skip", enrollment, **about, choice=choice)
    elif isinstance(op, Wait) and outcome.kind == "next":  # it was over already
        stage.say("wait", enrollment, **about, until=command.at)
    elif isinstance(op, (Wait, Exit)) and outcome.kind in ("goto", "next"):
        stage.say("skip", enrollment, **about)


def _choice(plan: Plan, number: int, outcome: Outcome) -> str:
    """The way out of a step by its name; "" where the step is left out."""
    op = plan.ops[number]
    if isinstance(op, Split):
        return next(
            (arm.name for arm in op.arms if arm.target == outcome.choice), HELD_OUT if outcome.choice == op.skip_to else ""
        )
    if isinstance(op, Branch):
        found = next((str(n) for n, arm in enumerate(op.arms) if arm.target == outcome.choice), "")
        return found or (ELSE if outcome.kind == "goto" and outcome.choice == op.otherwise else "")
    if isinstance(op, WaitFor) and outcome.kind == "goto":
        held = ((n, one) for n, one in enumerate(op.alternatives) if one.event is None)
        return next((str(n) for n, one in held if one.target == outcome.choice), "")
    return ""


def act(stage: Stage, enrollment: Enrollment, command: Command) -> Outcome:
    """`set`, `task`, `call`, `emit`, `start`: what they bring about goes through the door."""
    deployment, plan = stage.deployment, enrollment.plan
    op = plan.ops[command.op]
    assert isinstance(op, Act)
    people = stage.people(deployment.needs(plan))
    enrollment.look_at(command.event)
    zone = people.zone(enrollment.customer_id, enrollment.attributes)
    a = Asked(enrollment.id, command, op, enrollment, key(enrollment.id, plan, command), zone, {})
    fill(a, deployment, people)
    about = {"op": command.op, "step": op.step}
    if a.outcome is not None:
        if a.outcome.kind == "next" and enrollment.status != "ended":
            stage.say("skip", enrollment, **about)
        return a.outcome
    if op.verb == "task":
        _task(stage, enrollment, a, about)
    elif op.verb == "call":
        _call(stage, enrollment, a, about)
    else:
        _through_the_door(stage, enrollment, a, about)
    if a.outcome is None:
        a.done("next")
    assert a.outcome is not None
    return a.outcome


def _task(stage: Stage, enrollment: Enrollment, a: Asked, about: Mapping[str, Any]) -> None:
    if enrollment.holdout:
        return
    try:
        row = task_of(a)
    except ValueError as wrong:
        a.done("park", reason=f"task: {wrong}"[:180])
        return
    if row["once"] is not None:
        if row["once"] in stage.memory.once:
            return
        stage.memory.once.add(row["once"])
    stage.say("task", enrollment, **about, reason=row["queue"], title=row["title"], until=row["due_at"])


def _call(stage: Stage, enrollment: Enrollment, a: Asked, about: Mapping[str, Any]) -> None:
    f = a.fields
    method, url = str(f["method"]), str(f["url"])
    headers = {str(k): str(v) for k, v in (f.get("headers") or {}).items()}
    customer = enrollment.customer
    asked = Call(
        customer.id, customer.user, enrollment.journey, enrollment.id, a.op.step, a.key, method, url, f.get("json"), headers
    )
    answer = stage.calls(asked)
    stage.say("call", enrollment, **about, reason=f"{method} {url}", value=float(answer.status))
    if not 200 <= answer.status < 300:
        call_failed(a, f"answered {answer.status}", stage.clock, stage.now)
    elif f.get("into"):
        enrollment.write(nested(str(f["into"]), answer.body))


def _through_the_door(stage: Stage, enrollment: Enrollment, a: Asked, about: Mapping[str, Any]) -> None:
    variables: list[dict[str, Any]] = []
    for incoming in incoming_of(a, variables):
        answer = stage.accept(incoming)
        if answer.quarantined and not answer.erased:
            a.done("park", reason=f"{a.op.verb}: {answer.quarantined}"[:180])
    for written in variables:
        enrollment.write(written["vars"])
    subject = {"emit": "event", "start": "journey"}.get(a.op.verb, "")
    stage.say(a.op.verb, enrollment, **about, reason=str(a.fields.get(subject, "")))


def record(stage: Stage, enrollment: Enrollment, command: Command) -> None:
    """The plan itself says that it has ended, or needs a person."""
    if enrollment.status == "ended":
        return
    if command.status == "ended":
        end(stage, enrollment, command.reason, max(command.at, stage.now))
        requeue(stage, enrollment.customer)
    else:
        enrollment.known.status, enrollment.reason = "parked", command.reason
        stage.say("parked", enrollment, op=command.op, step=step_of(enrollment.plan, command.op), reason=command.reason)


def end(stage: Stage, enrollment: Enrollment, reason: str, at: datetime) -> None:
    """End an enrollment that hasn't ended: what it had waiting is dropped, and the holds that lasted while it ran are closed."""
    customer = enrollment.customer
    enrollment.known.status, enrollment.reason = "ended", reason
    if enrollment.deferred is not None:
        stage.say("drop", enrollment, **enrollment.deferred, reason="live")
        enrollment.deferred = None
    customer.planned.pop(enrollment.id, None)
    op = enrollment.state.op
    stage.say("exit", enrollment, at=at, op=op, step=step_of(enrollment.plan, op), reason=reason)
    closed = [hold for hold in customer.holds if hold.enrollment_id == enrollment.id]
    for hold in closed:
        hold.closed_at = stage.now
        customer.close(hold, stage.now)
    enrollment.state = State("ended", op)
    leave(stage, enrollment)
    for hold in closed:
        stage.wake_deferred(customer, tuple(hold.pause))


def leave(stage: Stage, enrollment: Enrollment) -> None:
    """Who has ended is forgotten, but for a goal that may still be reached."""
    customer = enrollment.customer
    enrollment.inputs.clear()
    stage.memory.release(enrollment, customer.stays.values())
    if enrollment.known.goal_at is None and enrollment.goal_until is not None and enrollment.goal_until > stage.now:
        stage.later(enrollment.goal_until, FORGET, enrollment, ends=False)  # nothing follows from it
        return
    forget(customer, enrollment)


def forget(customer: Customer, enrollment: Enrollment) -> None:
    """Nothing can happen to this enrollment any more."""
    customer.stays.pop(enrollment.id, None)
    if enrollment.known in customer.enrollments:
        customer.enrollments.remove(enrollment.known)
