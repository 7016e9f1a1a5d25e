"""Enrollment values as compact JSON lists and back: what signals, continue-as-new and the store carry.

A list has the fields in the order of the dataclass, without those at its end that have their defaults; moments are whole
microseconds since the epoch. New fields go to the end of a dataclass, so that lists written before stay readable.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from engine.core.enrollment import Begin, Command, Input, Outcome, State
from engine.core.wire import Json

Value = State | Begin | Input | Outcome | Command
T = TypeVar("T", bound=Value)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
BEGIN = "begin"
"""Stands where an Input has its kind, so that one list tells Begin and Input apart: both come from the same numbered stream."""


def encode_state(state: State) -> list[Json]:
    """`state` as a list: [status, op, at, wake, visit, attempt, seq, …]."""
    return _encode(state)


def decode_state(body: list[Json]) -> State:
    """The state that `encode_state` wrote. ValueError when a newer version wrote it, with more fields; so everywhere here."""
    return _decode(State, body)


def encode_input(given: Begin | Input) -> list[Json]:
    """An input as [seq, at, kind, matched, reason]; a Begin as [seq, at, "begin"]."""
    return [*_encode(given), BEGIN] if isinstance(given, Begin) else _encode(given)


def decode_input(body: list[Json]) -> Begin | Input:
    """The Begin or Input that `encode_input` wrote."""
    return _decode(Begin, body[:2]) if body[2] == BEGIN else _decode(Input, body)


def encode_outcome(outcome: Outcome) -> list[Json]:
    """`outcome` as a list: [kind, op, visit, attempt, at, until, choice, seq, reason]."""
    return _encode(outcome)


def decode_outcome(body: list[Json]) -> Outcome:
    """The outcome that `encode_outcome` wrote."""
    return _decode(Outcome, body)


def encode_command(command: Command) -> list[Json]:
    """`command` as a list: [kind, op, visit, attempt, at, …]."""
    return _encode(command)


def decode_command(body: list[Json]) -> Command:
    """The command that `encode_command` wrote."""
    return _decode(Command, body)


def micros(moment: datetime) -> int:
    """Whole microseconds from the epoch to `moment`, which must be aware (TypeError otherwise)."""
    return (moment - EPOCH) // MICROSECOND


def moment(micros: int) -> datetime:
    """The UTC moment `micros` microseconds after the epoch."""
    return EPOCH + micros * MICROSECOND


def _encode(value: Value) -> list[Json]:
    fields = dataclasses.fields(value)
    items = [getattr(value, field.name) for field in fields]
    while items and items[-1] == fields[len(items) - 1].default:
        items.pop()
    return [_pack(item) for item in items]


def _decode(kind: type[T], body: list[Json]) -> T:
    readers = _FIELDS[kind]
    if len(body) > len(readers):
        raise ValueError(f"{kind.__name__} has {len(readers)} fields, the list {len(body)}: a newer version wrote it")
    return kind(*(read(item) for read, item in zip(readers, body, strict=False)))


def _pack(item: Any) -> Json:
    if isinstance(item, datetime):
        return micros(item)
    if isinstance(item, Input):
        return encode_input(item)
    if isinstance(item, tuple):
        return [_pack(part) for part in item]
    return int(item) if isinstance(item, bool) else item


def _moment_or_none(item: int | None) -> datetime | None:
    return None if item is None else moment(item)


def _pairs(item: list[list[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((first, second) for first, second in item)


def _inputs(item: list[list[Json]]) -> tuple[Input, ...]:
    return tuple(_decode(Input, body) for body in item)


def _as_is(item: Json) -> Json:
    return item


_READERS: dict[str, Callable[[Json], Any]] = {
    "datetime": moment,
    "datetime | None": _moment_or_none,
    "bool": bool,
    "tuple[int, ...]": tuple,
    "tuple[tuple[int, int], ...]": _pairs,
    "tuple[Input, ...]": _inputs,
}
"""How a field is read, by its annotation as written; plain words and numbers are taken as they are."""

_FIELDS: dict[type, tuple[Callable[[Json], Any], ...]] = {
    kind: tuple(_READERS.get(str(field.type), _as_is) for field in dataclasses.fields(kind))
    for kind in (State, Begin, Input, Outcome, Command)
}
