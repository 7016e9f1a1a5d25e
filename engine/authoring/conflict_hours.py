"""Messages that quiet hours and windows outlive: an `expires` that is shorter than the time they may have to wait (SJ433), a
window that never opens (SJ434).

For every send it is worked out at which local times of the week its step is surely and possibly reached. What fails at every
possible time is an error, what fails at one that is sure to come for some is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_

from engine.authoring.conditions import depends_on_time, verdict
from engine.authoring.conflict_paths import leads, skipped
from engine.authoring.hours_of_week import (
    DAY,
    EVERY,
    longest_wait,
    minute,
    next_of,
    opened,
    smeared,
    told,
    turned,
    waiting,
    window,
)
from engine.authoring.passages import SLACK, Placed, longest, tier_of, worth
from engine.authoring.spots import Spot
from engine.core.clock import Duration, format_duration
from engine.core.plan import Branch, Jump, Loop, Moment, Plan, Send, Wait, WaitFor
from engine.core.policy import Policy

_SLACK = int(SLACK.total_seconds()) // 60
_NIGHT = 5 * 60
"""Clocks change before this minute of the day."""
MOST = 5_000
"""Places, each in each of its rounds, that are looked at; nothing is proved of a journey that has more."""


Place = tuple[int, tuple[tuple[int, int], ...]]
"""An operation, and how many rounds of each repeat around it have begun."""


@dataclass(frozen=True, slots=True)
class Times:
    """Local minutes of the week: those at which some are `surely` here, and those at which anybody is `possibly`."""

    surely: int = 0
    possibly: int = 0

    def __or__(self, other: Times) -> Times:
        return Times(self.surely | other.surely, self.possibly | other.possibly)


@dataclass(frozen=True, slots=True)
class Closed:
    """When a send can't go on `channel`: `always` for everybody, `some` for those of whom one conditional rule holds."""

    channel: str
    always: int
    some: tuple[int, ...]


def report(journeys: Iterable[Placed], policy: Policy, top: Spot) -> None:
    """Reports the sends of all journeys; what comes from a tier's own `expires` once, at the tier."""
    defaults: dict[str, list[tuple[str, str]]] = {}
    for journey in journeys:
        for op, times in arrivals(journey.plan, policy).items():
            send = journey.plan.ops[op]
            if isinstance(send, Send) and times.possibly:
                _send(journey, policy, op, send, times, defaults)
    for i, tier in enumerate(policy.tiers):
        if found := defaults.get(tier.name):
            (name, why), more = found[0], f" and of {len(found) - 1} more" if len(found) > 1 else ""
            message = f"this is too short for messages of {name}{more}: {why}"
            (top / "tiers" / i / "expires").report("SJ433", message, _HINT, level="warning")


_HINT = "give it a longer expires:, or have people get there when it may be sent (wait: {until: …})"


