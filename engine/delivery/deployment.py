"""What is deployed, ready to use: policy, types, segments, templates and plans. A deployment never changes; `Deployments` reads
it from the store and keeps it until the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.authoring.expressions import Context, Expression, compile_expression, compile_value
from engine.authoring.model_segments import Did, InSegment, Segments, walk
from engine.authoring.model_tracking import EventType, Tracking, convert, native
from engine.authoring.types import Type
from engine.core.clock import is_zone
from engine.core.incoming import Incoming
from engine.core.limits import in_order
from engine.core.plan import Plan, Send, plan_to_json
from engine.core.policy import Policy
from engine.core.wire import Json, canonical
from engine.delivery.channel import Content
from engine.delivery.render import Renderer

KEY_LIMIT = 500
"""Characters of a value that tells enrollments, holds or addresses apart: such values are indexed."""

CONFIRM_URL = "confirm_url"
"""What templates call the link by which a customer confirms a consent."""


class NothingDeployed(Exception):
    """There is no deployment yet; the message says what to run."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What plans read of a customer beyond plain attributes: segments, computed attributes, the stage."""

    segments: frozenset[str] = frozenset()
    computed: frozenset[str] = frozenset()
    stage: bool = False

    def __or__(self, other: Needs) -> Needs:
        return Needs(self.segments | other.segments, self.computed | other.computed, self.stage or other.stage)


