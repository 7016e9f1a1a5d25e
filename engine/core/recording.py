"""What a decision looked at, small enough to be kept with every decision, and back: `decide` over `recall(record(…))` says again
what it said.

Facts are an object without the fields that have their defaults; whatever there may be many of (consents, slots, registered
sends …) is a list of its fields in order, without those at its end that have their defaults; moments are whole microseconds since
the epoch. So defaults never change, and new fields go to the end of their dataclass. How a field is written follows from its
type: a new one needs nothing here. What no gate looks at isn't kept: an address is there ("") or not.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any, Union

from engine.core.compact import micros, moment
from engine.core.facts import Facts, Message, PlannedFact
from engine.core.wire import Json

MESSAGE = "message"
"""Where the message stands among the facts."""

UNSEEN = frozenset({(Facts, "address"), (PlannedFact, "address")})
"""Personal texts of which gates see only whether they are there."""

Way = Callable[[Any], Any]


def record(facts: Facts, message: Message) -> Json:
    """`facts` and `message` as one JSON object."""
    body: dict[str, Json] = {}
    for (name, default, pack, _), value in zip(_FACTS, _VALUES(facts), strict=True):
        if value is not default and value != default:
            body[name] = pack(value)
    body[MESSAGE] = _MESSAGE[0](message)
    return body


def recall(body: Json) -> tuple[Facts, Message]:
    """What `record` wrote. ValueError where it isn't that, or a newer version wrote it."""
    if not isinstance(body, dict) or MESSAGE not in body:
        raise ValueError("a recording is an object with a message")
    if strange := body.keys() - _NAMES:
        raise ValueError(f"facts have no {', '.join(sorted(strange))}: a newer version recorded them")
    try:
        facts = Facts(**{name: read(body[name]) for name, _, _, read in _FACTS if name in body})
        return facts, _MESSAGE[1](body[MESSAGE])
    except (TypeError, OverflowError) as wrong:
        raise ValueError(f"no facts: {wrong}") from wrong


def _same(value: Any) -> Any:
    return value


def _only(kind: type) -> Way:
    kinds = (int, float) if kind is float else kind

    def read(body: Any) -> Any:
        if not isinstance(body, kinds):
            raise TypeError(f"{body!r} is no {kind.__name__}")
        return body

    return read


def _is_there(value: str | None) -> str | None:
    return None if value is None else ""


def _ways(kind: Any) -> tuple[Way, Way]:
    """How a value of this type is written and read. TypeError for a type that no fact has had so far."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _optional(*[a for a in inner if a is not type(None)])
    if origin is tuple and inner[-1] is Ellipsis:
        return _many(inner[0])
    if origin is tuple:
        return _fixed(inner)
    if origin is Mapping:
        pack, read = _many(tuple[inner])  # type: ignore[valid-type]  # a type made of types
        return lambda value: pack(value.items()), lambda body: dict(read(body))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _row(kind)
    if kind is datetime:
        return micros, moment
    if kind is bool:
        return int, bool
    if kind in (str, int, float):
        return _same, _only(kind)
    if origin is typing.Literal:
        return _same, _only(str)
    raise TypeError(f"nothing says how {kind} is recorded")


def _optional(kind: Any, *others: Any) -> tuple[Way, Way]:
    if others:
        raise TypeError(f"a fact is of one type or None, not of {kind} and {others}")
    pack, read = _ways(kind)
    packs = pack if pack is _same else lambda value: None if value is None else pack(value)
    return packs, lambda body: None if body is None else read(body)


def _many(kind: Any) -> tuple[Way, Way]:
    pack, read = _ways(kind)
    packs = list if pack is _same else lambda value: [pack(v) for v in value]
    return packs, lambda body: tuple([read(v) for v in body])


def _fixed(kinds: tuple[Any, ...]) -> tuple[Way, Way]:
    ways = [_ways(k) for k in kinds]
    return (
        lambda value: [pack(v) for (pack, _), v in zip(ways, value, strict=True)],
        lambda body: tuple([read(v) for (_, read), v in zip(ways, body, strict=True)]),
    )


def _row(cls: type) -> tuple[Way, Way]:
    """A dataclass as a list of its fields."""
    fields = _fields(cls)
    names = [name for name, _, _, _ in fields]
    values = attrgetter(*names)
    reads = [read for _, _, _, read in fields]
    changing = [(i, pack) for i, (_, _, pack, _) in enumerate(fields) if pack is not _same]
    defaults = [default if default is dataclasses.MISSING else pack(default) for _, default, pack, _ in fields]

    def pack_row(value: Any) -> list[Json]:
        found = list(values(value))
        for i, pack in changing:
            found[i] = pack(found[i])
        while found and found[-1] == defaults[len(found) - 1]:
            found.pop()
        return found

    def read_row(body: list[Json]) -> Any:
        if len(body) > len(names):
            raise ValueError(f"{cls.__name__} has {len(names)} fields, the list {len(body)}: a newer version recorded it")
        return cls(*[read(item) for read, item in zip(reads, body, strict=False)])

    return pack_row, read_row


def _fields(cls: type) -> tuple[tuple[str, Any, Way, Way], ...]:
    """Name, default (MISSING, which nothing equals, where there is none), and both ways."""
    hints = typing.get_type_hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        pack, read = _ways(hints[field.name])
        found.append((field.name, field.default, _is_there if (cls, field.name) in UNSEEN else pack, read))
    return tuple(found)


_FACTS = _fields(Facts)
_VALUES = attrgetter(*(name for name, _, _, _ in _FACTS))
_MESSAGE = _row(Message)
_NAMES = frozenset({MESSAGE, *(name for name, _, _, _ in _FACTS)})
