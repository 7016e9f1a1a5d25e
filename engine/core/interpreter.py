"""`advance(plan, state, given, now) -> (state, commands)`: moves one enrollment along its plan."""

from __future__ import annotations

from datetime import datetime

from engine.core.enrollment import Command, Given, State
from engine.core.plan import Plan


def advance(plan: Plan, state: State, given: Given, now: datetime) -> tuple[State, tuple[Command, ...]]:
    """The state after `given`, and what it asks for."""
    raise NotImplementedError
