"""Why a customer is not in a journey, or not once more: what came, and which rule of the entry said no.

Looks at the deployed plans with today's knowledge of the customer. Where that would let them in, it says so rather than guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from engine.authoring.expressions import Context, ExpressionError
from engine.authoring.world import MOVES
from engine.core.clock import add, format_duration
from engine.core.occasions import Anniversary, Schedule, told_date, told_schedule
from engine.core.plan import Entry, Plan
from engine.core.telling import tell_moment
from engine.core.wire import load
from engine.delivery.deployment import Deployment
from engine.delivery.people import People
from engine.insight.story import Absence
from engine.settings.problems import nearest
from engine.store import history, refusals
from engine.store.database import Connection


async def absences(
    c: Connection,
    deployment: Deployment | None,
    person: Any,
    passages: Sequence[Any],
    journey: str | None,
    now: datetime,
    zone: ZoneInfo,
) -> list[Absence]:
    """One per deployed journey (or for `journey`) that the customer hadn't entered by `now`, or not again at a later event.

    `person`: a row of `history.person`; `passages`: the rows of `history.passages` in these journeys, also those after `now`."""
    after = {r.journey: r.entered_at for r in reversed(passages) if r.entered_at > now}
    passages = [r for r in passages if r.entered_at <= now]
    inside = {r.journey for r in passages}
    found = [_later(name, at, zone) for name, at in sorted(after.items()) if name not in inside]
    if deployment is None:
        return found if passages or found or journey is None else [Absence(journey, "no_journey", "Nothing is deployed yet.")]
    if journey is not None and journey not in deployment.plans:
        if passages or found:
            return found
        hint = nearest(journey, deployment.plans)
        return [Absence(journey, "no_journey", f"No journey called {journey} is deployed; {hint}" if hint else "There is none.")]
    told = {a.journey for a in found}
    plans = [deployment.plans[j] for j in sorted(deployment.plans) if journey in (None, j) and j not in told]
    people = await People.load(c, deployment, [person.id], deployment.needs(*plans), now)
    names = sorted({n for p in plans for e in p.entries if (n := _name(e)) is not None})
    came = await history.entry_events(c, person.id, names, now)
    refused = await refusals.of_events(c, person.id, [e.id for e in came])
    deployed = await history.first_deployed(c, [p.journey for p in plans])
    for plan in plans:
        mine = [r for r in passages if r.journey == plan.journey]
        asked = _Asked(deployment, people, person, plan, mine, came, refused, deployed.get(plan.journey), zone)
        answer = asked.answer()
        if answer is not None:
            found.append(answer)
    return sorted(found, key=lambda a: a.journey)


def _later(journey: str, at: datetime, zone: ZoneInfo) -> Absence:
    return Absence(journey, "later", f"They entered it only on {tell_moment(at, zone)}.", at)


def _name(entry: Entry) -> str | None:
    """What the event is called with which this entry enrolls."""
    return _CALLED.get(entry.kind, entry.event)


def _fits(entry: Entry, event: Any) -> bool:
    """Whether an event is one with which this entry enrolls, whatever else it asks for."""
    if _name(entry) != event.name:
        return False
    return entry.kind != "segment" or event.properties.get("segment") == entry.options["segment"]


_SAID = {"$enroll": "The API's call", "$schedule": "The schedule's time", "$date": "The day"}
_CALLED = {"api": "$enroll", "schedule": "$schedule", "date": "$date"}


@dataclass(frozen=True, slots=True)
class _Asked:
    """One journey, one customer. `came`: the customer's events that any entry names, newest first. `refused`: (event, journey) →
    which limit said no."""

    deployment: Deployment
    people: People
    person: Any
    plan: Plan
    mine: Sequence[Any]
    came: Sequence[Any]
    refused: Mapping[tuple[int, str], Any]
    deployed: datetime | None
    zone: ZoneInfo

    def answer(self) -> Absence | None:
        """Why not; None where the newest event that could have opened the journey did."""
        if self.person.erased_at is not None:
            return None if self.mine else self._no("erased", "The customer was erased.")
        names = {n for e in self.plan.entries if (n := _name(e)) is not None}
        used = {r.entry_event for r in self.mine}
        since = max((r.entered_at for r in self.mine), default=None)
        events = [e for e in self.came if any(_fits(entry, e) for entry in self.plan.entries)]
        fresh = [e for e in events if e.id not in used and (since is None or e.occurred_at > since)]
        if fresh:
            return self._of_event(fresh[0])
        return None if self.mine else self._nothing_came(sorted(names - {"$enroll"}))

    def _by_calendar(self, name: str) -> str:
        """What a journey begins with, in words."""
        entry = next(e for e in self.plan.entries if _name(e) == name)
        if entry.kind == "schedule":
            return f"a schedule ({told_schedule(load(Schedule, entry.options['schedule']))})"
        if entry.kind == "date":
            return f"a date ({told_date(load(Anniversary, entry.options['date']))})"
        if entry.kind == "segment":
            return f"{'entering' if entry.event == MOVES['enters'] else 'leaving'} the segment {entry.options['segment']}"
        return f"{name} for those whom it concerns" if entry.kind == "broadcast" else name

    def _no(self, reason: str, detail: str, at: datetime | None = None) -> Absence:
        return Absence(self.plan.journey, reason, detail, at)

    def _nothing_came(self, names: list[str]) -> Absence:
        if self.plan.status != "live":
            return self._no("not_live", f"The journey is {self.plan.status}: it takes nobody in.")
        if not names:
            return self._no("api", "It is entered through the API only, and nobody asked for this customer.")
        told = [self._by_calendar(name) for name in names]
        which = told[0] if len(told) == 1 else f"{', '.join(told[:-1])} or {told[-1]}"
        if any(e.kind in ("schedule", "date", "broadcast") for e in self.plan.entries):
            return self._no("no_event", f"It begins with {which}, and that hasn't come for this customer.")
        return self._no("no_event", f"It begins with {which}, and no such event has come for this customer.")

    def _of_event(self, event: Any) -> Absence:
        """Why this event didn't open the journey: the answer of the entry that came nearest to it."""
        if (said := self.refused.get((event.id, self.plan.journey))) is not None:
            reason, detail = "limit", said.detail
        else:
            answers = [self._of_entry(e, event) for e in self.plan.entries if _fits(e, event)]
            order = ("active", "again", "before_deploy", "unknown", "not_live", "no_key", "condition", "where")
            reason, detail = min(answers, key=lambda a: order.index(a[0]))
        name = _SAID.get(event.name, event.name)
        return self._no(reason, f"{name} came on {tell_moment(event.occurred_at, self.zone)}, but {detail}", event.occurred_at)

    def _of_entry(self, entry: Entry, event: Any) -> tuple[str, str]:
        at: datetime = event.occurred_at
        if not self.deployment.admits(self.plan, at):
            return "not_live", self._closed(at)
        if self.deployed is not None and event.accepted_at < self.deployed:
            return "before_deploy", f"the journey was deployed only on {tell_moment(self.deployed, self.zone)}."
        for reason, condition in (("where", entry.where), ("condition", entry.condition)):
            said = self._fails(condition, event)
            if said:
                return reason, said
        key = "" if not entry.key else str(event.properties.get(entry.key) or "")
        if entry.key and not key:
            return "no_key", f"it has no {entry.key}, which tells the passages through this journey apart."
        return self._before(entry, key, at)

    def _closed(self, at: datetime) -> str:
        plan = self.plan
        if plan.status != "live":
            return f"the journey is {plan.status}: it takes nobody in."
        if plan.journey in self.deployment.drained:
            return "the journey was deployed with `--strategy drain`: it takes nobody in until the next deploy."
        if plan.starts is not None and at < datetime.fromisoformat(plan.starts):
            return f"the journey starts on {tell_moment(datetime.fromisoformat(plan.starts), self.zone)}."
        return "the journey had ended."

    def _fails(self, condition: str | None, event: Any) -> str:
        """What stands against it where `condition` doesn't hold, else ""."""
        if condition is None:
            return ""
        values = self.deployment.event_values(event.name, event.properties, event.occurred_at)
        context = Context(
            customer=self.people.customer(self.person.id, self.person.attributes),
            now=event.occurred_at,
            entry=values,
            event=values,
            segments=self.people.segments(self.person.id),
            zone=self.zone.key,
        )
        try:
            holds = self.deployment.expression(condition).test(context)
        except ExpressionError as wrong:
            return f"its condition can't be evaluated: {wrong}."
        return "" if holds else f"this isn't true of it: {condition}"

    def _before(self, entry: Entry, key: str, at: datetime) -> tuple[str, str]:
        """What earlier passages with the same key say."""
        same = [r for r in self.mine if r.key == key and r.entered_at <= at]
        about = f" with {entry.key} {key}" if entry.key else ""
        inside = [r for r in same if r.ended_at is None or r.ended_at > at]
        if inside and entry.while_active == "ignore":
            return "active", f"an enrollment{about} (number {inside[-1].id}) was running already, and one at a time is the rule."
        if same and entry.again == "never":
            return "again", f"they had been in it before{about} (number {same[-1].id}), and `again: never` is the rule."
        if same and entry.again == "after" and entry.again_after is not None:
            free = add(max(r.entered_at for r in same), entry.again_after, self.zone)
            if at < free:
                length = format_duration(entry.again_after)
                return "again", f"`again: after {length}` is the rule, so not before {tell_moment(free, self.zone)}."
        return (
            "unknown",
            "it opened nothing then: it was imported as history, or other rules were in force. It would enter today.",
        )
