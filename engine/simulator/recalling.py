"""What a simulation remembers of events, and which moves between segments it follows: only what something asks for again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from engine.authoring.expressions import Context
from engine.authoring.model_segments import Condition, Did, Holds, Segment, walk
from engine.core.clock import Duration
from engine.core.incoming import Incoming
from engine.core.wire import Json, load
from engine.delivery.computing import SLACK, Definition, counted, extended
from engine.delivery.deployment import Deployment, Needs
from engine.delivery.facts import soft_channels
from engine.delivery.interpretation import STAGES, of
from engine.intake.interpreting import ENTERED, LEFT, STAGE_CHANGED
from engine.intake.watching import watches
from engine.simulator.memory import Customer, Keep, Memory

Spans = tuple[tuple[str, Duration], ...]
"""(event or computed attribute, how long events count)."""

NO_PROPERTIES: dict[str, Json] = {}

MOVES = frozenset({ENTERED, LEFT, STAGE_CHANGED})


@dataclass(frozen=True, slots=True)
class Recall:
    """`events`: name → those that are asked for again. `kept`: event → the attributes whose tallies it
    changes. `soft`: the events that give soft opt-in. `everything`: what anything here reads of a customer. `tracked`: segments,
    and STAGES, moves between which somebody hears of; `by_time`: those of them that time alone changes, when an event is too old
    for one of `windows`, or of `tallied`; `hourly`: or because one asks what time it is. `read`: what segments and stages read,
    once it has been asked for."""

    events: dict[str, Keep]
    kept: dict[str, tuple[Definition, ...]]
    soft: frozenset[str]
    everything: Needs
    tracked: frozenset[str]
    by_time: tuple[str, ...]
    windows: Spans
    tallied: Spans
    hourly: bool
    read: dict[frozenset[str], Needs] = field(default_factory=dict)

    @classmethod
    def of(cls, deployment: Deployment) -> Recall:
        """What this deployment asks for."""
        entries = [entry for plan in deployment.plans.values() for entry in plan.entries]
        audiences = [entry.options["audience"] for entry in entries if entry.options and "audience" in entry.options]
        tracked = frozenset(_tracked(deployment))
        moves = deployment.needs_of_text(_words(tracked))
        everything = deployment.needs(*deployment.plans.values()) | deployment.hours_needs | moves
        everything |= deployment.cap_needs or Needs()
        everything |= deployment.needs_of_text(audiences)
        definitions = [d for d in deployment.definitions.all.values() if d.name in everything.computed]
        events: dict[str, Keep] = {}
        for condition in (*_conditions(deployment, everything), *(audience_of(written) for written in audiences)):
            for part in walk(condition):
                if isinstance(part, Did):
                    _note(events, part.event, part.within, part.at_least if part.where is None else None)
        for definition in definitions:
            for name in definition.computed.events if definition.why_not else ():
                _note(events, name, definition.computed.within, None)
        kept = {
            event: found
            for event, those in deployment.definitions.concerned.items()
            if (found := tuple(d for d in those if d.name in everything.computed))
        }
        soft = frozenset(soft_channels(deployment.policy).values())
        by_time = tuple(name for name in of(deployment).by_time() if name in tracked)
        return cls(events, kept, soft, everything, tracked, by_time, *_by_time(deployment, by_time))

    def needs(self, deployment: Deployment, names: Iterable[str]) -> Needs:
        """What these segments, and the stages where STAGES is among them, read of a customer."""
        asked = frozenset(names)
        if asked not in self.read:
            self.read[asked] = deployment.needs_of_text(_words(asked))
        return self.read[asked]

    def remember(
        self, d: Deployment, memory: Memory, customer: Customer, incoming: Incoming, at: datetime, number: int, now: datetime
    ) -> None:
        """Keep of an event what will be asked for."""
        name = incoming.name
        if name in self.soft:
            customer.soft[name] = max(at, customer.soft.get(name, at))
        keep = self.events.get(name)
        if keep is not None:
            properties = incoming.properties if keep.newest is None else NO_PROPERTIES
            memory.remember((customer.id, name), (at, properties, number), keep)
        for definition in self.kept.get(name, ()):
            event = d.event_values(name, incoming.properties, at)
            found = counted(definition.computed, [(number, Context({}, at, event=event))])
            if found:
                state, _ = memory.kept.get((customer.id, definition.name), (None, None))
                memory.kept[(customer.id, definition.name)] = (extended(definition, state, found, now)[0], None)


def audience_of(written: Json) -> Condition:
    """Whom a broadcast is for, as its entry's `audience` says."""
    whole: Segment = load(Segment, written)
    return whole.condition


def _words(names: Iterable[str]) -> list[str]:
    return ["stage" if name == STAGES else name for name in sorted(names)]


def _tracked(deployment: Deployment) -> Iterator[str]:
    """Those segments into which somebody enters a journey; all, where anything may listen to any move."""
    heard: set[str | None] = {name for d in deployment.definitions.all.values() for name in d.computed.events}
    heard |= {name for rule in deployment.policy.holds for name in (rule.opens, rule.closes)}
    heard |= {part.event for s in deployment.segments.segments for part in walk(s.condition) if isinstance(part, Did)}
    listens = False
    for plan in deployment.plans.values():
        index = watches(plan)
        heard |= {*index.by_event, *(e.event for e in plan.entries if e.kind != "segment")}
        listens = listens or bool(index.always)
        yield from (e.options["segment"] for e in plan.entries if e.kind == "segment")
    if listens or not MOVES.isdisjoint(heard):
        yield from of(deployment).names


def _conditions(deployment: Deployment, needs: Needs) -> list[Condition]:
    segments = deployment.segments
    stages = [s.condition for s in segments.stages if s.condition is not None] if needs.stage else []
    return [*(s.condition for s in segments.segments if s.name in needs.segments), *stages]


def _note(events: dict[str, Keep], name: str, within: Duration | None, newest: int | None) -> None:
    """One more that asks for events of this name; the longest time and the highest number count."""
    span = None if within is None else timedelta(days=within.months * 31 + within.days, seconds=within.seconds) + SLACK
    before = events.get(name, Keep(timedelta(), 0))
    longest = None if before.span is None or span is None else max(before.span, span)
    most = None if before.newest is None or newest is None else max(before.newest, newest)
    events[name] = Keep(longest, most)


def _by_time(deployment: Deployment, names: Iterable[str]) -> tuple[Spans, Spans, bool]:
    """What time alone changes of these segments and stages."""
    conditions = _conditions(deployment, deployment.needs_of_text(_words(names)))
    parts = [part for condition in conditions for part in walk(condition)]
    windows = {(part.event, part.within) for part in parts if isinstance(part, Did) and part.within is not None}
    texts = [part.expression if isinstance(part, Holds) else part.where for part in parts if isinstance(part, (Holds, Did))]
    uses = [deployment.expression(text).uses for text in texts if text is not None]
    read = {d for d in deployment.definitions.all.values() if any(d.name in u.customer or "*" in u.customer for u in uses)}
    windows |= {(e, d.computed.within) for d in read if d.why_not and d.computed.within is not None for e in d.computed.events}
    tallied = {(d.name, d.computed.within) for d in read if not d.why_not and d.computed.within is not None}
    hourly = any(u.now for u in uses) or any(d.computed.half_life is not None for d in read)
    return tuple(sorted(windows, key=str)), tuple(sorted(tallied, key=str)), hourly
