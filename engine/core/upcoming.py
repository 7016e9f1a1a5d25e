"""The next send that an enrollment reaches by time alone, and when: what governance sets a slot aside for.

Only what is certain counts: behind a branch, a `wait_for`, a condition or a moment that comes from data nothing is known yet.
Rules: `semantics.md`, "Caps". Pure.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from engine.core.clock import add, next_time_of_day
from engine.core.clock import zone as zone_named
from engine.core.plan import Act, Jump, Loop, Moment, Plan, Send, Wait

CERTAIN_ACTS = ("set", "task", "emit", "start")
"""Verbs that are over at once, whatever they find. A `call` may fail and lead elsewhere."""


def next_send(plan: Plan, op: int, at: datetime, zone: str) -> tuple[Send, datetime] | None:
    """The send that is reached from operation `op`, which starts at `at`, and when; None where that isn't certain. `zone`: the
    customer's IANA name."""
    while op < len(plan.ops):
        match plan.ops[op]:
            case Send(condition=None) as send:
                return send, at
            case Wait(condition=None, until=until) as wait if until.expression is None and until.jitter is None:
                ends = literal(until, at, zone)
                if ends <= at and wait.on_past != "run":
                    return None
                at = max(at, ends)
                op += 1
            case Act(verb=verb) if verb in CERTAIN_ACTS:
                op += 1
            case Loop(condition=None, until=None):  # only its first round is entered this way
                op += 1
            case Jump(target=target) if target > op:
                op = target
            case _:
                return None
    return None


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
