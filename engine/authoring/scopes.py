"""Which names an expression may use at a place, with types: built from tracking.yaml and from what the journey did before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.authoring.checking import Expect, Scope, check
from engine.authoring.expressions import Expression
from engine.authoring.model_segments import Segments
from engine.authoring.model_tracking import EventType, Tracking
from engine.authoring.types import ANY, Type

if TYPE_CHECKING:
    from engine.authoring.spots import Spot

Fields = Mapping[str, Type]

LAST_SEND = Type(
    "object",
    fields=tuple((name, Type("string")) for name in ("status", "channel", "template", "step", "reason")),
)
"""`vars.last_send`, which every send writes."""

_BUILTIN_ATTRIBUTES = {
    "id": Type("string", optional=False),
    "email": Type("string"),
    "phone": Type("string"),
    "timezone": Type("string"),
    "locale": Type("string"),
    "created_at": Type("datetime"),
}

OCCASION: dict[str, Type] = {
    "occurred_at": Type("datetime", optional=False),
    "name": Type("string", optional=False),
    "occurrence": Type("string", optional=False),
}
"""What `entry` has where the calendar enrolled: `occurrence` is the local time of a schedule, or the year or date of a `date`."""


class Open(dict[str, Type]):
    """Fields of which only some are known: any other name is there too, of any type."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Type:
        return ANY

    def get(self, name: str, default: object = None) -> Type:
        return self[name]


def customer_fields(tracking: Tracking, segments: Segments) -> dict[str, Type]:
    """What `customer` has: built-in attributes, declared ones, computed and predicted ones, and `stage`."""
    stage = Type("enum", values=tuple(s.name for s in segments.stages)) if segments.stages else Type("string")
    return {**plain_fields(tracking), "stage": stage, **tracking.worked_out}


def plain_fields(tracking: Tracking) -> dict[str, Type]:
    """What `customer` has that isn't worked out: built-in and declared attributes. Computed ones may read these."""
    return {**_BUILTIN_ATTRIBUTES, **dict(tracking.attributes)}


def event_fields(event: EventType | None) -> dict[str, Type]:
    """What an event has: its properties and when it occurred. None, an undeclared event, has any field."""
    always = {"occurred_at": Type("datetime", optional=False), "name": Type("string", optional=False)}
    if event is None:
        return Open(always)
    return {**always, **{name: t.required() if name in event.required else t for name, t in event.properties}}


def either(options: Iterable[Fields | None]) -> Fields | None:
    """What a record has that is one of `options`: a field that not all have is optional, one of two types is any. None among
    them: there may be none."""
    listed = list(options)
    known = [o for o in listed if o is not None]
    if not known:
        return None
    merged: dict[str, Type] = Open() if any(isinstance(o, Open) for o in known) else {}
    for name in dict.fromkeys(n for o in known for n in o):
        types = [dict(o).get(name) for o in known]
        found = [t for t in types if t]
        same = all(replace(t, optional=True) == replace(found[0], optional=True) for t in found)
        loose = len(found) < len(types) or len(known) < len(listed) or any(t.optional for t in found)
        merged[name] = replace(found[0] if same else ANY, optional=loose)
    return merged


@dataclass(frozen=True, slots=True)
class Names:
    """The names at one place. None: not there at all (`event` in a segment)."""

    customer: Fields
    entry: Fields | None = None
    event: Fields | None = None
    vars: Fields | None = None
    segments: frozenset[str] = frozenset()
    secrets: bool = False

    def looking_at(self, event: Fields | None) -> Names:
        """The same names with `event` being this one."""
        return replace(self, event=event)

    def with_secrets(self) -> Names:
        """The same names and `secrets`, as a call sees them."""
        return replace(self, secrets=True)

    def scope(self) -> Scope:
        """The names as the checker of expressions and templates wants them."""
        given = {"customer": self.customer, "entry": self.entry, "event": self.event, "vars": self.vars}
        names = {name: record(fields) for name, fields in given.items() if fields is not None}
        names["now"] = Type("datetime", optional=False)
        absent = {name: why for name, why in _ABSENT.items() if given.get(name) is None}
        if self.secrets:
            names["secrets"] = Type("object", optional=False)
            absent.pop("secrets")
        return Scope(names, self.segments, absent)

    def check(self, spot: Spot, expression: Expression, expect: Expect) -> None:
        """Reports at `spot` what is wrong with the names and types in `expression`."""
        for found in check(expression, self.scope(), expect):
            spot.report(found.code, found.message, found.hint, level=found.level, offset=found.offset, length=found.length)


_ABSENT = {
    "entry": "nobody has entered a journey at this place",
    "event": "no event is being looked at, and no wait has taken one on the way here",
    "vars": "variables belong to a passage through a journey",
    "secrets": "secrets can be read in a call only",
}


def record(fields: Fields) -> Type:
    """The object type with these fields; an open one has any field."""
    return Type("object", fields=() if isinstance(fields, Open) else tuple(fields.items()), optional=False)
