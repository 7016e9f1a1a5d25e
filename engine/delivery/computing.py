"""The computed attributes of a deployment: which events mean something to which, and what is stored of a customer for each.

What is stored under a definition's hash is exactly what all the customer's events give: `brought_up` adds events to it, `read`
says what it is worth at a moment. Where more would have to be kept than is reasonable, only that is kept (`over`), and the
attribute is worked out on reading. No I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any

from engine.authoring.expressions import Context, Expression, ExpressionError, compile_expression
from engine.authoring.kept import why_not_kept
from engine.authoring.model_tracking import Computed, Tracking
from engine.authoring.types import ANY
from engine.core.clock import Duration, add
from engine.core.clock import zone as zone_named
from engine.core.wire import digest, dump
from engine.delivery.tallies import Counted, Tally, micros, pack, score_at, tallied, value_of
from engine.store.database import json_text

RULES = 1
"""Goes up when the same events are worth something else than before, so that everything is worked out anew."""

ENTRIES = 500
"""Events of one customer within a window, moments for a median, or different values that are kept at the most."""

ORDER_DAYS = 2_000
"""Days with orders that are kept at the most: five and a half years of daily orders. Who has more isn't predicted for."""

ORDERS = "$orders"
"""What is kept of orders for predictions; no attribute can be called so."""

STATE_BYTES = 32_000
"""How large one stored state may be: what is larger isn't kept."""

SLACK, LESS_SLACK = timedelta(days=7), timedelta(days=5)
"""A window begins at another moment in another zone, by a few days where months are of different length. So long before its
beginning in UTC events are kept at least, and read at the most."""

ITS_OWN = frozenset({"occurred_at", "name"})
"""What is known of an event also when retention has taken its properties."""

_SMALL = ("count", "sum")
"""Kinds whose state doesn't grow."""

_ALWAYS = -(2**60)
"""Earlier than any event, in microseconds."""


@dataclass(frozen=True, eq=False)
class Definition:
    """A computed attribute as it is defined now. `hash`: of all that its value depends on. `why_not`: why it isn't kept ("": it
    is)."""

    computed: Computed
    hash: str
    why_not: str

    @classmethod
    def of(cls, computed: Computed, tracking: Tracking) -> Definition:
        """The definition of an attribute of `tracking`."""
        events = [tracking.event(name) for name in computed.events]
        typed = [dump(e.properties) if e is not None else None for e in events]
        return cls(computed, digest([RULES, dump(computed), typed]), why_not_kept(computed, tracking))

    @property
    def name(self) -> str:
        """The attribute's name."""
        return self.computed.name

    @property
    def windowed(self) -> bool:
        """Whether only events of some time count."""
        return self.computed.within is not None

    @property
    def timed(self) -> bool:
        """Whether its value changes with time alone, so that it follows from the state only at the moment of reading."""
        return self.windowed or self.computed.half_life is not None


@dataclass(frozen=True, eq=False)
class Definitions:
    """All those of a deployment, by name. `concerned`: event → the kept ones to which it means something. `predicted`: name →
    hash, of the attributes that are predicted."""

    all: Mapping[str, Definition]
    concerned: Mapping[str, tuple[Definition, ...]]
    predicted: Mapping[str, str]

    @classmethod
    def of(cls, tracking: Tracking) -> Definitions:
        """Those of `tracking`."""
        predict = tracking.predict
        orders = [] if predict is None else [Computed(ORDERS, "orders", predict.event, ANY, predict.value, predict.where)]
        found = {c.name: Definition.of(c, tracking) for c in (*tracking.computed, *orders)}
        concerned: dict[str, list[Definition]] = {}
        for one in found.values():
            for event in one.computed.events if not one.why_not else ():
                concerned.setdefault(event, []).append(one)
        predicted: dict[str, str] = {}
        if predict is not None:
            predicted = dict.fromkeys(predict.names, digest([found[ORDERS].hash, dump(predict.ahead)]))
        return cls(found, {event: tuple(those) for event, those in concerned.items()}, predicted)

    @cached_property
    def names(self) -> frozenset[str]:
        """The attributes that conditions and templates may ask for."""
        return frozenset(self.all).union(self.predicted) - {ORDERS}

    @cached_property
    def kept(self) -> tuple[Definition, ...]:
        """Those that are kept, in the order of tracking.yaml."""
        return tuple(d for d in self.all.values() if not d.why_not)

    @cached_property
    def hash(self) -> str:
        """Of everything that is kept: what has been filled in for it needn't be again."""
        return digest(sorted(d.hash for d in self.kept))


def counted(computed: Computed, happened: Iterable[tuple[int, Context]]) -> list[Counted]:
    """Of these events (number, context with the event) those that count, with their values; of a score: their points."""
    if computed.points:
        return [one for number, context in happened if (one := _scored(computed, number, context)) is not None]
    condition = _compiled(computed.where)
    value = _compiled(computed.value)
    found = []
    for number, context in happened:
        if (condition is None or holds(condition, context)) and (value is None or is_there(value, context)):
            assert context.event is not None
            moment = context.event["occurred_at"]
            assert isinstance(moment, datetime)
            found.append((micros(moment), number, None if value is None else pack(worth(value, context))))
    return found


