"""Who is in which segment and stage in a simulation, and when time alone moves somebody or makes true what they wait for.

By an event: at once, as intake does. By time: at the exact moment at which something that they did has been long enough ago. What
asks for `now` is looked at on the hour, as the engine's sweeps do; of a day in which it doesn't change only the end.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

from engine.core.clock import Duration, add
from engine.core.clock import zone as zone_named
from engine.delivery.computing import since
from engine.delivery.deployment import Needs
from engine.delivery.interpretation import STAGES
from engine.delivery.tallies import micros
from engine.intake.awaiting import passed, true
from engine.intake.interpreting import Moves, Standing, Touch
from engine.intake.watching import Watch
from engine.simulator.memory import Customer, Enrollment
from engine.simulator.stage import ELSEWHERE, LOOK, Stage

HOUR = timedelta(hours=1)

DAY = 24
"""Hours that are looked ahead."""


def move(stage: Stage, customer: Customer, touched: Mapping[str, Touch]) -> None:
    """Bring the customer's segments and stage up to date, as far as `touched` says and somebody hears of it, and have it told."""
    wanted = {name: touch for name, touch in touched.items() if name in stage.recall.tracked}
    if not wanted:
        return
    moves = Moves()
    moves.of(customer.id, wanted, _standing(stage, customer, wanted, stage.now), (customer.inside, customer.stage), (), stage.now)
    customer.inside = customer.inside.union(r["segment"] for r in moves.entered).difference(name for _, name in moves.left)
    for row in moves.stages:
        customer.stage = row["stage"]
    _look_later(stage, customer)
    for told in moves.told:
        stage.accept(told)


def _standing(stage: Stage, customer: Customer, names: Mapping[str, Touch] | tuple[str, ...], at: datetime) -> Standing:
    people = stage.people(stage.recall.needs(stage.deployment, names), at)
    values = people.customer(customer.id, customer.attributes)
    segments = people.segments(customer.id)
    found = values.get("stage") if STAGES in names else None
    return frozenset(name for name in names if name != STAGES and segments(name)), str(found) if found else None


def time_passed(stage: Stage, customer: Customer) -> None:
    """The moment has come at which time may move the customer."""
    if customer.looks_at is not None and customer.looks_at <= stage.now:
        customer.looks_at = None
        move(stage, customer, dict.fromkeys(stage.recall.by_time, Touch()))


def _look_later(stage: Stage, customer: Customer) -> None:
    """When time may next move the customer: that is when they are looked at."""
    if not stage.recall.by_time:
        return
    zone = stage.people(Needs()).zone(customer.id, customer.attributes)
    at = min(_lapses(stage, customer, zone), default=None)
    ends = True
    if stage.recall.hourly:
        before = _standing(stage, customer, stage.recall.by_time, stage.now)
        changes = _first(stage.now, lambda moment: _standing(stage, customer, stage.recall.by_time, moment) != before)
        if at is None or changes < at:
            at, ends = changes, False
    if at is not None and (customer.looks_at is None or at < customer.looks_at or customer.looks_at <= stage.now):
        customer.looks_at = at
        stage.later(at, ELSEWHERE, customer, ends=ends)


def _first(now: datetime, changed: Callable[[datetime], bool]) -> datetime:
    """The first full hour of the next day at which something is `changed`; the last one where it isn't by then."""
    begin = now.replace(minute=0, second=0, microsecond=0)
    if not changed(begin + DAY * HOUR):
        return begin + DAY * HOUR
    return begin + HOUR * (1 + bisect_right(range(1, DAY), False, key=lambda hour: changed(begin + hour * HOUR)))


def _lapses(stage: Stage, customer: Customer, zone: str) -> Iterator[datetime]:
    """Moments to come at which an event will be too old for something that asks for it: the oldest that still counts is the
    first to go."""
    memory, now = stage.memory, stage.now
    for name, within in stage.recall.windows:
        events = memory.happened.get((customer.id, name), ())
        first = bisect_right(events, since(within, now, zone), key=lambda event: micros(event[0]))
        if first < len(events):
            yield lapse(events[first][0], within, zone)
    for name, within in stage.recall.tallied:
        state, _ = memory.kept.get((customer.id, name), (None, None))
        begin = since(within, now, zone)
        oldest = min((one[0] for one in state["in"] if one[0] > begin), default=None) if state is not None else None
        if oldest is not None:
            yield lapse(datetime.fromtimestamp(oldest / 10**6, UTC), within, zone)


def lapse(at: datetime, within: Duration, zone: str) -> datetime:
    """The first moment at which what occurred `at` is no longer `within` that span; months and changes of clocks make it later
    than `at` plus the span at times."""
    moment = add(at, within, zone_named(zone))
    for _ in range(24 * 5):
        if since(within, moment, zone) >= micros(at):
            break
        moment += HOUR
    return moment


def watch(stage: Stage, enrollment: Enrollment, *, anew: bool = False) -> None:
    """Plan when to look at an enrollment that waits, where time alone can make true what it waits for, or what ends it. `anew`:
    something is otherwise than when it was planned."""
    watched = _watched(stage, enrollment)
    if not watched or (not anew and enrollment.looks_at is not None and enrollment.looks_at > stage.now):
        return
    enrollment.looks_at = _first(stage.now, partial(_holds, stage, enrollment, watched))
    stage.later(enrollment.looks_at, LOOK, enrollment, ends=False)


def look(stage: Stage, enrollment: Enrollment) -> None:
    """Whether time has made true what an enrollment waits for; if so that comes through the door."""
    if enrollment.looks_at != stage.now:
        return
    watched = _watched(stage, enrollment)
    if watched and _holds(stage, enrollment, watched, stage.now):
        stage.accept(passed(enrollment, stage.now))
    watch(stage, enrollment)


def _watched(stage: Stage, enrollment: Enrollment) -> tuple[Watch, ...]:
    plan, state = enrollment.plan, enrollment.state
    steps = stage.looked_for(plan)
    if not steps or enrollment.status != "live" or state.status != "waiting":
        return ()
    step = plan.step_at(state.op) or ""
    return (*steps.get((plan.hash, step), ()), *steps.get((plan.hash, ""), ()))


def _holds(stage: Stage, enrollment: Enrollment, watched: tuple[Watch, ...], at: datetime) -> bool:
    enrollment.look_at(0)
    return true(stage.people(stage.deployment.needs(enrollment.plan), at), enrollment, watched, at)
