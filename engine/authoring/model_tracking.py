"""tracking.yaml, compiled: which events and attributes exist, with types, and how incoming values become those types.

Stored with a deploy as JSON and read back by intake, which has no files. Pure values.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class Computed:
    """An attribute that is kept up to date as events of `event` arrive.

    sum, latest, most_frequent, last: of `value` (an expression on the event) · count · median_gap_days: days between events.
    Only events where `where` holds, not older than `within`, count; fewer than `at_least` of them give `default`.
    `last`: how many values the list keeps. `type` is what it gives."""

    name: str
    kind: Literal["sum", "count", "latest", "last", "median_gap_days", "most_frequent"]
    event: str
    type: Type
    value: str | None = None
    where: str | None = None
    within: Duration | None = None
    at_least: int = 1
    last: int = 0
    default: Json = None


@dataclass(frozen=True, slots=True)
class Tracking:
    """All of tracking.yaml. `on_unknown`: what intake does with an event that isn't declared here."""

    events: tuple[EventType, ...] = ()
    attributes: tuple[tuple[str, Type], ...] = ()
    computed: tuple[Computed, ...] = ()
    on_unknown: Literal["accept", "warn", "quarantine"] = "warn"

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
_AUTOMATIC = (*_MESSAGE, ("machine", _FLAG))
BUILTIN: tuple[EventType, ...] = (
    EventType("message_sent", _MESSAGE),
    EventType("message_delivered", _MESSAGE),
    EventType("message_opened", _AUTOMATIC),
    EventType("message_clicked", (*_AUTOMATIC, ("url", _TEXT))),
    EventType("message_bounced", (*_MESSAGE, ("reason", _TEXT), ("hard", _FLAG))),
    EventType("message_complained", _MESSAGE),
    EventType("message_replied", (*_MESSAGE, ("text", _TEXT))),
    EventType("unsubscribed", (("channel", _TEXT), ("topic", _TEXT), ("source", _TEXT))),
    EventType(
        "consent_changed",
        (
            ("channel", _TEXT),
            ("topic", _TEXT),
            ("state", Type("enum", values=("granted", "withdrawn", "pending"))),
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
    except ValueError:
        return value, f"{str(value)[:60]!r} is not {_a(declared)}"


def native(declared: Type, value: Json) -> object:
    """A value that `convert` gave, as expressions want it: `date` and `datetime` objects, also in lists and objects."""
    if declared.kind == "date" and isinstance(value, str):
        return date.fromisoformat(value)
    if declared.kind == "datetime" and isinstance(value, str):
        return datetime.fromisoformat(value)
    if declared.kind == "list" and isinstance(value, list) and declared.item:
        return [native(declared.item, v) for v in value]
    if declared.kind == "object" and isinstance(value, dict):
        known = dict(declared.fields)
        return {k: native(known[k], v) if k in known else v for k, v in value.items()}
    return value


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
    return value


def _integer(declared: Type, value: Json) -> Json:
    number = _number(declared, value)
    if number != int(number):
        raise ValueError
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
