"""tracking.yaml, compiled: which events and attributes exist, with types, and how incoming values become those types.

Stored with a deploy as JSON and read back by intake, which has no files. Pure values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Literal

from engine.authoring.expression_syntax import ExpressionError
from engine.authoring.expressions import compile_expression
from engine.authoring.types import Type
from engine.core.clock import Duration
from engine.core.wire import Json, dump, load


@dataclass(frozen=True, slots=True)
class EventType:
    """A declared event. `retention` None: kept as long as the customer. Built-in ones are in `builtin.EVENTS`."""

    name: str
    properties: tuple[tuple[str, Type], ...] = ()
    required: tuple[str, ...] = ()
    retention: Duration | None = None

    def property(self, name: str) -> Type | None:
        """The declared type of a property, None where it isn't declared."""
        return dict(self.properties).get(name)


ComputedKind = Literal[
    "sum", "count", "latest", "earliest", "last", "first", "median_gap_days", "most_frequent", "distinct", "score", "orders"
]
"""`orders` is the engine's own: what predictions are made of."""


@dataclass(frozen=True, slots=True)
class Points:
    """Points of a score: `add` for each `event` (where `where` holds), or (`event` None) while `condition` holds."""

    add: float
    event: str | None = None
    where: str | None = None
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Computed:
    """An attribute that is kept up to date as events of `event` arrive.

    sum, latest, earliest, most_frequent, last, first, distinct (how many different ones): of `value` (an expression on the
    event) · count · median_gap_days: days between events. Only events where `where` holds, not older than `within`, count;
    fewer than `at_least` of them give `default`. `last`: how many values the list of `last` or `first` keeps. `type` is
    what it gives. A score has `points` instead of all these; those of events fade by half in every `half_life`."""

    name: str
    kind: ComputedKind
    event: str
    type: Type
    value: str | None = None
    where: str | None = None
    within: Duration | None = None
    at_least: int = 1
    last: int = 0
    default: Json = None
    points: tuple[Points, ...] = ()
    half_life: Duration | None = None

    @property
    def events(self) -> tuple[str, ...]:
        """The names of the events that mean something to it."""
        return tuple(dict.fromkeys(p.event for p in self.points if p.event)) if self.points else (self.event,)


@dataclass(frozen=True, slots=True)
class Predict:
    """What is predicted of customers: of the `event` that is an order (where `where` holds), worth `value`, how many and for how
    much come within `ahead`."""

    event: str
    ahead: Duration
    value: str | None = None
    where: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The attributes that it gives."""
        return ("churn_risk", "expected_orders", "expected_value")[: 3 if self.value is not None else 2]


@dataclass(frozen=True, slots=True)
class Tracking:
    """All of tracking.yaml. `on_unknown`: what intake does with an event that isn't declared here."""

    events: tuple[EventType, ...] = ()
    attributes: tuple[tuple[str, Type], ...] = ()
    computed: tuple[Computed, ...] = ()
    on_unknown: Literal["accept", "warn", "quarantine"] = "warn"
    predict: Predict | None = None

    @property
    def worked_out(self) -> Mapping[str, Type]:
        """The attributes that nobody sets: computed and predicted ones, with their types."""
        predicted = self.predict.names if self.predict is not None else ()
        return {**{c.name: c.type for c in self.computed}, **{name: Type("number") for name in predicted}}

    def event(self, name: str) -> EventType | None:
        """The declared or built-in event called `name`."""
        return next((e for e in (*self.events, *BUILTIN) if e.name == name), None)

    def attribute(self, name: str) -> Type | None:
        """The declared type of an attribute that sources may set; None where it isn't declared."""
        return dict(self.attributes).get(name)

    def to_json(self) -> Json:
        """JSON values; `from_json` reads them back."""
        return dump(self)

    @classmethod
    def from_json(cls, body: Json) -> Tracking:
        """The Tracking that `to_json` wrote."""
        return load(cls, body)


_TEXT, _FLAG = Type("string"), Type("boolean")
_MESSAGE = tuple((name, _TEXT) for name in ("message", "journey", "step", "template", "channel", "topic", "tier"))
_TOLD = (*_MESSAGE, ("words", _TEXT))
_AUTOMATIC = (*_MESSAGE, ("machine", _FLAG))
BUILTIN: tuple[EventType, ...] = (
    EventType("message_sent", _MESSAGE),
    EventType("message_delivered", _TOLD),
    EventType("message_opened", _AUTOMATIC),
    EventType("message_clicked", (*_AUTOMATIC, ("url", _TEXT))),
    EventType("message_bounced", (*_MESSAGE, ("reason", _TEXT), ("hard", _FLAG))),
    EventType("message_complained", _TOLD),
    EventType("message_replied", (*_MESSAGE, ("text", _TEXT), ("keyword", _TEXT))),
    EventType("reply_sent", (("channel", _TEXT), ("keyword", _TEXT), ("text", _TEXT))),
    EventType("unsubscribed", (("channel", _TEXT), ("topic", _TEXT), ("source", _TEXT))),
    EventType(
        "consent_changed",
        (
            ("channel", _TEXT),
            ("topic", _TEXT),
            ("state", Type("enum", values=("granted", "withdrawn", "pending", "cleared"))),
            ("source", _TEXT),
            ("wording", _TEXT),
            ("until", Type("datetime")),
            ("confirmed", _FLAG),
        ),
    ),
    EventType("segment_entered", (("segment", _TEXT),)),
    EventType("segment_left", (("segment", _TEXT),)),
    EventType("stage_changed", (("stage", _TEXT), ("previous", _TEXT))),
    EventType(
        "task_completed",
        (("task", Type("integer")), ("queue", _TEXT), ("step", _TEXT), ("journey", _TEXT), ("result", _TEXT), ("by", _TEXT)),
    ),
    EventType("goal_reached", (("journey", _TEXT), ("event", _TEXT), ("value", Type("number")))),
)
"""Events of our own, usable like any other; tracking.yaml can't declare them again."""

