"""Gate 9, quiet hours and the send's own window, and when a message goes that something has delayed.

Rules: `semantics.md`, "Time" and the gates. Stretches of time are worked out in `stretches`, local clocks in `clock`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from engine.core import clock
from engine.core.case import Case
from engine.core.facts import GateAnswer
from engine.core.stretches import Hours, closed, open_until, opened
from engine.core.telling import tell_moment

_SKIPPED = GateAnswer("quiet_hours", "skip", detail="The tier may be sent at any hour.")
_OPEN = GateAnswer("quiet_hours", "pass", detail="Outside quiet hours and inside the send window.")
_NO_RULE = GateAnswer("quiet_hours", "pass", detail="No quiet hours and no send window apply.")


def quiet_hours(case: Case, now: datetime) -> GateAnswer:
    """Gate 9. Defers to the end of what is in the way, and with policy's `jitter` to a moment of the customer's own soon after;
    drops what can't be evaluated or never opens. Certain: nothing but time opens it."""
    hours = _hours(case)
    if "quiet_hours" in case.tier.skip and hours.window is None:
        return _SKIPPED
    if case.zone_problem and (hours.quiet or hours.window or case.zone_rule == "unknown_timezone"):
        return GateAnswer("quiet_hours", "drop", case.zone_rule, case.zone_problem)
    try:
        found = closed(hours, now)
        if found is None:
            return _in_turn(case, hours, now) or (_OPEN if hours.quiet or hours.window else _NO_RULE)
    except ValueError as problem:
        return GateAnswer("quiet_hours", "drop", "invalid", f"Quiet hours cannot be evaluated: {problem}.")
    if found.until is None:
        return GateAnswer("quiet_hours", "drop", found.rule, f"{found.what}, and this never ends.")
    detail = f"{found.what} until {tell_moment(found.until, case.zone)}"
    until = _spread(case, hours, found.until)
    if until != found.until:
        detail += f"; the message goes on {tell_moment(until, case.zone)}, {_told(case)}"
    return GateAnswer("quiet_hours", "defer", found.rule, f"{detail}.", until)


def _in_turn(case: Case, hours: Hours, now: datetime) -> GateAnswer | None:
    # It waited until the hours opened today, and others did too: each goes at its own moment.
    began = opened(hours, now) if case.policy.jitter is not None and case.message.planned_at < now else None
    if began is None or began <= case.message.planned_at:
        return None
    until = _spread(case, hours, began)
    if now >= until:
        return None
    words = f"It waited until {tell_moment(began, case.zone)}, and goes on {tell_moment(until, case.zone)}, {_told(case)}."
    return GateAnswer("quiet_hours", "defer", "jitter", words, until)


def _told(case: Case) -> str:
    return f"because what waited goes spread over {clock.format_duration(case.policy.jitter or clock.Duration())}"


def _hours(case: Case) -> Hours:
    # What applies to the message at all. A condition that nobody evaluated counts as true.
    if "quiet_hours" in case.tier.skip:
        return Hours((), case.message.window, case.zone)
    flags, message = case.facts.quiet, case.message
    rules = tuple(
        rule
        for i, rule in enumerate(case.policy.quiet_hours)
        if (i >= len(flags) or flags[i])
        and (not rule.channels or message.channel in rule.channels)
        and (not rule.tiers or message.tier in rule.tiers)
    )
    return Hours(rules, message.window, case.zone)


def _spread(case: Case, hours: Hours, free: datetime) -> datetime:
    """When a message that is set free at `free` goes: then, or with policy's `jitter` the customer's own part of it later.

    Inside the stretch that is open and the local day, and before it expires; where `free` isn't open yet, its end counts."""
    if case.policy.jitter is None or closed(hours, free) is not None:
        return free
    _, midnight = clock.calendar_window(free, "day", case.zone)
    end = min(clock.add(free, case.policy.jitter, case.zone), midnight)
    expires = case.message.expires_at
    if expires is not None and expires > free:
        end = min(end, expires)
    room = open_until(hours, free, end) - free
    return free + timedelta(seconds=int(room.total_seconds() * case.turn))


def goes_at(case: Case, free: datetime) -> datetime:
    """When a message that a hold or a calendar cap sets free at `free` goes: its planned local time of day, at or after `free`,
    and with policy's `jitter` the customer's own part of it later.

    A message that was planned inside quiet hours would have gone at their end, so that time of day counts as planned too:
    otherwise it would wait for the next night's quiet hours before it waits for their end."""
    planned = clock.local(case.message.planned_at, case.zone)
    moments = [clock.next_time_of_day(free, planned.time(), case.zone, inclusive=True)]
    hours = _hours(case)
    opens = _first_open(case, hours)
    if opens != case.message.planned_at:
        moments.append(clock.next_time_of_day(free, clock.local(opens, case.zone).time(), case.zone, inclusive=True))
    try:
        return _spread(case, hours, min(moments))
    except ValueError:  # quiet hours that can't be read: their gate says so
        return min(moments)


def _first_open(case: Case, hours: Hours) -> datetime:
    # The planned moment, moved out of quiet hours and into the window; as planned where that leads nowhere.
    moment = case.message.planned_at
    for _ in range(8):
        try:
            found = closed(hours, moment)
        except ValueError:
            break
        if found is None:
            return moment
        if found.until is None:
            break
        moment = found.until
    return case.message.planned_at
