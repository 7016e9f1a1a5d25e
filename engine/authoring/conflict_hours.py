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
from engine.authoring.entry_hours import entered
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
from engine.core.plan import Branch, Jump, Loop, Moment, NextChannel, Plan, Send, Wait, WaitFor
from engine.core.policy import Policy
from engine.settings.problems import Level

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


@dataclass(frozen=True, slots=True)
class Short:
    """A message that can't wait as long as it may have to on `channel`: whoever gets there (`always`), or some."""

    channel: str
    always: bool
    why: str


_HINT = "give it a longer expires:, or have people get there when it may be sent (wait: {until: …})"


def report(journeys: Iterable[Placed], policy: Policy, top: Spot) -> None:
    """Reports the sends of all journeys; what comes for some from a tier's own `expires` once, at the tier."""
    defaults: dict[str, list[tuple[str, str]]] = {}
    for journey in journeys:
        for op, times in sorted(arrivals(journey.plan, policy).items()):
            send = journey.plan.ops[op]
            if not isinstance(send, Send) or verdict(send.condition) is False:
                continue
            spot = journey.spot(op)
            _windows(spot, policy, send)
            short = judged(policy, send, times)
            if short is None:
                continue
            own = send.on_defer if send.on_defer != "wait" else send.expires
            part = "send" if own is None else "on_defer" if send.on_defer != "wait" else "expires"
            if short.always or own is not None:
                level: Level = "error" if short.always else "warning"
                (spot / part).report("SJ433", short.why, _HINT, key=own is None, level=level)
            else:
                defaults.setdefault(send.tier, []).append((f"{journey.step(op)!r} of {journey.plan.journey!r}", short.why))
    for i, tier in enumerate(policy.tiers):
        if found := defaults.get(tier.name):
            (name, why), more = found[0], f" and {len(found) - 1} more" if len(found) > 1 else ""
            message = f"this is too short for {name}{more}: {why}"
            (top / "tiers" / i / "expires").report("SJ433", message, _HINT, level="warning")


def _windows(spot: Spot, policy: Policy, send: Send) -> None:
    place, hint = spot / ("window" if send.window else "send"), "move the window into the hours that policy.yaml leaves open"
    if send.window and window(send.window.start, send.window.end, send.window.days) == EVERY:
        message = "this window is open all the time: it begins and ends at the same time"
        place.report("SJ434", message, "remove it, or give it another end", key=True, level="warning")
    for hours in closings(policy, send):
        if EVERY in (hours.always, *hours.some):
            whom = "" if hours.always == EVERY else " to some, of whom the `if` of quiet hours holds"
            message = f"this can never be sent on {hours.channel}{whom}: quiet hours leave nothing of the time at which it may go"
            level: Level = "error" if hours.always == EVERY and len(send.channels) == 1 else "warning"
            place.report("SJ434", message, hint, key=True, level=level)


def judged(policy: Policy, send: Send, times: Times) -> Short | None:
    """Whether messages of `send`, reached at `times`, expire before hours let them go. Where there is a fallback, nothing is so
    for everybody: who can't be reached on the first channel gets the next at once. What never opens isn't judged here."""
    sole = len(send.channels) == 1
    length = worth(policy, send)
    if length == Duration():
        return Short(send.channels[0], always=True, why="this expires the moment it is reached")
    for i, hours in enumerate(closings(policy, send)):
        if hours.always == EVERY or not times.possibly:
            continue
        if send.on_defer != "wait":
            if i == 0 and not times.possibly & ~hours.always:
                why = f"this is always left out on {hours.channel}: it is reached only when it may not be sent"
                return Short(hours.channel, always=sole, why=why)
            continue
        if length is None or length.months:
            continue
        least = length.days * DAY + -(-length.seconds // 60)
        if i == 0 and not times.possibly & ~waiting(hours.always, least + _SLACK):
            why = _why(hours.always, times.possibly, length, hours.channel)
            return Short(hours.channel, always=sole, why=f"this always expires before it may be sent: {why}")
        for closed in (hours.always, *(some for some in hours.some if some != EVERY)):
            if lost := times.surely & waiting(closed, least + 1):
                why = _why(closed, lost, length, hours.channel)
                return Short(hours.channel, always=False, why=f"some never get this: {why}")
    return None


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
    start = Times(entered(plan, policy), EVERY)
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
    if isinstance(op, NextChannel):
        yield from ((target, times) for target in (op.send, at + 1))
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
        if min(until.offset.months, until.offset.days, until.offset.seconds) < 0:  # a moment that is over lets on at once
            found = Times(0, found.possibly | times.possibly)
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
    if send.on_defer != "wait":  # whom hours keep it from goes on at once, or leaves
        return Times(times.surely & ~hours.always if send.on_defer == "exit" else times.surely, EVERY)
    surely, length = opened(hours.always, times.surely), worth(policy, send)
    if length is not None and not length.months:
        lost = waiting(hours.always, length.days * DAY + -(-length.seconds // 60))
        surely = opened(hours.always, times.surely & ~lost) | (times.surely & lost)
    return Times(surely, EVERY)