@dataclass(slots=True)
class Deployment:
    """One deployment. `plans`: the plan that each journey enrolls into now. `hours_needs`: what policy's quiet hours ask for.
    `cap_needs`: what caps read of a customer (None: they are the same for everybody); `cap_events`: the events that may change
    that."""

    id: int
    policy: Policy
    policy_hash: str
    tracking: Tracking
    segments: Segments
    renderer: Renderer
    templates: Mapping[tuple[str, str], str]
    plans: Mapping[str, Plan]
    _entries: dict[str, list[Plan]] = field(default_factory=dict)
    _key_names: tuple[str, ...] = ()
    _needs: dict[str, Needs] = field(default_factory=dict)
    _events: dict[str, EventType | None] = field(default_factory=dict)
    _dated: dict[str, tuple[tuple[str, Type], ...]] = field(default_factory=dict)
    cap_needs: Needs | None = field(init=False)
    cap_events: frozenset[str] = field(init=False)
    _hours_read: frozenset[str] = frozenset()
    _order: dict[str, int] = field(default_factory=dict)
    _asks: dict[tuple[str, str], bool] = field(default_factory=dict)
    hours_needs: Needs = field(init=False)

    def __post_init__(self) -> None:
        self.cap_needs = self._cap_needs()
        self.cap_events = self.event_names(self.cap_needs) if self.cap_needs is not None else frozenset()
        keys = {e.key for p in self.plans.values() for e in p.entries if e.key} | {h.key for h in self.policy.holds if h.key}
        self._key_names = tuple(sorted(keys))
        conditions = [self.expression(q.condition) for q in self.policy.quiet_hours if q.condition is not None]
        self._hours_read = frozenset(name for c in conditions for name in c.uses.customer)
        self.hours_needs = self._needs_in({w for c in conditions for w in re.findall(r"\w+", c.source)})
        for plan in self.plans.values():
            for entry in plan.entries:
                name = entry.event if entry.kind == "event" else f"api:{plan.journey}"
                if name and plan not in self._entries.setdefault(name, []):
                    self._entries[name].append(plan)
        if self.policy.limits:
            ordered = in_order(self.policy, [(p.journey, p.tier) for p in self.plans.values()])
            self._order = {journey: i for i, journey in enumerate(ordered)}

    def expression(self, source: str) -> Expression:
        """The compiled condition (cached by its text)."""
        return compile_expression(source)

    def values(self, written: Json, context: Context) -> Json:
        """`written` with its `{{ }}` filled in."""
        return compile_value(written).evaluate(context)

    def entries_for(self, events: Iterable[str], journeys: Iterable[str]) -> list[Plan]:
        """The plans that one of these events, or an enroll call for one of these journeys, can open; by name, and where policy
        limits journeys, those that go first before the others."""
        names = [*events, *(f"api:{j}" for j in journeys)]
        found = {p.journey: p for n in names for p in self._entries.get(n, ())}
        return [found[j] for j in sorted(found, key=lambda j: (self._order.get(j, 0), j))]

    def admits(self, plan: Plan, at: datetime) -> bool:
        """Whether the journey takes new people at `at`."""
        if plan.status != "live":
            return False
        started = plan.starts is None or at >= datetime.fromisoformat(plan.starts)
        return started and (plan.ends is None or at < datetime.fromisoformat(plan.ends))

    def sender(self, channel: str) -> Mapping[str, str]:
        """Policy's sender of a channel."""
        found = next((s.values for s in self.policy.senders if s.channel == channel), None)
        return {k: str(v) for k, v in (found or {}).items()}

    def checked(self, incoming: Incoming) -> tuple[Incoming, str]:
        """The item with its values in their declared types, and why it can't be taken ("" if it can)."""
        declared = self._event_type(incoming.name) if incoming.kind == "track" else None
        if incoming.kind == "track" and declared is None and self.tracking.on_unknown == "quarantine":
            return incoming, f"event {incoming.name!r} is not in tracking.yaml"
        properties, wrong = _converted(declared.property if declared else None, incoming.properties)
        traits, wrong_traits = _converted(self.tracking.attribute, incoming.traits)
        missing = [n for n in (declared.required if declared else ()) if properties.get(n) is None]
        names = (*self._key_names, "channel", "topic", "address")
        long = [n for n in names if len(str(incoming.properties.get(n, ""))) > KEY_LIMIT]
        too_long = [f"{n} has more than {KEY_LIMIT} characters, which is too long for a key" for n in long]
        problems = [*wrong, *wrong_traits, *(f"{n} is missing" for n in missing), *too_long]
        if problems:
            return incoming, f"{incoming.name or incoming.kind}: " + "; ".join(problems)
        return _with(incoming, properties, traits), ""

    def event_values(self, name: str, properties: Mapping[str, Any], at: datetime) -> Mapping[str, Any]:
        """An event as conditions see it: dates and moments as such, with `occurred_at` and `name`."""
        values = {**properties, "occurred_at": at, "name": name}
        for key, kind in self._dates_of(name):
            if isinstance(values.get(key), str):
                values[key] = native(kind, values[key])
        return values

    def attribute_values(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes as conditions see them."""
        values = dict(attributes)
        for name, kind in self.tracking.attributes:
            if name in values and kind.kind not in ("string", "number", "integer", "boolean", "enum"):
                values[name] = native(kind, values[name])
        return values

    def own_zone(self, attributes: Mapping[str, Any]) -> str | None:
        """The customer's own time zone, None where none is known."""
        zone = attributes.get("timezone")
        return zone if isinstance(zone, str) and zone else None

    def moves_hours(self, attributes: Mapping[str, Any], changed: Set[str]) -> bool:
        """Whether a customer may be written to at other hours now that these attributes have `changed`: in another zone, or
        because policy's quiet hours ask for one of them. A zone that was taken away or doesn't exist moves nothing."""
        if changed and not self._hours_read.isdisjoint({*changed, "*"}):
            return True
        zone = self.own_zone(attributes) if "timezone" in changed else None
        return zone is not None and is_zone(zone)

    def asks(self, channel: str, template: str) -> bool:
        """Whether the template has a link to confirm a consent."""
        if (channel, template) not in self._asks:
            self._asks[(channel, template)] = CONFIRM_URL in self.templates.get((channel, template), "")
        return self._asks[(channel, template)]

    def render(
        self, channel: str, op: Send, plan: Plan, context: Context, unsubscribe_url: str, confirm_url: str = ""
    ) -> Content:
        """The message's content. Raises RenderError."""
        given = self.values(op.values, context) if op.values else {}
        sender = self.sender(channel)
        names = {
            **(given if isinstance(given, dict) else {}),
            "customer": context.customer,
            "entry": context.entry,
            "event": context.event,
            "vars": context.vars,
            "now": context.now,
            "sender": sender,
            "unsubscribe_url": unsubscribe_url,
            CONFIRM_URL: confirm_url,
            "postal_address": sender.get("postal_address", ""),
            "message": {"journey": plan.journey, "step": op.step, "topic": op.topic},
        }
        return self.renderer.render(channel, op.template, names, zone=context.zone, segments=context.segments)

    def needs(self, *plans: Plan) -> Needs:
        """What these plans and their templates read of a customer beyond attributes."""
        needs = Needs()
        for plan in plans:
            if plan.hash not in self._needs:
                self._needs[plan.hash] = self._needs_of(plan)
            needs |= self._needs[plan.hash]
        return needs

    def _needs_of(self, plan: Plan) -> Needs:
        """By name, in the plan's text and in its templates': naming too much costs a query, too little would be wrong."""
        text = canonical(plan_to_json(plan)).decode()
        for op in plan.ops:
            if isinstance(op, Send):
                text += "".join(self.templates.get((c, op.template), "") for c in op.channels)
        return self._needs_in(set(re.findall(r"\w+", text)))

    def _cap_needs(self) -> Needs | None:
        personal = [cap for cap in self.policy.caps if cap.segments or cap.limits or cap.own_limit is not None]
        words = {s for cap in personal for s in (*cap.segments, *(one.segment for one in cap.limits))}
        for cap in personal:
            words |= set(re.findall(r"\w+", cap.own_limit or ""))
        return self._needs_in(words) if personal else None

    def _needs_in(self, words: set[str]) -> Needs:
        segments = self._with_inner(n for n in self.segments.names() if n in words)
        stage = "stage" in words
        if stage:
            segments = self.segments.names()
        computed = frozenset(c.name for c in self.tracking.computed if c.name in words)
        if segments:
            inner = canonical(self.segments.to_json()).decode()
            computed |= frozenset(c.name for c in self.tracking.computed if c.name in inner)
        return Needs(frozenset(segments), computed, stage)

    def event_names(self, needs: Needs) -> frozenset[str]:
        """The events that computed attributes, segments and stages of `needs` look at."""
        names = {c.event for c in self.tracking.computed if c.name in needs.computed}
        conditions = [s.condition for s in self.segments.segments if s.name in needs.segments]
        if needs.stage:
            conditions += [s.condition for s in self.segments.stages if s.condition is not None]
        return frozenset(names | {part.event for whole in conditions for part in walk(whole) if isinstance(part, Did)})

    def _with_inner(self, names: Iterable[str]) -> set[str]:
        """These segments and those that they refer to."""
        found: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            segment = self.segments.get(name)
            if name in found or segment is None:
                continue
            found.add(name)
            todo += [part.name for part in walk(segment.condition) if isinstance(part, InSegment)]
        return found

    def _event_type(self, name: str) -> EventType | None:
        if name not in self._events:
            self._events[name] = self.tracking.event(name)
        return self._events[name]

    def _dates_of(self, name: str) -> tuple[tuple[str, Type], ...]:
        if name not in self._dated:
            declared = self._event_type(name)
            plain = ("string", "number", "integer", "boolean", "enum")
            self._dated[name] = tuple((k, t) for k, t in (declared.properties if declared else ()) if t.kind not in plain)
        return self._dated[name]


def _converted(kind_of: Any, values: Mapping[str, Json]) -> tuple[dict[str, Json], list[str]]:
    """Values in their declared types, and what doesn't fit."""
    out: dict[str, Json] = {}
    problems = []
    for name, value in values.items():
        declared = kind_of(name) if kind_of else None
        out[name], problem = convert(declared, value) if declared is not None else (value, None)
        if problem:
            problems.append(f"{name} {problem}")
    return out, problems


def _with(incoming: Incoming, properties: Mapping[str, Json], traits: Mapping[str, Json]) -> Incoming:
    if properties == incoming.properties and traits == incoming.traits:
        return incoming
    values = {name: getattr(incoming, name) for name in Incoming.__slots__}
    return Incoming(**{**values, "properties": properties, "traits": traits})
