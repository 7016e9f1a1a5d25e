"""The steps of a replayed enrollment, and the words for where it stood, what came and what it asked for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.core.enrollment import Begin, Command, Given, Input, Outcome, State
from engine.core.plan import Plan
from engine.insight.answering import Basis


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of the core. `at`: when it came · `what`: in words · `given`: what went in · `commands`: what came out · `basis`:
    on what it rests (inputs are recorded, wakes follow) · `plan`: on which `after` stands, and what was asked for · `left`: the
    plan on which `before` stands, where it was moved to another."""

    at: datetime
    what: str
    given: Given
    before: State
    after: State
    commands: tuple[Command, ...]
    basis: Basis
    plan: Plan
    words: str = ""
    left: Plan | None = None

    @property
    def way(self) -> tuple[str, str]:
        """Where it stood before and after, in words."""
        return place(self.left or self.plan, self.before), place(self.plan, self.after)


def because(reason: str) -> str:
    """A reason as it stands behind what it is the reason of."""
    return f" ({reason})" if reason else ""


def step_of(plan: Plan, op: int) -> str:
    """The step at an operation; its number where it has none, "the end" behind the last."""
    return plan.step_at(op) or (f"#{op}" if op < len(plan.ops) else "the end")


def place(plan: Plan, state: State) -> str:
    """Where a state stands, in words."""
    if state.at is None:
        return "before its beginning"
    if state.status == "ended":
        return f"ended: {state.reason}"
    at = step_of(plan, state.op) + (f" (round {state.visit + 1})" if state.visit else "")
    if state.status == "parked":  # for no reason: a reset, from which its cohort takes it up
        return f"parked at {at}: {state.reason}" if state.reason else f"about to begin at {at}"
    return f"{at}, {state.status}"


def asked(plan: Plan, command: Command) -> str:
    """What a command asks for, in words."""
    if command.kind == "record":
        return f"record: {command.status} ({command.reason})"
    channel = f" by {command.channel}" if command.channel else ""
    return f"{command.kind} {step_of(plan, command.op)}{channel}{' (is it really over?)' if command.confirm else ''}"


def input_told(recorded: Any) -> str:
    given = recorded.given
    if isinstance(given, Begin):
        return f"began with {recorded.name}"
    assert isinstance(given, Input)
    name = f" {recorded.name}" if recorded.name else ""
    return f"input {given.seq}: {given.kind}{name}{because(given.reason)}"


def outcome_told(plan: Plan, given: Given) -> str:
    assert isinstance(given, Outcome)
    step = step_of(plan, given.op)
    said = {
        "next": "done",
        "goto": f"goes on at {step_of(plan, given.choice)}",
        "sleep": "waits",
        "took": f"input {given.seq} was waited for",
        "timeout": "the wait is over",
        "again": "put off",
        "fallback": "tries the next channel",
        "exit": f"leaves ({given.reason})",
        "park": f"parked ({given.reason})",
    }[given.kind]
    return f"{step}: {said}"
