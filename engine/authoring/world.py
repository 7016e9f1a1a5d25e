"""Everything that a journey may refer to, and the checks that it is there. Filled before journeys are compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from engine.authoring.model_segments import Segments
from engine.authoring.model_tracking import BUILTIN, EventType, Tracking
from engine.authoring.scopes import OCCASION, Fields, Names, Open, customer_fields, either, event_fields
from engine.authoring.shape_journey import BroadcastEntry, DateEntry, EventEntry, Journey, ScheduleEntry, SegmentEntry
from engine.authoring.shape_journey import Entry as WrittenEntry
from engine.authoring.spots import Spot
from engine.authoring.templates import Template
from engine.authoring.types import Type
from engine.core.policy import Policy, Tier

MOVES = {"enters": "segment_entered", "leaves": "segment_left"}
"""What the event is called by which somebody is in a segment, or no longer."""


@dataclass(slots=True)
class World:
    """`journeys` holds every journey of the project that has a readable shape, whether or not it compiles; `unreadable` the
    names of the others, which exist too. `sent`: the templates (channel, name) that a journey sends, once all are compiled."""

    tracking: Tracking
    segments: Segments
    policy: Policy
    templates: Mapping[tuple[str, str], Template]
    channels: Set[str]
    journeys: Mapping[str, Journey] = field(default_factory=dict)
    unreadable: Set[str] = frozenset()
    sent: set[tuple[str, str]] = field(default_factory=set)
    customer: Fields = field(init=False)

    def __post_init__(self) -> None:
        self.customer = customer_fields(self.tracking, self.segments)

    def names(self, entry: Fields | None = None, event: Fields | None = None, vars: Fields | None = None) -> Names:
        """The names that are there everywhere, with `entry`, `event` and `vars` as given."""
        return Names(self.customer, entry, event, vars, frozenset(self.segments.names()))

    def event(self, spot: Spot, name: str) -> EventType | None:
        """The event called `name`; where there is none such, that is reported at `spot`."""
        found = self.tracking.event(name)
        if not found:
            known = {e.name for e in (*self.tracking.events, *BUILTIN)}
            spot.unknown("SJ201", "event", name, known, "declare it under events: in tracking.yaml")
        return found

    def segment(self, spot: Spot, name: str) -> None:
        """Reports where there is no segment called `name`."""
        if name not in self.segments.names():
            spot.unknown("SJ212", "segment", name, self.segments.names(), "declare it in segments.yaml")

    def tier(self, spot: Spot, name: str) -> Tier | None:
        """The tier called `name`; where there is none such, that is reported at `spot`."""
        try:
            return self.policy.tier(name)
        except KeyError:
            spot.unknown("SJ204", "tier", name, {t.name for t in self.policy.tiers}, "declare it under tiers: in policy.yaml")
            return None

    def topic(self, spot: Spot, name: str) -> None:
        """Reports where there is no topic called `name`."""
        if name not in self.policy.topics:
            spot.unknown("SJ203", "topic", name, set(self.policy.topics), "declare it under topics: in policy.yaml")

    def tags(self, spot: Spot, names: Sequence[str]) -> None:
        """Reports those that aren't declared."""
        for i, name in enumerate(names):
            if name not in self.policy.tags:
                (spot / i).unknown("SJ207", "tag", name, set(self.policy.tags), "declare it under tags: in policy.yaml")

    def channel(self, spot: Spot, name: str) -> bool:
        """Whether there is a channel called `name`; where there isn't, that is reported."""
        if name not in self.channels:
            spot.unknown("SJ205", "channel", name, set(self.channels), "declare it under channels: in sojourn.yaml")
        return name in self.channels

    def template(self, spot: Spot, channel: str, name: str) -> Template | None:
        """The template `name` of `channel`; where there is none such, that is reported at `spot`."""
        found = self.templates.get((channel, name))
        if not found:
            known = {n for c, n in self.templates if c == channel}
            spot.unknown("SJ202", f"template for {channel} called", name, known, f"write templates/{channel}/{name}.txt")
        return found

    def claim(self, spot: Spot, tier: Tier, base: Tier | None, template: str) -> None:
        """Reports where `template` may not be sent as `tier`: its `only` doesn't name it, or the send raises itself above the
        journey's tier `base` and policy doesn't name it there."""
        if tier.only:
            if not any(fnmatchcase(template, glob) for glob in tier.only):
                hint = f"policy.yaml lets only {', '.join(tier.only)} claim it: take a lower tier, or name the template there"
                spot.report("SJ418", f"the template {template!r} may not claim the tier {tier.name!r}", hint)
        elif base and self.policy.rank(tier.name) < self.policy.rank(base.name):
            hint = f"name the template under the tier's `only` in policy.yaml, or stay at {base.name!r} or below"
            spot.report("SJ418", f"{tier.name!r} is above the journey's tier {base.name!r}", hint)


def fields_of(world: World, entry: WrittenEntry) -> Fields:
    """What `entry` has for somebody whom this entry enrolls: the properties of an event, which occasion of the calendar it
    was, or anything where a call enrolls."""
    if isinstance(entry, (EventEntry, BroadcastEntry)):
        return event_fields(world.tracking.event(entry.event if isinstance(entry, EventEntry) else entry.broadcast))
    if isinstance(entry, SegmentEntry):
        return {**event_fields(world.tracking.event(MOVES[entry.when])), "occurrence": Type("string")}
    if isinstance(entry, (ScheduleEntry, DateEntry)):
        return OCCASION
    return Open(event_fields(None))


def entry_fields(world: World, journey: Journey) -> Fields:
    """What `entry` has in a journey, whichever of its entries enrolled."""
    return either(fields_of(world, entry) for entry in journey.enter) or Open(event_fields(None))
