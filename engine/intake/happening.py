"""What one batch of events does to the people it concerns, in memory: the rules between reading and writing.

No I/O: `door` reads before and writes after, while the customers' rows are locked. Source of the rules: semantics.md, "Events
and inputs", "Enrollments", "Holds", "Consent".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from engine.authoring.expressions import Context, ExpressionError
from engine.authoring.model_tracking import by_people
from engine.core.clock import add
from engine.core.clock import zone as zone_named
from engine.core.enrollment import Begin, State
from engine.core.incoming import CHAIN_LIMIT, INTAKE, Incoming
from engine.core.limits import DISPLACED, Admission, Present, admit
from engine.core.plan import Entry, Plan
from engine.core.wire import Json, dump
from engine.delivery.addresses import KINDS
from engine.delivery.deployment import Deployment
from engine.delivery.queueing import registration
from engine.intake import entering
from engine.intake.agreeing import COMPLAINED, release, statement, suppression
from engine.intake.batch import Batch
from engine.intake.feedback import source_of
from engine.intake.person import Hold, Inside, Person, written
from engine.intake.watching import Watch, watches

GOAL_REACHED = "goal_reached"


@dataclass(slots=True)
class Happening(Batch):
    """The rules: what one event does."""

    def take(self, person: Person, incoming: Incoming, event_id: int) -> list[int]:
        """One event, in full. The enrollments that it started."""
        at = min(incoming.occurred_at or self.now, self.now)
        changed = self._profile(person, incoming)
        everything = incoming.kind == "merge" or person.id in self.newcomers
        self.touches.add(person.id, incoming, event_id, changed, everything=everything)
        self._feedback(person, incoming, at)
        if not self.deployment.dates_read.isdisjoint(changed):
            self.dated[person.id] = self.dated.get(person.id, frozenset()) | changed
        if incoming.history or person.erased:
            return []
        self.present.add(person.id)
        if incoming.name in self.deployment.cap_events:
            self.recounted.add(person.id)
        event = self.deployment.event_values(incoming.name, dict(incoming.properties), at)
        self._holds(person, incoming, event, at)
        for inside in list(person.enrollments):
            self._look(person, inside, incoming.name, event, event_id, at, changed)
        if incoming.depth > CHAIN_LIMIT:
            return []
        self._broadcast(incoming, event_id)
        return self._enter(person, incoming, event, event_id, at)

    def _broadcast(self, incoming: Incoming, event_id: int) -> None:
        """The broadcasts that an event about a thing sets off. Whom they concern is found out later, page by page."""
        for plan, place in self.deployment.broadcasts.get(incoming.name, ()) if incoming.kind == "track" else ():
            if self.deployment.admits(plan, self.now):
                self.broadcasts.append(
                    {
                        "journey": plan.journey,
                        "kind": "broadcast",
                        "rule": str(place),
                        "occurrence": f"event/{event_id}",
                        "place": place,
                        "entry": dump(plan.entries[place]),
                        "event_id": event_id,
                        "depth": incoming.depth + 1,
                        "starts_at": self.now,
                    }
                )

    def _profile(self, person: Person, incoming: Incoming) -> frozenset[str]:
        """Merge traits; the attributes whose value changed."""
        if incoming.kind == "merge":  # the merge has written them already
            merged = frozenset(incoming.properties["changed"])
            person.moved = person.moved or self.deployment.moves_hours(person.attributes, merged)
            return merged
        if person.erased:
            return frozenset()
        traits = written(person.attributes, incoming)
        changed = {k for k, v in traits.items() if person.attributes.get(k) != v}
        for name in changed:
            if name in KINDS and name in person.attributes:
                person.addresses.append((name, person.attributes[name]))
            value = traits[name]
            if value is None:
                person.attributes.pop(name, None)
            else:
                person.attributes[name] = value
        person.changed = person.changed or bool(changed)
        person.moved = person.moved or self.deployment.moves_hours(person.attributes, changed)
        return frozenset(changed)

    def _feedback(self, person: Person, incoming: Incoming, at: datetime) -> None:
        """Consent statements, and addresses that must not be used again."""
        p = incoming.properties
        if (said := statement(person.id, incoming, at, self.now)) is not None:
            self.consents.append(said)
        if incoming.name == "task_completed" and isinstance(p.get("task"), int) and 0 < p["task"] < 2**63:
            self.tasks_done.append((p["task"], person.id))
        if (unwanted := suppression(person.id, person.attributes, incoming, at)) is not None:
            self.suppressions.append(unwanted)
        if (wanted := release(person.id, person.attributes, incoming, at)) is not None:
            self.releases.append(wanted)
        if incoming.name == COMPLAINED and p.get("channel") and not (incoming.history or incoming.imported):
            channel = str(p["channel"])
            told = {"message": str(p.get("message")), "told_by_provider": incoming.source == source_of(channel)}
            self.complaints.append({"customer_id": person.id, "channel": channel, **told})

    def _holds(self, person: Person, incoming: Incoming, event: Mapping[str, Any], at: datetime) -> None:
        """Holds that this event opens or closes. With a key, each opening needs its own closing."""
        for rule in self.deployment.policy.holds:
            if rule.opens is None:
                continue
            key = str(incoming.properties.get(rule.key, "")) if rule.key else ""
            if incoming.name == rule.closes:
                for hold in person.holds:
                    if hold.name == rule.name and hold.key == key and hold.closed_at is None:
                        hold.closed_at = self.now
            if incoming.name == rule.opens and self.true(rule.where, self.context(person, None, event, at)):
                zone = self.facts.zone(person.id, person.attributes)
                person.holds.append(Hold(rule.name, key, rule.pause, at, add(at, rule.at_most, zone_named(zone)), None))

    def _look(
        self,
        person: Person,
        inside: Inside,
        name: str,
        event: Mapping[str, Any],
        event_id: int,
        at: datetime,
        changed: frozenset[str],
    ) -> None:
        """What this event means to one enrollment: an exit, a goal, waits that it satisfies, waits that follow an attribute."""
        plan = self.plans[inside.plan]
        index = watches(plan)
        watched = (*index.by_event.get(name, ()), *index.always)
        followed = sorted({n for attribute in changed for n in index.follows.get(attribute, ())})
        if not watched and not followed:
            return
        matched: list[tuple[int, int]] = []
        context = self.context(person, inside, event, at)
        for watch in watched:
            if watch.kind != "goal" and inside.status == "ended":
                continue
            if not self._satisfied(watch, plan, inside, event, context):
                continue
            if watch.kind == "exit":
                self.leave(person, inside, watch.reason, event_id)
                return
            if watch.kind == "goal":
                self._reach(person, inside, plan, context, at, event_id)
            else:
                matched.append((watch.op, watch.alternative))
        if inside.status == "ended":
            return
        if matched:
            self.tell(inside, "event", at, event_id, matched)
        if followed:
            self.tell(inside, "replan", at, event_id, [(n, 0) for n in followed])

    def _satisfied(self, watch: Watch, plan: Plan, inside: Inside, event: Mapping[str, Any], context: Context) -> bool:
        if watch.correlate and plan.key and str(event.get(plan.key, "")) != inside.key:
            return False
        if watch.segment is not None:
            return context.segments(watch.segment)
        if watch.message is not None and not _is_about(event, inside, watch.message):
            return False
        return self.true(watch.where, context)

    def _reach(self, person: Person, inside: Inside, plan: Plan, context: Context, at: datetime, event_id: int) -> None:
        """Count a goal, once per enrollment and only within its time."""
        goal = plan.goal
        if goal is None or inside.goal_at is not None:
            return
        zone = self.facts.zone(person.id, person.attributes)
        if goal.within is not None and at > add(inside.entered_at, goal.within, zone_named(zone)):
            return
        inside.goal_at = at
        number = _number(self.deployment, goal.value, context)
        self.goals.append({"id": inside.id, "at": at, "value": number})
        if self.tells_goals and inside.depth < CHAIN_LIMIT:
            properties: dict[str, Json] = {"journey": inside.journey, "event": goal.event, "value": number}
            told = Incoming("track", INTAKE, f"goal/{inside.id}", GOAL_REACHED, properties, customer=person.id, occurred_at=at)
            self.consequences.append(replace(told, depth=inside.depth + 1))
        if goal.exit and inside.status != "ended":
            self.leave(person, inside, "goal", event_id)

    def _enter(self, person: Person, incoming: Incoming, event: Mapping[str, Any], event_id: int, at: datetime) -> list[int]:
        """The journeys that this event opens for this person."""
        started = []
        for plan in self.deployment.entries_for({incoming.name}, {incoming.journey} if incoming.kind == "enroll" else set()):
            for entry in plan.entries:
                if not entering.opens(entry, plan, incoming) or not self.deployment.admits(plan, at, person.id):
                    continue
                context = Context(
                    customer=self.facts.customer(person.id, person.attributes),
                    now=at,
                    entry=event,
                    event=event,
                    segments=self.facts.segments(person.id),
                    zone=self.facts.zone(person.id, person.attributes),
                )
                where = by_people(entry.event, entry.where) if entry.kind == "event" else entry.where
                if not self.true(where, context) or not self.true(entry.condition, context):
                    continue
                once = entering.claim(self.deployment, entry, context)
                begun = self._begin(person, plan, entry, incoming, event, event_id, at, once)
                if begun is not None:
                    started.append(begun)
                break
        return started

    def _begin(
        self,
        person: Person,
        plan: Plan,
        entry: Entry,
        incoming: Incoming,
        event: Mapping[str, Any],
        event_id: int,
        at: datetime,
        once: str | None,
    ) -> int | None:
        """Enroll unless `again`, `while_active` or `once_per` says no. At most one live enrollment per customer, journey and
        key; with `once_per`, what anybody did for that value counts as done by this person too."""
        key = entering.key_of(entry, incoming)
        if entry.key and not key:
            return None
        slot = (person.id, plan.journey, key)
        before = self.earlier.get(slot)
        last, number = self.last.get(slot, (before.entered_at, before.number) if before is not None else (None, -1))
        others = self.shared.get((plan.journey, once, key)) if once is not None else None
        if others is not None:
            if others[1] not in (None, person.id):
                return None
            last = others[0] if last is None else max(last, others[0])
        zone = self.facts.zone(person.id, person.attributes)
        live = [i for i in person.enrollments if i.journey == plan.journey and i.key == key and i.status != "ended"]
        if not entering.allowed(entry, live, last, at, zone):
            return None
        anew = live if entry.while_active == "restart" else []
        admission = self._admit(person, plan, at, zone, anew)
        if admission.rule:
            self.refused.append(
                {
                    "customer_id": person.id,
                    "journey": plan.journey,
                    "key": key,
                    "event_id": event_id,
                    "at": at,
                    "rule": admission.rule,
                    "detail": admission.detail,
                }
            )
            return None
        for inside in anew:
            self.leave(person, inside, "restarted", event_id)
        for inside in [i for i in person.enrollments if i.id in admission.leaving]:
            self.leave(person, inside, f"{DISPLACED}{plan.journey}", event_id)
        number = number + 1 if live and entry.while_active == "parallel" else max(number, 0)
        enrollment = next(self.ids)
        known = {"id": enrollment, "key": key, "number": number, "entry_event": event_id, "once": once}
        row = entering.row(self.deployment, plan, person, incoming, at, zone, **known)
        planned = registration(self.deployment.policy, plan, enrollment, State(), Begin(1, at), zone)
        if planned is not None:
            self.planned[enrollment] = planned
        self.begun.append(row)
        self.entered.setdefault(person.id, []).append((plan.journey, at))
        self.last[slot] = (at, number)
        if once is not None:
            self.shared[(plan.journey, once, key)] = (at, person.id)
        self.plans[plan.hash] = plan
        person.enrollments.append(
            Inside(enrollment, plan.journey, plan.hash, key, "live", {}, event, at, None, incoming.depth, row)
        )
        for rule in self.deployment.policy.holds:
            if rule.while_in == plan.journey:
                person.holds.append(Hold(rule.name, key, rule.pause, at, add(at, rule.at_most, zone_named(zone)), enrollment))
        return enrollment

    def _admit(self, person: Person, plan: Plan, at: datetime, zone: str, anew: Sequence[Inside]) -> Admission:
        """What policy's limits say of one more enrollment of this person; `anew` end in any case for it."""
        limits = self.deployment.policy.limits
        if not limits:
            return Admission()
        inside = [Present(i.id, i.journey, i.entered_at) for i in person.enrollments if i.status != "ended" and i not in anew]
        return admit(limits, plan.journey, inside, self.entered.get(person.id, ()), at, zone_named(zone))


def _is_about(event: Mapping[str, Any], inside: Inside, step: str) -> bool:
    """Whether an event is about a message that `step` of this enrollment sent: by the message's key, or where nothing names
    that, by its step, in this journey or any."""
    key = event.get("message")
    if key is not None:
        return str(key).startswith(f"{inside.id}/{step}/")
    return event.get("step") == step and event.get("journey") in (None, inside.journey)


def _number(deployment: Deployment, source: str | None, context: Context) -> float | None:
    """A goal's value; None where it is no number, or too large to be meant."""
    try:
        value = deployment.expression(source).evaluate(context) if source else None
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    except (ExpressionError, OverflowError):
        return None