WORKED_OUT = ("segment_entered", "segment_left", "stage_changed", "goal_reached")
"""Those of them that follow from what is stored: nobody else can know of them. The others come from providers and APIs too."""


PEOPLE_ONLY = ("message_opened", "message_clicked")
"""Events that machines make too (`machine`): link scanners, privacy proxies. They count as nobody's doing."""


def by_people(event: str | None, where: str | None) -> str | None:
    """`where`, which no machine satisfies unless it asks about machines itself."""
    if event not in PEOPLE_ONLY or (where is not None and _asks_about_machines(where)):
        return where
    return "not event.machine" if where is None else f"({where}) and not event.machine"


@lru_cache(maxsize=4096)
def _asks_about_machines(where: str) -> bool:
    try:
        return "machine" in compile_expression(where).uses.event_properties
    except ExpressionError:  # told where it is compiled for good
        return False


def convert(declared: Type, value: Json) -> tuple[Json, str | None]:
    """An incoming value as its declared type says: (value, None), or (value as it came, what is wrong with it).

    A number sent as text becomes a number and the other way round, dates and moments one ISO form (moments in UTC). None is
    missing, and fits every type."""
    if value is None or declared.kind == "any":
        return value, None
    if declared.kind == "list":
        return _convert_list(declared, value)
    if declared.kind == "object":
        return _convert_object(declared, value)
    if isinstance(value, (dict, list)):
        return value, f"is {'an object' if isinstance(value, dict) else 'a list'}, not {_a(declared)}"
    try:
        return _SCALARS[declared.kind](declared, value), None
    except _TooLargeError:
        return value, f"{str(value)[:60]!r} has more than 64 bits"
    except ValueError:
        return value, f"{str(value)[:60]!r} is not {_a(declared)}"


def native(declared: Type, value: Json) -> object:
    """A value as expressions want it: `date` and `datetime` objects, also in lists and objects. A text that says neither, as one
    that was stored before its name was declared may, is missing."""
    read = _NATIVE.get(declared.kind)
    if read is not None and isinstance(value, str):
        try:
            return read(value)
        except ValueError:
            return None
    if declared.kind == "list" and isinstance(value, list) and declared.item:
        return [native(declared.item, v) for v in value]
    if declared.kind == "object" and isinstance(value, dict):
        known = dict(declared.fields)
        return {k: native(known[k], v) if k in known else v for k, v in value.items()}
    return value


_NATIVE: Mapping[str, Callable[[str], object]] = {"date": date.fromisoformat, "datetime": datetime.fromisoformat}


class _TooLargeError(ValueError):
    """An integer that the store doesn't write."""


def _a(declared: Type) -> str:
    if declared.kind == "enum":
        return f"one of {', '.join(declared.values)}"
    return f"{'an' if declared.kind in ('integer', 'object') else 'a'} {declared.kind}"


def _convert_list(declared: Type, value: Json) -> tuple[Json, str | None]:
    if not isinstance(value, list):
        return value, "is not a list"
    if declared.item is None:
        return value, None
    found = [convert(declared.item, v) for v in value]
    wrong = next((f"item {i}: {p}" for i, (_, p) in enumerate(found) if p), None)
    return [v for v, _ in found], wrong


def _convert_object(declared: Type, value: Json) -> tuple[Json, str | None]:
    if not isinstance(value, dict):
        return value, "is not an object"
    known = dict(declared.fields)
    found = {k: convert(known[k], v) if k in known else (v, None) for k, v in value.items()}
    wrong = next((f"{k}: {p}" for k, (_, p) in found.items() if p), None)
    return {k: v for k, (v, _) in found.items()}, wrong


def _string(_: Type, value: Json) -> Json:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def _number(_: Type, value: Json) -> Json:
    if isinstance(value, bool):
        raise ValueError
    if isinstance(value, str):
        if not value.isascii() or "_" in value:
            raise ValueError
        try:
            value = int(value)
        except ValueError:
            value = float(value)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError
    return value if isinstance(value, float) or _small(value) else _floating(value)


def _small(number: int) -> bool:
    return -(2**63) <= number < 2**63


def _floating(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        raise ValueError from None


def _integer(declared: Type, value: Json) -> Json:
    number = _number(declared, value)
    if number != int(number):
        raise ValueError
    if not _small(int(number)):
        raise _TooLargeError
    return int(number)


def _boolean(_: Type, value: Json) -> Json:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ValueError


def _date(_: Type, value: Json) -> Json:
    if not isinstance(value, str):
        raise ValueError
    return date.fromisoformat(value[:10] if len(value) > 10 and datetime.fromisoformat(value) else value).isoformat()


def _datetime(_: Type, value: Json) -> Json:
    if isinstance(value, bool):
        raise ValueError
    if isinstance(value, (int, float)):
        try:
            moment = datetime.fromtimestamp(value / 1000 if abs(value) > 1e11 else value, UTC)
        except (OverflowError, OSError):
            raise ValueError from None
        return moment.isoformat()
    moment = datetime.fromisoformat(value)
    try:
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)).isoformat()
    except OverflowError:
        raise ValueError from None


def _enum(declared: Type, value: Json) -> Json:
    if value not in declared.values:
        raise ValueError
    return value


_SCALARS = {
    "string": _string,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "enum": _enum,
}
