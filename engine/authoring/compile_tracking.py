"""The shapes of tracking.yaml and segments.yaml to `Tracking` and `Segments`, with what they refer to checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, cast

from engine.authoring import shape_tracking as shape
from engine.authoring.model_segments import Condition, Did, Either, Every, Holds, InSegment, Not, Segment, Segments, Stage
from engine.authoring.model_tracking import BUILTIN, Computed, EventType, Tracking, convert
from engine.authoring.scopes import Names, customer_fields, event_fields
from engine.authoring.spots import Spot
from engine.authoring.types import ANY, Type
from engine.settings.problems import nearest

_RESERVED = ("occurred_at", "name")
_NUMBER, _COUNT = Type("number", optional=False), Type("integer", optional=False)


def compile_tracking(written: shape.Tracking, top: Spot) -> Tracking:
    """The Tracking; what is wrong is reported below `top`."""
    events = tuple(_event(name, e, top / "events" / name) for name, e in written.events.items())
    plain = Tracking(events, tuple(written.attributes.items()), (), written.on_unknown)
    for name in written.computed.keys() & written.attributes.keys():
        (top / "computed" / name).report("SJ411", f"{name!r} is declared under attributes: too", "keep one", key=True)
    computed = tuple(_computed(name, c, top / "computed" / name, plain) for name, c in written.computed.items())
    return Tracking(plain.events, plain.attributes, computed, written.on_unknown)


def _event(name: str, written: shape.Event, spot: Spot) -> EventType:
    if any(e.name == name for e in BUILTIN):
        spot.report("SJ422", f"{name!r} is an event of the engine's own and can't be declared", "take another name", key=True)
    for i, required in enumerate(written.required):
        if required not in written.properties:
            known = set(written.properties)
            (spot / "required" / i).unknown(
                "SJ211", f"property of {name} called", required, known, "declare it under properties:"
            )
    for reserved in written.properties.keys() & set(_RESERVED):
        hint = "every event has it already: take another name for the property"
        (spot / "properties" / reserved).report("SJ424", f"{reserved!r} can't be a property", hint, key=True)
    return EventType(name, tuple(written.properties.items()), written.required, written.retention)


def _computed(name: str, written: shape.Computed, spot: Spot, tracking: Tracking) -> Computed:
    kind = cast(Literal["sum", "count", "latest", "last", "median_gap_days", "most_frequent"], written.kind)
    has_value = isinstance(written, (shape.Sum, shape.Latest, shape.Last, shape.MostFrequent))
    at = "of" if has_value else kind
    source = str(getattr(written, at))
    event = tracking.event(source)
    if not event:
        known = {e.name for e in tracking.events}
        (spot / at).unknown("SJ201", "event", source, known, "declare it under events:")
    names = Names({}, event=event_fields(event))
    value, where = None, "value" if isinstance(written, shape.Last) else kind
    if has_value:
        value = str(getattr(written, where))
        (spot / where).expression(value, names, "number" if kind == "sum" else "any")
    (spot / "where").expression(written.where, names)
    given = _value_type(value, names)
    made = {
        "sum": _NUMBER,
        "count": _COUNT,
        "median_gap_days": Type("number"),
        "last": Type("list", item=given, optional=False),
    }.get(kind, given)
    default = written.default
    if default is not None:
        default, wrong = convert(made, default)
        if wrong:
            (spot / "default").report("SJ302", f"this default {wrong}")
        made = made.required()
    return Computed(
        name=name,
        kind=kind,
        event=source,
        type=made,
        value=value,
        where=written.where,
        within=written.within,
        at_least=written.at_least or 1,
        last=written.last if isinstance(written, shape.Last) else 0,
        default=default,
    )


def _value_type(value: str | None, names: Names) -> Type:
    """The type of `event.x`; anything else may be of any type."""
    owner, _, name = (value or "").partition(".")
    found = (names.event or {}).get(name) if owner == "event" else None
    return Type(found.kind, found.values, found.item, found.fields) if found else ANY


def compile_segments(written: shape.Segments, top: Spot, tracking: Tracking) -> Segments:
    """The Segments, each after those that it refers to; what is wrong is reported below `top`."""
    stages = Segments((), tuple(Stage(s.stage) for s in written.stages))
    builder = _Builder(tracking, Names(customer_fields(tracking, stages), segments=frozenset(written.segments)))
    made = {name: Segment(name, builder.one(c, top / "segments" / name)) for name, c in written.segments.items()}
    order = list(_in_order(made, builder.refers, top))
    listed = tuple(builder.stage(s, top / "stages" / i) for i, s in enumerate(written.stages))
    for i, stage in enumerate(listed):
        spot = top / "stages" / i
        if stage.name in [s.name for s in listed[:i]]:
            (spot / "stage").report("SJ411", f"two stages are called {stage.name!r}")
        if stage.condition is None and i + 1 < len(listed):
            spot.report("SJ415", "everybody matches this stage, so nobody gets to those below", "move it to the end", key=True)
    return Segments(tuple(made[name] for name in order), listed)


class _Builder:
    """Builds condition trees. `refers`: which segments each segment reads, with the place."""

    def __init__(self, tracking: Tracking, names: Names) -> None:
        self.tracking, self.names = tracking, names
        self.refers: dict[str, list[tuple[str, Spot]]] = {}

    def stage(self, written: shape.Stage, spot: Spot) -> Stage:
        if any(getattr(written, name) is not None for name in _FIELDS.values()):
            return Stage(written.stage, self.one(written, spot))
        return Stage(written.stage)

    def one(self, written: shape.Condition, spot: Spot) -> Condition:
        """The condition that stands at `spot`."""
        kinds = [key for key, name in _FIELDS.items() if getattr(written, name) is not None]
        if len(kinds) != 1:
            what = " and ".join(kinds) if kinds else "none of them"
            hint = "put several under all: [...] or any: [...]"
            spot.report("SJ420", f"a condition has exactly one of {', '.join(_FIELDS)}; this has {what}", hint, key=True)
            return Every(())
        kind = kinds[0]
        if kind not in ("did", "did_not") and (written.at_least or written.within or written.where):
            odd = next(n for n in ("at_least", "within", "where") if getattr(written, n))
            (spot / odd).report("SJ420", f"{odd}: belongs to did: or did_not:", "move it there", key=True)
        if written.any is not None:
            return Either(tuple(self.one(c, spot / "any" / i) for i, c in enumerate(written.any)))
        if written.all is not None:
            return Every(tuple(self.one(c, spot / "all" / i) for i, c in enumerate(written.all)))
        if written.not_ is not None:
            return Not(self.one(written.not_, spot / "not"))
        if written.segment is not None:
            return self.segment(written.segment, spot)
        if written.if_ is not None:
            found = (spot / "if").expression(written.if_, self.names)
            for name in sorted(found.uses.segments if found else ()):
                self.note(name, spot / "if")
            return Holds(written.if_)
        return self.did(written, spot / kind, str(written.did or written.did_not))

    def segment(self, name: str, spot: Spot) -> Condition:
        if name not in self.names.segments:
            (spot / "segment").unknown("SJ212", "segment", name, self.names.segments)
        self.note(name, spot / "segment")
        return InSegment(name)

    def note(self, name: str, spot: Spot) -> None:
        """Remembers that what is being built reads the segment `name`."""
        self.refers.setdefault(str(spot.path[1]) if spot.path[0] == "segments" else "", []).append((name, spot))

    def did(self, written: shape.Condition, spot: Spot, name: str) -> Condition:
        event = self.tracking.event(name)
        if not event:
            known = {e.name for e in (*self.tracking.events, *BUILTIN)}
            spot.report("SJ201", f"there is no event {name!r}", nearest(name, known) or "declare it in tracking.yaml")
        place = Spot(spot.document, (*spot.path[:-1], "where"))
        place.expression(written.where, self.names.looking_at(event_fields(event)))
        found = Did(name, written.at_least or 1, written.within, written.where)
        return found if written.did else Not(found)


_FIELDS = {"any": "any", "all": "all", "not": "not_", "did": "did", "did_not": "did_not", "if": "if_", "segment": "segment"}


def _in_order(made: Mapping[str, Segment], refers: Mapping[str, list[tuple[str, Spot]]], top: Spot) -> Iterator[str]:
    """The names, each after those that it refers to; a circle is reported once, where it closes."""
    done: set[str] = set()
    open_: list[str] = []

    def visit(name: str) -> Iterator[str]:
        if name in done or name not in made:
            return
        open_.append(name)
        for other, spot in refers.get(name, ()):
            if other in open_:
                circle = " → ".join([*open_[open_.index(other) :], other])
                spot.report("SJ412", f"these segments refer to each other in a circle: {circle}", "take one of them out")
            else:
                yield from visit(other)
        open_.pop()
        done.add(name)
        yield name

    for name in made:
        yield from visit(name)
