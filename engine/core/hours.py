"""Gate 9, quiet hours and the send's own window, and the local time of day at which a delayed message goes.

Rules: `semantics.md`, "Time" and the gates. Local clocks are `clock`'s business: no arithmetic on hours here.
"""

from __future__ import annotations

from datetime import datetime

from engine.core import clock
from engine.core.case import Case
from engine.core.facts import GateAnswer
from engine.core.policy import QuietHours
from engine.core.telling import tell_moment

_SKIPPED = GateAnswer("quiet_hours", "skip", detail="The tier may be sent at any hour.")
_OPEN = GateAnswer("quiet_hours", "pass", detail="Outside quiet hours and inside the send window.")
_NO_RULE = GateAnswer("quiet_hours", "pass", detail="No quiet hours and no send window apply.")


def quiet_hours(case: Case, now: datetime) -> GateAnswer:
    """Gate 9. Defers to the end of what is in the way, certainly; drops what can't be evaluated or never opens."""
    rules, window = _quiet_rules(case), case.message.window
    skips = "quiet_hours" in case.tier.skip
    if skips and window is None:
        return _SKIPPED
    if case.zone_problem and (rules or window or case.zone_rule == "unknown_timezone"):
        return GateAnswer("quiet_hours", "drop", case.zone_rule, case.zone_problem)
    try:
        closed = _closed(case, rules, now)
    except ValueError as problem:
        return GateAnswer("quiet_hours", "drop", "invalid", f"Quiet hours cannot be evaluated: {problem}.")
    if closed is None:
        return _OPEN if rules or window else _NO_RULE
    rule, what, until = closed
    if until is None:
        return GateAnswer("quiet_hours", "drop", rule, f"{what}, and this never ends.")
    return GateAnswer("quiet_hours", "defer", rule, f"{what} until {tell_moment(until, case.zone)}.", until)


def _quiet_rules(case: Case) -> tuple[QuietHours, ...]:
    # Those that apply to the message at all. A condition that nobody evaluated counts as true.
    if "quiet_hours" in case.tier.skip:
        return ()
    flags, message = case.facts.quiet, case.message
    return tuple(
        rule
        for i, rule in enumerate(case.policy.quiet_hours)
        if (i >= len(flags) or flags[i])
        and (not rule.channels or message.channel in rule.channels)
        and (not rule.tiers or message.tier in rule.tiers)
    )


def _closed(case: Case, rules: tuple[QuietHours, ...], now: datetime) -> tuple[str, str, datetime | None] | None:
    # What is in the way at `now` and ends last: rule, words, end (None: never). None where nothing is.
    found: tuple[str, str, datetime | None] | None = None
    for rule in rules:
        if clock.in_window(now, rule.start, rule.end, rule.days, case.zone):
            until = clock.window_end(now, rule.start, rule.end, rule.days, case.zone)
            found = _later(found, (f"quiet_hours {rule.start}-{rule.end}", f"Quiet hours from {rule.start} to {rule.end}", until))
    window = case.message.window
    if window and not clock.in_window(now, window.start, window.end, window.days, case.zone):
        until = clock.next_open(now, window.start, window.end, window.days, case.zone)
        days = f" on {', '.join(window.days)}" if window.days else ""
        words = f"Outside the send window from {window.start} to {window.end}{days}"
        found = _later(found, (f"window {window.start}-{window.end}", words, until))
    return found


def _later(
    one: tuple[str, str, datetime | None] | None, other: tuple[str, str, datetime | None]
) -> tuple[str, str, datetime | None]:
    if one is None or other[2] is None:
        return other
    return other if one[2] is not None and other[2] > one[2] else one


def goes_at(case: Case, free: datetime) -> datetime:
    """When a message that a hold or a calendar cap sets free at `free` goes: its planned local time of day, at or after `free`.

    A message that was planned inside quiet hours would have gone at their end, so that time of day counts as planned too:
    otherwise it would wait for the next night's quiet hours before it waits for their end."""
    planned = clock.local(case.message.planned_at, case.zone)
    moments = [clock.next_time_of_day(free, planned.time(), case.zone, inclusive=True)]
    opens = _first_open(case)
    if opens != case.message.planned_at:
        moments.append(clock.next_time_of_day(free, clock.local(opens, case.zone).time(), case.zone, inclusive=True))
    return min(moments)


def _first_open(case: Case) -> datetime:
    # The planned moment, moved out of quiet hours and into the window; as planned where that leads nowhere.
    moment = case.message.planned_at
    rules = _quiet_rules(case)
    for _ in range(8):
        try:
            closed = _closed(case, rules, moment)
        except ValueError:
            break
        if closed is None:
            return moment
        if closed[2] is None:
            break
        moment = closed[2]
    return case.message.planned_at
