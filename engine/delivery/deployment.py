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
from engine.authoring.model_segments import Did, Holds, InSegment, Segments, walk
from engine.authoring.model_tracking import WORKED_OUT, EventType, Tracking, convert, native
from engine.authoring.project import Compiled
from engine.authoring.templates import PAGES, Template
from engine.authoring.types import Type
from engine.core.clock import is_zone
from engine.core.incoming import Incoming
from engine.core.limits import in_order
from engine.core.occasions import Anniversary
from engine.core.plan import Entry, Plan, Send, plan_to_json
from engine.core.policy import Followed, Policy
from engine.core.wire import Json, canonical, load, share
from engine.delivery.channel import Content
from engine.delivery.computing import Definitions
from engine.delivery.render import Renderer

KEY_LIMIT = 500
"""Characters of a value that tells enrollments, holds or addresses apart: such values are indexed."""

CONFIRM_URL, PREFERENCES_URL = "confirm_url", "preferences_url"
"""What templates call the links by which a customer confirms a consent, and chooses what to get."""


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
    that. `broadcasts` (by the event that sets them off), `scheduled` and `dated`: (plan, place among its entries) of the
    entries that the calendar or an event about a thing opens; `dates_read`: the attributes that move somebody's dates.
    `interpretation`: what `delivery.interpretation` keeps of it. `trials`: journey → the plan that a share of new entries gets
    instead; `drained`: journeys that take nobody. `channels`: those that a journey sends on or policy's consents name."""

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
    _mentions: dict[tuple[str, str, str], bool] = field(default_factory=dict)
    broadcasts: dict[str, list[tuple[Plan, int]]] = field(default_factory=dict)
    scheduled: list[tuple[Plan, int]] = field(default_factory=list)
    dated: list[tuple[Plan, int, Anniversary]] = field(default_factory=list)
    dates_read: frozenset[str] = frozenset()
    hours_needs: Needs = field(init=False)
    definitions: Definitions = field(init=False)
    interpretation: Any = None
    trials: Mapping[str, tuple[Plan, float]] = field(default_factory=dict)
    drained: frozenset[str] = frozenset()
    channels: frozenset[str] = field(init=False)

    @classmethod
    def of(cls, compiled: Compiled, plans: Mapping[str, Plan]) -> Deployment:
        """A project that has been compiled, with these of its journeys, as if it were deployed."""
        return cls(
            id=0,
            policy=compiled.policy,
            policy_hash="",
            tracking=compiled.tracking,
            segments=compiled.segments,
            renderer=Renderer(compiled.templates),
            templates={key: canonical(t.to_json()).decode() for key, t in compiled.templates.items()},
            plans=plans,
        )

    def __post_init__(self) -> None:
        self.definitions = Definitions.of(self.tracking)
        self.cap_needs = self._cap_needs()
        self.cap_events = self.event_names(self.cap_needs) if self.cap_needs is not None else frozenset()
        on_trial = [plan for plan, _ in self.trials.values()]
        keys = {e.key for p in (*self.plans.values(), *on_trial) for e in p.entries if e.key} | {
            h.key for h in self.policy.holds if h.key
        }
        self._key_names = tuple(sorted(keys))
        sent = {c for p in (*self.plans.values(), *on_trial) for op in p.ops if isinstance(op, Send) for c in op.channels}
        self.channels = frozenset(sent.union(rule.channel for rule in self.policy.consent))
        conditions = [self.expression(q.condition) for q in self.policy.quiet_hours if q.condition is not None]
        self._hours_read = frozenset(name for c in conditions for name in c.uses.customer)
        self.hours_needs = self._needs_in({w for c in conditions for w in re.findall(r"\w+", c.source)})
        for plan in (*self.plans.values(), *on_trial):
            for place, entry in enumerate(plan.entries):
                names = [entry.event] if entry.kind in ("event", "segment") else []
                names += [f"api:{plan.journey}"] if entry.kind != "event" else []
                for name in names:
                    if name and plan not in self._entries.setdefault(name, []):
                        self._entries[name].append(plan)
                if plan not in on_trial:  # occasions are those of the plan that most get
                    self._by_calendar(plan, place, entry)
        if self.policy.limits:
            ordered = in_order(self.policy, [(p.journey, p.tier) for p in self.plans.values()])
            self._order = {journey: i for i, journey in enumerate(ordered)}

    def _by_calendar(self, plan: Plan, place: int, entry: Entry) -> None:
        if entry.kind == "broadcast" and entry.event is not None:
            self.broadcasts.setdefault(entry.event, []).append((plan, place))
        elif entry.kind == "schedule":
            self.scheduled.append((plan, place))
        elif entry.kind == "date":
            rule = load(Anniversary, entry.options["date"])
            self.dated.append((plan, place, rule))
            self.dates_read |= {rule.attribute, "timezone"}

    def expression(self, source: str) -> Expression:
        """The compiled condition (cached by its text)."""
        return compile_expression(source)

    def values(self, written: Json, context: Context) -> Json:
        """`written` with its `{{ }}` filled in."""
        return compile_value(written).evaluate(context)

    def entries_for(self, events: Iterable[str], journeys: Iterable[str]) -> list[Plan]:
        """The plans that one of these events, or an enroll call for one of these journeys, can open, also one on trial; by name,
        and where policy limits journeys, those that go first before the others."""
        names = [*events, *(f"api:{j}" for j in journeys)]
        found = {(self._order.get(p.journey, 0), p.journey, p.hash): p for n in names for p in self._entries.get(n, ())}
        return [found[place] for place in sorted(found)]

    def admits(self, plan: Plan, at: datetime, customer: int | None = None) -> bool:
        """Whether the journey takes new people at `at`; with a customer, whether this is the plan that they get."""
        if plan.status != "live" or plan.journey in self.drained:
            return False
        if customer is not None and plan.journey in self.trials:
            trial, of_all = self.trials[plan.journey]
            if (plan.hash == trial.hash) != (share(f"canary/{trial.hash}", str(customer)) < of_all):
                return False
        started = plan.starts is None or at >= datetime.fromisoformat(plan.starts)
        return started and (plan.ends is None or at < datetime.fromisoformat(plan.ends))

    def sender(self, channel: str) -> Mapping[str, str]:
        """Policy's sender of a channel."""
        found = next((s.values for s in self.policy.senders if s.channel == channel), None)
        return {k: str(v) for k, v in (found or {}).items()}

    def followed(self, channel: str, op: Send) -> Followed | None:
        """What of a message on `channel` is followed; None where nothing is."""
        return next((rule for rule in self.policy.tracking if rule.channel == channel), None) if op.followed else None

    def checked(self, incoming: Incoming) -> tuple[Incoming, str]:
        """The item with its values in their declared types, and why it can't be taken ("" if it can)."""
        if incoming.kind == "track" and incoming.name in WORKED_OUT and not incoming.own:
            return incoming, f"event {incoming.name!r} is told by the engine alone, when it happens"
        declared = self._event_type(incoming.name) if incoming.kind == "track" else None
        if incoming.kind == "track" and declared is None and self.tracking.on_unknown == "quarantine":
            return incoming, f"event {incoming.name!r} is not in tracking.yaml"
        properties, wrong = _converted(declared.property, incoming.properties) if declared else (incoming.properties, [])
        traits, wrong_traits = _converted(self.tracking.attribute, incoming.traits) if incoming.traits else (incoming.traits, [])
        missing = [n for n in (declared.required if declared else ()) if properties.get(n) is None]
        names = (*self._key_names, "channel", "topic", "address")
        long = [n for n in names if len(str(incoming.properties.get(n, ""))) > KEY_LIMIT]
        too_long = [f"{n} has more than {KEY_LIMIT} characters, which is too long for a key" for n in long]
        problems = [*wrong, *wrong_traits, *(f"{n} is missing" for n in missing), *too_long]
        if problems:
            return incoming, f"{incoming.name or incoming.kind}: " + "; ".join(problems)
        return _with(incoming, properties, traits), ""

    def warns_of(self, incoming: Incoming) -> bool:
        """Whether it is an event that tracking.yaml doesn't know and wants to be told of."""
        return incoming.kind == "track" and self.tracking.on_unknown == "warn" and self._event_type(incoming.name) is None

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

    def page(self, name: str) -> Template | None:
        """The project's own web page of this name; None where it has none."""
        return self.renderer.template(PAGES, name)

    def mentions(self, channel: str, template: str, link: str) -> bool:
        """Whether the template has this link, CONFIRM_URL for example."""
        asked = (channel, template, link)
        if asked not in self._mentions:
            self._mentions[asked] = link in self.templates.get((channel, template), "")
        return self._mentions[asked]

    def render(
        self,
        channel: str,
        op: Send,
        plan: Plan,
        context: Context,
        unsubscribe_url: str,
        confirm_url: str = "",
        preferences_url: str = "",
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
            PREFERENCES_URL: preferences_url,
            "postal_address": sender.get("postal_address", ""),
            "message": {"journey": plan.journey, "step": op.step, "topic": op.topic},
        }
        locale = context.customer.get("locale")
        spoken = locale if isinstance(locale, str) else ""
        return self.renderer.render(channel, op.template, names, zone=context.zone, locale=spoken, segments=context.segments)

    def needs(self, *plans: Plan) -> Needs:
        """What these plans and their templates read of a customer beyond attributes."""
        needs = Needs()
        for plan in plans:
            if plan.hash not in self._needs:
                self._needs[plan.hash] = self._needs_of(plan)
            needs |= self._needs[plan.hash]
        return needs

    def needs_of_text(self, body: Json) -> Needs:
        """What JSON that holds conditions reads of a customer beyond attributes."""
        return self._needs_in(set(re.findall(r"\w+", canonical(body).decode())))

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
        computed = self.definitions.names & words
        if segments:
            inner = canonical(self.segments.to_json()).decode()
            computed |= self.definitions.names.intersection(re.findall(r"\w+", inner))
        return Needs(frozenset(segments), computed, stage)

    def event_names(self, needs: Needs, *, kept: bool = True) -> frozenset[str]:
        """The events that computed attributes, segments and stages of `needs` look at; without `kept`: those that have to be
        read for it, because nothing that is kept says what they come to."""
        wanted = [d for d in self.definitions.all.values() if d.name in needs.computed and (kept or d.why_not)]
        names = {event for d in wanted for event in d.computed.events}
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
            for part in walk(segment.condition):
                if isinstance(part, InSegment):
                    todo.append(part.name)
                elif isinstance(part, Holds):
                    todo += self.expression(part.expression).uses.segments
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


def _converted(kind_of: Any, values: Mapping[str, Json]) -> tuple[Mapping[str, Json], list[str]]:
    """Values in their declared types, and what doesn't fit."""
    out: dict[str, Json] = {}
    problems = []
    for name, value in values.items():
        declared = kind_of(name)
        out[name], problem = convert(declared, value) if declared is not None else (value, None)
        if problem:
            problems.append(f"{name} {problem}")
    return out, problems


def _with(incoming: Incoming, properties: Mapping[str, Json], traits: Mapping[str, Json]) -> Incoming:
    if properties == incoming.properties and traits == incoming.traits:
        return incoming
    values = {name: getattr(incoming, name) for name in Incoming.__slots__}
    return Incoming(**{**values, "properties": properties, "traits": traits})