def _scored(computed: Computed, number: int, context: Context) -> Counted | None:
    """An event with its points in thousandths; None where it has none."""
    assert context.event is not None
    moment, name = context.event["occurred_at"], context.event["name"]
    assert isinstance(moment, datetime)
    found = [
        round(p.add * 1_000)
        for p in computed.points
        if p.event == name and (p.where is None or holds(compile_expression(p.where), context))
    ]
    return (micros(moment), number, sum(found)) if found else None


@lru_cache(maxsize=256)
def since(within: Duration | None, now: datetime, zone: str) -> int:
    """From when on (microseconds, exclusive) events count at `now` for somebody in `zone`."""
    if within is None:
        return _ALWAYS
    try:
        return micros(add(now, Duration(-within.months, -within.days, -within.seconds), zone_named(zone)))
    except ValueError:  # before the calendar begins
        return _ALWAYS


def worked_out(computed: Computed, found: Sequence[Counted], now: datetime, zone: str) -> Any:
    """The attribute's value from all events of the customer that may count."""
    begin = since(computed.within, now, zone)
    return _worth(computed, tallied(computed, None, (one for one in found if one[0] > begin)), now)


def _worth(computed: Computed, tally: Tally, now: datetime) -> Any:
    return score_at(computed, tally, micros(now)) if computed.points else value_of(computed, tally)


def brought_up(d: Definition, state: Tally | None, found: Sequence[Counted], now: datetime) -> Tally:
    """The state with these events in it, each of which comes once; None: of no event. One that was `over` stays so."""
    if state is not None and "over" in state:
        return state
    made, size = extended(d, state, found, now)
    if size > ENTRIES or (d.computed.kind not in _SMALL and len(json_text(made)) > STATE_BYTES):
        return _over(d.computed, made)
    return made


def extended(d: Definition, state: Tally | None, found: Sequence[Counted], now: datetime) -> tuple[Tally, int]:
    """The state with these events in it, however large it becomes, and of how many entries it is."""
    if d.windowed:
        return _windowed(d.computed, state, found, now)
    made = tallied(d.computed, state, found)
    size = len(made.get("at") or made.get("of") or ())
    if d.computed.kind == "orders":
        size = len(made["days"]) - ORDER_DAYS + ENTRIES
    return made, size


def _windowed(computed: Computed, state: Tally | None, found: Sequence[Counted], now: datetime) -> tuple[Tally, int]:
    """Every event that may be inside the window now or later."""
    begin = since(computed.within, now, "UTC") - SLACK // timedelta(microseconds=1)
    if state is not None:
        begin = max(begin, state["from"])
    listed = [list(one) for one in (*(state["in"] if state is not None else ()), *found) if one[0] > begin]
    return {"from": begin, "in": listed}, len(listed)


def _over(computed: Computed, made: Tally) -> Tally:
    """What is kept where it would be too much: until when the window holds so many, at the most."""
    if computed.within is None:
        return {"over": None}
    newest = datetime.fromtimestamp(max(one[0] for one in made["in"]) / 10**6, UTC)
    try:
        return {"over": micros(add(newest, computed.within, zone_named("UTC")) + SLACK)}
    except (OverflowError, ValueError):  # after the calendar ends
        return {"over": None}


def passed(state: Tally, now: datetime) -> bool:
    """Whether a state that was `over` may be made again by now."""
    return "over" in state and state["over"] is not None and state["over"] < micros(now)


def reaches(d: Definition, state: Tally, now: datetime) -> bool:
    """Whether the state says what the attribute is worth at `now`: it isn't `over`, and goes back far enough."""
    if "over" in state:
        return False
    begin = since(d.computed.within, now, "UTC") - LESS_SLACK // timedelta(microseconds=1)
    return not d.windowed or begin >= state["from"]


def read(d: Definition, state: Tally, now: datetime, zone: str) -> Any:
    """The value at `now` of a state that `reaches` so far, for somebody in `zone`."""
    return worked_out(d.computed, state["in"], now, zone) if d.windowed else _worth(d.computed, state, now)


def stored_value(d: Definition, state: Tally) -> Any:
    """The packed value that stands beside the state; None where it changes with time, or isn't kept."""
    return None if d.timed or "over" in state else pack(value_of(d.computed, state))


def _compiled(source: str | None) -> Expression | None:
    return None if source is None else compile_expression(source)


def holds(condition: Expression, context: Context) -> bool:
    """Whether it holds; one whose result is too large to be meant doesn't, nor one that reads what retention has taken."""
    try:
        return is_there(condition, context) and condition.test(context)
    except ExpressionError:
        return False


class Emptied(dict[str, Any]):
    """An event as expressions see it, whose properties retention has taken."""


def is_there(expression: Expression, context: Context) -> bool:
    """Whether what it reads of the event is still there."""
    return not isinstance(context.event, Emptied) or expression.uses.event_properties <= ITS_OWN


def worth(expression: Expression, context: Context) -> object:
    """Its value; missing where it is too large to be meant."""
    try:
        return expression.evaluate(context)
    except ExpressionError:
        return None
