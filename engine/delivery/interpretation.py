"""What a deployment's segments and stages depend on, found once: which events and attributes can change which of them, which
change with time alone, and what each means (a digest), so that a change of meaning is noticed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from operator import or_

from engine.authoring.expressions import Uses
from engine.authoring.model_segments import Condition, Did, Either, Every, Holds, InSegment, Not
from engine.core.wire import Json, digest, dump
from engine.delivery.deployment import Deployment
from engine.delivery.selecting import YES, Selection
from engine.store import memberships

STAGES = memberships.STAGES
"""What all stages together are called here; no segment can be called so."""

EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Concern:
    """What can change whether a condition holds. `attributes`: "*" for any; `time`: it may change with nothing happening;
    `predicted`: it reads what is predicted."""

    events: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset({"timezone"})
    time: bool = False
    predicted: bool = False

    def __or__(self, other: Concern) -> Concern:
        return Concern(
            self.events | other.events,
            self.attributes | other.attributes,
            self.time or other.time,
            self.predicted or other.predicted,
        )


@dataclass(slots=True)
class Interpretation:
    """Of one deployment. `names`: its segments, and STAGES where it has stages; `definitions`: name → digest of what it means."""

    deployment: Deployment
    names: tuple[str, ...] = field(init=False)
    concerns: dict[str, Concern] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)
    _selections: dict[tuple[str, ...], Selection] = field(default_factory=dict)
    _affected: dict[tuple[str, frozenset[str]], frozenset[str]] = field(default_factory=dict)
    _read: Concern = field(init=False)

    def __post_init__(self) -> None:
        segments = self.deployment.segments
        self.names = (*(s.name for s in segments.segments), *([STAGES] if segments.stages else []))
        for name in self.names:
            conditions = self._conditions(name)
            self.concerns[name] = reduce(or_, (concern(self.deployment, c) for c in conditions), Concern())
            own = [s.name for s in segments.stages] if name == STAGES else []
            meaning: Json = [own, self.deployment.policy.timezone, [meant(self.deployment, c) for c in conditions]]
            self.definitions[name] = digest(meaning)
        self._read = reduce(or_, self.concerns.values(), Concern())

    def _conditions(self, name: str) -> list[Condition]:
        if name == STAGES:
            return [s.condition if s.condition is not None else Every(()) for s in self.deployment.segments.stages]
        found = self.deployment.segments.get(name)
        return [] if found is None else [found.condition]

    def by_time(self) -> tuple[str, ...]:
        """Those that change with nothing happening."""
        return tuple(n for n in self.names if self.concerns[n].time)

    def before_predictions(self) -> dict[str, str]:
        """`definitions`, while nothing has been predicted yet: what reads predictions means something else until then."""
        return {n: digest([d, "unpredicted"]) if self.concerns[n].predicted else d for n, d in self.definitions.items()}

    def affected(self, event: str, changed: frozenset[str]) -> frozenset[str]:
        """Those that an event of this name, which changed these attributes, can change."""
        any_at_all = {EVERYTHING} if changed and EVERYTHING in self._read.attributes else frozenset()
        moved = (changed & self._read.attributes) | any_at_all  # other names, which come from outside, aren't kept here
        key = (event if event in self._read.events else "", moved)
        if key not in self._affected:
            if len(self._affected) > 10_000:
                self._affected.clear()
            self._affected[key] = frozenset(
                n for n, c in self.concerns.items() if event in c.events or not moved.isdisjoint(c.attributes)
            )
        return self._affected[key]

    def selection(self, names: Iterable[str]) -> Selection:
        """These segments and stages, ready to be asked of people."""
        wanted = set(names)
        ordered = tuple(n for n in self.names if n in wanted)
        if ordered not in self._selections:
            if len(self._selections) > 200:  # each combination that ever comes together has one
                self._selections.clear()
            conditions = [c for n in ordered for c in self._conditions(n)]
            self._selections[ordered] = Selection(self.deployment, conditions, profiling=True)
        return self._selections[ordered]

    def told(self, names: Iterable[str], signs: str | None) -> tuple[frozenset[str], str | None]:
        """What the signs of `selection(names)` say of somebody (None: nothing holds): the segments, and the stage."""
        wanted = set(names)
        inside: set[str] = set()
        at = 0
        for name in self.names:
            if name == STAGES and name in wanted:
                found = (signs or "")[at:].find(YES)
                return frozenset(inside), None if found < 0 else self.deployment.segments.stages[found].name
            if name in wanted:
                if signs is not None and signs[at] == YES:
                    inside.add(name)
                at += 1
        return frozenset(inside), None


def concern(deployment: Deployment, condition: Condition) -> Concern:
    """What can change whether this condition holds, through the segments and computed attributes that it asks for."""
    match condition:
        case Every(parts) | Either(parts):
            return reduce(or_, (concern(deployment, p) for p in parts), Concern())
        case Not(part):
            return concern(deployment, part)
        case InSegment(name):
            return _of_segment(deployment, name)
        case Did():
            found = Concern(frozenset({condition.event}), time=condition.within is not None)
            return found | (_of_uses(deployment, condition.where) if condition.where is not None else Concern())
        case Holds(expression):
            return _of_uses(deployment, expression)


def _of_segment(deployment: Deployment, name: str) -> Concern:
    found = deployment.segments.get(name)
    return Concern() if found is None else concern(deployment, found.condition)


def _of_uses(deployment: Deployment, source: str) -> Concern:
    uses: Uses = deployment.expression(source).uses
    found = Concern(time=uses.now)
    for name in uses.segments:
        found |= _of_segment(deployment, name)
    worked_out = deployment.tracking.worked_out
    for name in worked_out if EVERYTHING in uses.customer else uses.customer:
        found |= _of_computed(deployment, name) if name in worked_out else Concern(attributes=frozenset({name}))
    return found | (Concern(attributes=frozenset({EVERYTHING})) if EVERYTHING in uses.customer else Concern())


def _of_computed(deployment: Deployment, name: str) -> Concern:
    """What changes a computed attribute; one that is predicted is another one when it has been predicted anew."""
    one = next((c for c in deployment.tracking.computed if c.name == name), None)
    if one is None:
        return Concern(time=True, predicted=True)
    texts = [one.where, one.value, *(text for p in one.points for text in (p.where, p.condition))]
    found = Concern(frozenset(one.events), time=one.within is not None or one.half_life is not None)
    return reduce(or_, (_of_uses(deployment, text) for text in texts if text is not None), found)


def meant(deployment: Deployment, condition: Condition) -> Json:
    """All that says what a condition means: itself, the segments and computed attributes that it asks for, and the types of the
    attributes and events that these read."""
    names: set[str] = set()
    _inner(deployment, condition, names)
    read = concern(deployment, condition)
    tracking = deployment.tracking
    attributes = {n: dump(t) for n, t in tracking.attributes if n in read.attributes or EVERYTHING in read.attributes}
    events = {n: dump(e.properties) for n in sorted(read.events) if (e := tracking.event(n)) is not None}
    return [dump(condition), {name: _meaning(deployment, name) for name in sorted(names)}, attributes, events]


def _inner(deployment: Deployment, condition: Condition, names: set[str]) -> None:
    match condition:
        case Every(parts) | Either(parts):
            for part in parts:
                _inner(deployment, part, names)
        case Not(part):
            _inner(deployment, part, names)
        case InSegment(name):
            _ask(deployment, name, names)
        case Did() | Holds():
            text = condition.where if isinstance(condition, Did) else condition.expression
            uses = deployment.expression(text).uses if text is not None else Uses()
            for name in uses.segments:
                _ask(deployment, name, names)
            worked_out = frozenset(deployment.tracking.worked_out)
            names |= {f"customer.{n}" for n in (worked_out if EVERYTHING in uses.customer else worked_out & uses.customer)}


def _ask(deployment: Deployment, name: str, names: set[str]) -> None:
    found = deployment.segments.get(name)
    if name not in names and found is not None:
        names.add(name)
        _inner(deployment, found.condition, names)


def _meaning(deployment: Deployment, name: str) -> Json:
    owner, _, own = name.partition(".")
    if owner == "customer" and own:
        return dump(next((c for c in deployment.tracking.computed if c.name == own), deployment.tracking.predict))
    found = deployment.segments.get(name)
    return None if found is None else dump(found.condition)


def of(deployment: Deployment) -> Interpretation:
    """The interpretation of a deployment, made once."""
    found = deployment.interpretation
    if not isinstance(found, Interpretation):
        found = deployment.interpretation = Interpretation(deployment)
    return found