def _send(journey: Placed, policy: Policy, op: int, send: Send, times: Times, defaults: dict[str, list[tuple[str, str]]]) -> None:
    spot, length = journey.spot(op), worth(policy, send)
    if length == Duration():
        (spot / ("expires" if send.expires is not None else "send")).report(
            "SJ433", "this expires the moment it is reached", _HINT
        )
        return
    if send.window and window(send.window.start, send.window.end, send.window.days) == EVERY:
        message = "this window is open all the time: it begins and ends at the same time"
        (spot / "window").report("SJ434", message, "remove it, or give it another end", key=True, level="warning")
    for i, hours in enumerate(closings(policy, send)):
        if _never(spot, send, hours, fallback=i > 0):
            continue
        if send.on_defer != "wait":
            if not times.possibly & ~hours.always:
                message = f"this is always left out on {hours.channel}: it is reached only when it may not be sent"
                (spot / "on_defer").report("SJ433", message, _HINT, level="warning" if i else "error")
            continue
        if length is None or length.months:
            continue
        least = length.days * DAY + -(-length.seconds // 60)
        if not times.possibly & ~waiting(hours.always, least + _SLACK):
            place = spot / ("expires" if send.expires is not None else "send")
            message = f"this always expires before it may be sent: {_why(hours.always, times.possibly, length, hours.channel)}"
            place.report("SJ433", message, _HINT, key=send.expires is None, level="warning" if i else "error")
            return
        for closed in (hours.always, *hours.some):
            lost = times.surely & waiting(closed, least + 1)
            if not lost:
                continue
            why = _why(closed, lost, length, hours.channel)
            if send.expires is None:
                defaults.setdefault(send.tier, []).append((f"{journey.step(op)!r} of {journey.plan.journey!r}", why))
            else:
                (spot / "expires").report("SJ433", f"some never get this message: {why}", _HINT, level="warning")
            return


def _never(spot: Spot, send: Send, hours: Closed, *, fallback: bool) -> bool:
    closed = [c for c in (hours.always, *hours.some) if c == EVERY]
    if closed:
        everybody = hours.always == EVERY and not fallback
        whom = "" if hours.always == EVERY else " for some, of whom the condition of a rule holds"
        message = f"on {hours.channel} this can never be sent{whom}: quiet hours leave nothing of the times at which it may go"
        place = spot / "window" if send.window else spot / "send"
        hint = "move the window into the hours that policy.yaml leaves open"
        place.report("SJ434", message, hint, key=True, level="error" if everybody else "warning")
    return bool(closed)


def _why(closed: int, minutes: int, length: Duration, channel: str) -> str:
    moment, wait = longest_wait(closed, minutes)
    daily = turned(closed, DAY) == closed
    span = format_duration(Duration(seconds=wait * 60))
    first, last = told(moment, daily), told(moment + wait, daily)
    waits = f"who gets there at {first} waits {span} on {channel}, until {last}"
    return f"{waits}, and it is worth sending for {format_duration(length)}"


def closings(policy: Policy, send: Send) -> Iterator[Closed]:
    """When quiet hours and the send's own window are closed, for each channel that it may take."""
    outside = EVERY & ~window(send.window.start, send.window.end, send.window.days) if send.window else 0
    skips = "quiet_hours" in tier_of(policy, send).skip
    for channel in send.channels:
        rules = [
            (rule.condition, window(rule.start, rule.end, rule.days))
            for rule in policy.quiet_hours
            if not skips
            and rule.start
            and (not rule.channels or channel in rule.channels)
            and (not rule.tiers or send.tier in rule.tiers)
        ]
        always = reduce(or_, (hours for condition, hours in rules if verdict(condition) is True), outside)
        some = [always | hours for condition, hours in rules if verdict(condition) is None]
        yield Closed(channel, always, tuple(some))


# When steps are reached


def arrivals(plan: Plan, policy: Policy) -> dict[int, Times]:
    """When each operation that somebody may get to is reached. Empty where that is too much to look at."""
    entered = any(not depends_on_time(e.where) and not depends_on_time(e.condition) for e in plan.entries)
    start = Times(EVERY if entered or not plan.entries else 0, EVERY)
    found: dict[Place, Times] = {}
    todo: list[tuple[Place, Times]] = [((0, ()), start)]
    while todo:
        place, times = todo.pop()
        before = found.get(place, Times())
        now = before | times
        if now == before and place in found:
            continue
        if len(found) > MOST:
            return {}
        found[place] = now
        at, loops = place
        op = plan.ops[at]
        done = isinstance(op, Loop) and dict(loops).get(at, 0) >= op.times
        for target, later in [(op.done, now)] if isinstance(op, Loop) and done else _onward(plan, policy, at, now):
            if target < len(plan.ops):
                todo.append(((target, _rounds(plan, at, target, dict(loops))), later))
    arrived: dict[int, Times] = {}
    for (at, _), times in found.items():
        arrived[at] = arrived.get(at, Times()) | times
    return arrived


def _rounds(plan: Plan, at: int, target: int, begun: dict[int, int]) -> tuple[tuple[int, int], ...]:
    # How many rounds of each repeat around `target` have begun.
    if isinstance(plan.ops[at], Loop) and target == at + 1:
        begun[at] = begun.get(at, 0) + 1
    return tuple(
        (head, n) for head, n in begun.items() if isinstance(loop := plan.ops[head], Loop) and head <= target < loop.done
    )


def _onward(plan: Plan, policy: Policy, at: int, times: Times) -> Iterator[tuple[int, Times]]:
    op = plan.ops[at]
    if isinstance(op, Jump):
        yield op.target, times
        return
    unknown = Times(0, EVERY)
    asked = (op.condition, *((a.condition for a in op.arms) if isinstance(op, Branch) else ()))
    passing = Times(0, times.possibly) if any(depends_on_time(c) for c in asked) else times
    targets = list(leads(plan, at, op, judged=True))
    skip = skipped(op, at)
    for target in targets:
        match op:
            case Wait():
                yield target, (after(op.until, times) if target == at + 1 else unknown)
                if op.condition is not None and target == skip:
                    yield target, passing
            case WaitFor():
                if target == op.on_timeout:
                    yield target, after(op.timeout, times)
                if any(a.target == target for a in op.alternatives):
                    yield target, _meanwhile(op.timeout, times)
                if op.condition is not None and target == skip:
                    yield target, passing
            case Send():
                yield target, _sent(policy, op, times)
                if op.condition is not None:
                    yield target, passing
            case Loop() if target == op.done:
                yield target, passing
            case _:
                yield target, passing if getattr(op, "verb", "") != "call" else Times(times.surely, EVERY)


def after(until: Moment, times: Times) -> Times:
    """When a wait ends that begins at `times`."""
    if until.expression is not None or until.timezone != "customer":
        return Times(0, EVERY)
    if until.after is not None:
        found = shifted(times, until.after)
    elif until.time_of_day is not None:
        possibly = next_of(times.possibly, until.time_of_day, until.days)
        if minute(until.time_of_day) < _NIGHT:
            possibly = smeared(possibly, _SLACK)
        found = Times(next_of(times.surely, until.time_of_day, until.days), possibly)
    else:
        raise ValueError("a moment is a duration, a time of day or an expression")
    if until.offset is not None:
        found = shifted(found, until.offset)
    if until.jitter is not None:
        found = Times(found.surely, smeared(found.possibly, _minutes(until.jitter)))
    return found


def shifted(times: Times, by: Duration) -> Times:
    """`times` and a duration: months lead to any day, days keep the time of day, seconds may meet a change of the clock."""
    surely, possibly = times.surely, times.possibly
    if by.months:
        surely = surely if surely == EVERY else 0
        possibly = reduce(or_, (turned(possibly, day * DAY) for day in range(7)))
    surely, possibly = turned(surely, by.days * DAY), turned(possibly, by.days * DAY)
    whole = by.seconds // 60
    if by.seconds:
        possibly = smeared(turned(possibly, whole - _SLACK), 2 * _SLACK + 1)
    return Times(turned(surely, whole), possibly)


def _minutes(length: Duration) -> int:
    return (length.months * 31 + length.days) * DAY + -(-length.seconds // 60) + _SLACK


def _meanwhile(timeout: Moment, times: Times) -> Times:
    # What is waited for may come at any time until the timeout.
    if timeout.expression is not None or timeout.timezone != "customer":
        return Times(times.surely, EVERY)
    room = int(longest(timeout).total_seconds()) // 60
    sure = timeout.after.days * DAY + timeout.after.seconds // 60 if timeout.after is not None and not timeout.after.months else 0
    return Times(smeared(times.surely, max(sure, 0)), smeared(times.possibly, max(room, 0)))


def _sent(policy: Policy, send: Send, times: Times) -> Times:
    # Who is alone is written to as soon as hours allow; caps, holds and providers may delay others until any time.
    hours = next(closings(policy, send))
    if hours.always == EVERY:
        return Times(times.surely, EVERY)
    surely = times.surely if send.on_defer != "wait" else opened(hours.always, times.surely)
    length = worth(policy, send)
    if length is not None and not length.months:
        lost = waiting(hours.always, length.days * DAY + -(-length.seconds // 60))
        surely = opened(hours.always, times.surely & ~lost) | (times.surely & lost)
    return Times(surely, EVERY)
