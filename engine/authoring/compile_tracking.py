"""The shapes of tracking.yaml and segments.yaml to `Tracking` and `Segments`, with what they refer to checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

from engine.authoring import shape_tracking as shape
from engine.authoring.checking import Expect
from engine.authoring.expressions import Expression
from engine.authoring.kept import why_not_kept
from engine.authoring.model_segments import Condition, Did, Either, Every, Holds, InSegment, Not, Segment, Segments, Stage
from engine.authoring.model_tracking import (
    BUILTIN,
    Computed,
    ComputedKind,
    EventType,
    Points,
    Predict,
    Tracking,
    by_people,
    convert,
)
from engine.authoring.scopes import Names, customer_fields, event_fields, plain_fields
from engine.authoring.spots import Spot
from engine.authoring.types import ANY, Type
from engine.core.clock import Duration
from engine.core.wire import Json
from engine.settings.problems import nearest

_RESERVED = ("occurred_at", "name")


def compile_tracking(written: shape.Tracking, top: Spot) -> Tracking:
    """The Tracking; what is wrong is reported below `top`."""
    events = tuple(_event(name, e, top / "events" / name) for name, e in written.events.items())
    plain = Tracking(events, tuple(written.attributes.items()), (), written.on_unknown)
    for name in written.computed.keys() & written.attributes.keys():
        (top / "computed" / name).report("SJ411", f"{name!r} is declared under attributes: too", "keep one", key=True)
    computed = tuple(_computed(name, c, top / "computed" / name, plain) for name, c in written.computed.items())
    made = Tracking(plain.events, plain.attributes, computed, written.on_unknown)
    if written.predict is None:
        return made
    return replace(made, predict=_predict(written.predict, top / "predict", made))


def _predict(written: shape.Predict, spot: Spot, tracking: Tracking) -> Predict:
    event = tracking.event(written.orders)
    if not event:
        known = {e.name for e in tracking.events}
        (spot / "orders").unknown("SJ201", "event", written.orders, known, "declare it under events:")
    names = Names(plain_fields(tracking), event=event_fields(event))
    for key, expect in _EXPECTED.items():
        source = getattr(written, key)
        if (spot / key).expression(source, names, expect) is None:
            continue
        if why := why_not_kept(Computed(key, "count", written.orders, ANY, where=source), tracking):
            (spot / key).report("SJ426", f"a prediction is made of orders alone: {why}", "read properties of the event only")
    ahead = written.ahead or DAYS_AHEAD
    if ahead == Duration():
        (spot / "ahead").report("SJ426", "nothing happens within no time", "write for example 90d")
    found = Predict(written.orders, ahead, written.value, written.where)
    for name in found.names:
        if tracking.attribute(name) or any(c.name == name for c in tracking.computed):
            spot.report("SJ411", f"{name!r} is predicted, and declared too", "give the other one another name", key=True)
    return found


_EXPECTED: Mapping[str, Expect] = {"where": "condition", "value": "number"}

DAYS_AHEAD = Duration(days=90)
"""How far ahead a prediction looks unless it says so."""


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


_LISTS = (shape.Last, shape.First)
_OF_VALUES = (shape.Sum, shape.Latest, shape.Earliest, shape.MostFrequent, shape.Distinct, *_LISTS)

NOTHING: Mapping[str, Json] = {"sum": 0, "count": 0, "distinct": 0, "last": [], "first": []}
"""What these kinds give where there is no event at all; the others give nothing then."""


def _computed(name: str, written: shape.Computed | shape.Score, spot: Spot, tracking: Tracking) -> Computed:
    if isinstance(written, shape.Score):
        return _score(name, written, spot, tracking)
    kind = cast(ComputedKind, written.kind)
    has_value = isinstance(written, _OF_VALUES)
    at = "of" if has_value else kind
    source = str(getattr(written, at))
    event = tracking.event(source)
    if not event:
        known = {e.name for e in tracking.events}
        (spot / at).unknown("SJ201", "event", source, known, "declare it under events:")
    names = Names(plain_fields(tracking), event=event_fields(event))
    value, where = None, "value" if isinstance(written, _LISTS) else kind
    if has_value:
        value = str(getattr(written, where))
        (spot / where).expression(value, names, "number" if kind == "sum" else "any")
    (spot / "where").expression(written.where, names)
    made = _made_type(kind, _value_type(value, names))
    default = written.default
    if default is not None:
        default, wrong = convert(made, default)
        if wrong:
            (spot / "default").report("SJ302", f"this default {wrong}")
        made = made.required()
    elif written.at_least is None and kind in NOTHING:
        default, made = NOTHING[kind], made.required()
    return Computed(
        name=name,
        kind=kind,
        event=source,
        type=made,
        value=value,
        where=by_people(source, written.where),
        within=written.within,
        at_least=written.at_least or 1,
        last=int(getattr(written, kind)) if isinstance(written, _LISTS) else 0,
        default=default,
    )


def _score(name: str, written: shape.Score, spot: Spot, tracking: Tracking) -> Computed:
    points = tuple(_points(p, spot / "score" / i, tracking) for i, p in enumerate(written.score))
    half_life = written.half_life
    if half_life is not None and (half_life.months or half_life.days * 86_400 + half_life.seconds < 3_600):
        (spot / "half_life").report("SJ427", "a half-life is an hour at least, in hours, days or weeks", "write for example 30d")
    return Computed(name, "score", "", Type("number", optional=False), at_least=0, points=points, half_life=half_life)


def _points(written: shape.PointsOf | shape.PointsIf, spot: Spot, tracking: Tracking) -> Points:
    if not abs(written.add) <= MOST_POINTS or round(written.add, 3) != written.add:
        told = f"between -{MOST_POINTS:,} and {MOST_POINTS:,}, with three decimals at the most"
        (spot / "add").report("SJ427", f"{written.add:g} are no points that can be added", f"points are {told}")
    names = Names(plain_fields(tracking))
    if isinstance(written, shape.PointsIf):
        (spot / "if").expression(written.if_, names)
        return Points(written.add, condition=written.if_)
    event = tracking.event(written.of)
    if not event:
        known = {e.name for e in (*tracking.events, *BUILTIN)}
        (spot / "of").unknown("SJ201", "event", written.of, known, "declare it under events:")
    (spot / "where").expression(written.where, names.looking_at(event_fields(event)))
    return Points(written.add, written.of, by_people(written.of, written.where))


MOST_POINTS = 1_000_000


def _made_type(kind: str, given: Type) -> Type:
    """What a computed attribute of `kind` gives, of values of the type `given`."""
    if kind in ("sum", "median_gap_days"):
        return Type("number")
    if kind in ("count", "distinct"):
        return Type("integer")
    return Type("list", item=given) if kind in ("last", "first") else given


def _value_type(value: str | None, names: Names) -> Type:
    """The type of `event.x`; anything else may be of any type."""
    owner, _, name = (value or "").partition(".")
    found = (names.event or {}).get(name) if owner == "event" else None
    return Type(found.kind, found.values, found.item, found.fields) if found else ANY


def compile_segments(written: shape.Segments, top: Spot, tracking: Tracking) -> Segments:
    """The Segments, each after those that it refers to; what is wrong is reported below `top`."""
    stages = Segments((), tuple(Stage(s.stage) for s in written.stages))
    builder = _Builder(tracking, Names(customer_fields(tracking, stages), segments=frozenset(written.segments)))
    builder.stages = False
    made = {name: Segment(name, builder.one(c, top / "segments" / name)) for name, c in written.segments.items()}
    _alike(written, top)
    order = list(_in_order(made, builder.refers, top))
    listed = tuple(builder.stage(s, top / "stages" / i) for i, s in enumerate(written.stages))
    for i, stage in enumerate(listed):
        spot = top / "stages" / i
        if stage.name in [s.name for s in listed[:i]]:
            (spot / "stage").report("SJ411", f"two stages are called {stage.name!r}")
        if stage.condition is None and i + 1 < len(listed):
            spot.report("SJ415", "everybody matches this stage, so nobody gets to those below", "move it to the end", key=True)
    return Segments(tuple(made[name] for name in order), listed)


def compile_condition(written: shape.Condition, spot: Spot, tracking: Tracking, names: Names) -> Condition:
    """One condition on a customer, written elsewhere than in segments.yaml; `names`: what its expressions may read."""
    return _Builder(tracking, names).one(written, spot)


class _Builder:
    """Builds condition trees. `refers`: which segments each segment reads, with the place. `stages`: whether conditions may
    ask for the customer's stage; those that stages are made of may not."""

    def __init__(self, tracking: Tracking, names: Names) -> None:
        self.tracking, self.names, self.stages = tracking, names, True
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
            self.no_stage(found, spot / "if")
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

    def no_stage(self, found: Expression | None, spot: Spot) -> None:
        """Reports an expression that asks for what is made of it."""
        if found is not None and not self.stages and "stage" in found.uses.customer:
            hint = "ask for what the stage asks for, or for the stage in journeys"
            spot.report("SJ412", "stages are made of these conditions, so they can't ask for customer.stage", hint)

    def did(self, written: shape.Condition, spot: Spot, name: str) -> Condition:
        event = self.tracking.event(name)
        if not event:
            known = {e.name for e in (*self.tracking.events, *BUILTIN)}
            spot.report("SJ201", f"there is no event {name!r}", nearest(name, known) or "declare it in tracking.yaml")
        place = Spot(spot.document, (*spot.path[:-1], "where"))
        asked = place.expression(written.where, self.names.looking_at(event_fields(event)))
        for segment in sorted(asked.uses.segments if asked else ()):
            self.note(segment, place)
        self.no_stage(asked, place)
        found = Did(name, written.at_least or 1, written.within, by_people(name, written.where))
        return found if written.did else Not(found)


def _alike(written: shape.Segments, top: Spot) -> None:
    """Reports names that people take for each other: they differ in case or underscores only."""
    places = [(name, top / "segments" / name, True) for name in written.segments]
    for kind in (places, [(s.stage, top / "stages" / i / "stage", False) for i, s in enumerate(written.stages)]):
        seen: dict[str, str] = {}
        for name, spot, key in kind:
            other = seen.setdefault(name.casefold().replace("_", ""), name)
            if other != name:
                spot.report("SJ411", f"{name!r} and {other!r} look alike", "give one of them another name", key=key)


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
