"""segments.yaml, compiled: conditions on customers as trees, and the stages in order. Stored with a deploy as JSON and read
back by intake, which evaluates them. Pure values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engine.core.clock import Duration
from engine.core.wire import Json, dump, load


@dataclass(frozen=True, slots=True)
class Every:
    """`all`: every part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """`any`: at least one part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """`not`: the part doesn't hold."""

    part: Condition


@dataclass(frozen=True, slots=True)
class Did:
    """`did`: at least `at_least` such events, not older than `within` (None: ever), `where` holds. `did_not` is its Not."""

    event: str
    at_least: int = 1
    within: Duration | None = None
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Holds:
    """`if`: an expression on the customer."""

    expression: str


@dataclass(frozen=True, slots=True)
class InSegment:
    """`segment`: is in another segment."""

    name: str


Condition = Every | Either | Not | Did | Holds | InSegment


@dataclass(frozen=True, slots=True)
class Segment:
    name: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class Stage:
    """`condition` None: matches everybody that no stage above it did."""

    name: str
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Segments:
    """All of segments.yaml. `segments` stand after those that they refer to; the first stage that matches counts."""

    segments: tuple[Segment, ...] = ()
    stages: tuple[Stage, ...] = ()

    def get(self, name: str) -> Segment | None:
        """The segment called `name`."""
        return next((s for s in self.segments if s.name == name), None)

    def names(self) -> set[str]:
        """The names of all segments."""
        return {s.name for s in self.segments}

    def to_json(self) -> Json:
        """JSON values; `from_json` reads them back."""
        return dump(self)

    @classmethod
    def from_json(cls, body: Json) -> Segments:
        """The Segments that `to_json` wrote."""
        return load(cls, body)


def walk(condition: Condition) -> Iterator[Condition]:
    """The condition and everything in it."""
    yield condition
    if isinstance(condition, (Every, Either)):
        for part in condition.parts:
            yield from walk(part)
    elif isinstance(condition, Not):
        yield from walk(condition.part)
