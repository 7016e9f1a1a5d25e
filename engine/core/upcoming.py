"""The next send that an enrollment reaches by time alone, and when: what governance sets a slot aside for.

Walked by the interpreter itself, with the answers that are sure to come. Behind a branch, a `wait_for`, a condition or a moment
that comes from data nothing is known yet. Rules: `semantics.md`, "Caps". Pure.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from engine.core.clock import add, next_time_of_day
from engine.core.clock import zone as zone_named
from engine.core.enrollment import Begin, Command, Outcome, State, Wake
from engine.core.interpreter import advance, reissue
from engine.core.plan import Act, Moment, Plan, Send, Wait

CERTAIN_ACTS = ("set", "task", "emit", "start")
"""Verbs that are over at once, whatever they find. A `call` may fail and lead elsewhere."""

STEPS = 100
"""Operations that are looked through; a send behind more of them is registered when its enrollment has come closer."""


def next_send(plan: Plan, state: State, given: Begin | Outcome, zone: str) -> Command | None:
    """The `deliver` that an enrollment in `state` gets to once `given` has come, with its place and when it will be asked for;
    None where that isn't certain. `zone`: the customer's IANA name."""
    began = state.at or given.at
    if began is None:
        raise ValueError("an enrollment that hasn't begun has no outcomes")
    state, _ = advance(plan, state, given, began)
    for _ in range(STEPS):
        if state.status == "waiting":
            if state.wake is None or state.again or not isinstance(plan.ops[state.op], Wait):
                return None
            state, _ = advance(plan, state, Wake(), state.wake)
            continue
        command = reissue(plan, state, began)
        if command is None:  # ended or parked
            return None
        op = plan.ops[command.op]
        if isinstance(op, Send):
            return command if op.condition is None else None
        answer = _certain(plan, command, zone)
        if answer is None:
            return None
        state, _ = advance(plan, state, answer, command.at)
    return None


def _certain(plan: Plan, command: Command, zone: str) -> Outcome | None:
    """The outcome of a command that doesn't depend on data; None where it does."""
    match plan.ops[command.op]:
        case Wait(condition=None, until=until) as wait if until.expression is None and until.jitter is None:
            return over(wait, command, literal(until, command.at, zone))
        case Act(verb=verb) if verb in CERTAIN_ACTS:
            return Outcome("next", command.op, command.visit, command.attempt)
        case _:
            return None


def over(wait: Wait, command: Command, moment: datetime) -> Outcome:
    """What becomes of a member whose `wait` lasts until `moment`. Source: authoring.md, `wait`."""
    place = (command.op, command.visit, command.attempt)
    if moment > command.at:
        return Outcome("sleep", *place, until=moment)
    if wait.on_past == "exit":
        return Outcome("exit", *place, reason="past")
    if wait.on_past == "skip" and wait.skip_to >= 0:
        return Outcome("goto", *place, choice=wait.skip_to)
    return Outcome("next", *place)


def literal(written: Moment, at: datetime, zone: str) -> datetime:
    """The moment that a duration or a time of day, as written, gives from `at`, with its offset and without its jitter.

    ValueError for one that comes from data."""
    local: ZoneInfo = zone_named(zone if written.timezone == "customer" else written.timezone)
    if written.after is not None:
        found = add(at, written.after, local)
    elif written.time_of_day is not None:
        found = next_time_of_day(at, written.time_of_day, local, written.days)
    else:
        raise ValueError(f"{written.expression!r} comes from data")
    return found if written.offset is None else add(found, written.offset, local)
