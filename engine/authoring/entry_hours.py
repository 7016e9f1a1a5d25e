"""At which local times of the week people enter a journey: at any, unless only the calendar lets them in. For proofs of
conflicts."""

from __future__ import annotations

from datetime import datetime

from engine.authoring.conditions import depends_on_time
from engine.authoring.hours_of_week import DAY, EVERY, minute, turned
from engine.core.clock import weekdays
from engine.core.cron import parse_cron
from engine.core.occasions import Anniversary, Schedule
from engine.core.plan import Entry, Plan
from engine.core.policy import Policy
from engine.core.wire import load


def entered(plan: Plan, policy: Policy) -> int:
    """The local minutes of the week at which some surely enter, of entries that don't ask what time it is. Everything at
    once, for a plan without entries."""
    if not plan.entries:
        return EVERY
    found = 0
    for entry in plan.entries:
        if not depends_on_time(entry.where) and not depends_on_time(entry.condition):
            found |= _minutes(entry, policy)
    return found


def _minutes(entry: Entry, policy: Policy) -> int:
    if entry.kind == "schedule":
        schedule = load(Schedule, entry.options["schedule"])
        # In another zone than policy's it is another local time for everybody: nothing is known.
        return _scheduled(schedule) if schedule.timezone in ("customer", policy.timezone) else 0
    if entry.kind == "date":
        rule = load(Anniversary, entry.options["date"])
        seconds = rule.offset.seconds if rule.offset is not None else 0
        return turned(_at(rule.at, ()), seconds // 60)
    return EVERY


def _at(text: str, days: tuple[str, ...]) -> int:
    """Local time `text` on `days` (empty: every day)."""
    return sum(1 << (day * DAY + minute(text)) for day in weekdays(days))


def _scheduled(schedule: Schedule) -> int:
    if schedule.once is not None:
        written = datetime.fromisoformat(schedule.once)
        return 1 << (written.weekday() * DAY + written.hour * 60 + written.minute)
    if schedule.cron is not None:
        cron = parse_cron(schedule.cron)
        days = cron.weekdays if not cron.either and len(cron.weekdays) < 7 else range(7)
        return sum(1 << (day * DAY + hour * 60 + m) for day in days for hour in cron.hours for m in cron.minutes)
    return _at(schedule.at or "00:00", schedule.days)
