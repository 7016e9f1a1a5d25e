"""A journey's shape to a plan: the head, the entries, exits and the goal; the steps are built by `compile_steps`.

Problems go to the document; the plan comes back in any case and counts only where there are no errors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from engine.authoring import shape_journey as shape
from engine.authoring.compile_entries import compile_entry
from engine.authoring.compile_steps import Steps
from engine.authoring.model_tracking import EventType
from engine.authoring.passages import Placed
from engine.authoring.scopes import LAST_SEND, Names, event_fields
from engine.authoring.spots import Spot
from engine.authoring.variables import variable_types
from engine.authoring.world import World, entry_fields
from engine.core.clock import resolve_local, zone
from engine.core.plan import ExitRule, Goal, Plan, sealed
from engine.settings.yaml import Document


@dataclass(frozen=True, slots=True)
class Correlation:
    """Decides for each event that a journey looks at whether it must carry the entry's key, and notes it."""

    journey: str
    key: str | None
    notes: list[str]

    def of(self, spot: Spot, event: EventType | None, match: str | None) -> bool:
        """Whether `event`, under `match:` as written at `spot`, must carry the entry's value of the key."""
        declares = bool(event and self.key and event.property(self.key))
        if match == "key" and not declares:
            hint = "declare the property in tracking.yaml" if self.key else "give the entry a key"
            spot.report("SJ211", f"{event.name if event else 'the event'} has no key to match", hint)
        if event:
            how = f"the same {self.key}" if declares and match != "any" else "any of the customer's"
            self.notes.append(f"{spot.place}: {self.journey}: {event.name} matches {how}")
        return declares and match != "any"


def compile_journey(written: shape.Journey, document: Document, world: World) -> tuple[Placed, list[str]]:
    """The plan, sealed, with its steps' places, and notes on what each event matches. What is wrong is added to
    `document.problems`."""
    top = Spot(document)
    notes: list[str] = []
    entry = entry_fields(world, written)
    key = _key(written, top)
    correlation = Correlation(written.journey, key, notes)
    names = world.names(entry=entry)
    names = replace(names, vars={"last_send": LAST_SEND, **variable_types(written.steps, names)})
    base = world.tier(top / "tier", written.tier)
    world.tags(top / "tags", written.tags)
    steps = Steps(world, correlation, base, names, written.tags)
    listed = isinstance(document.at(("enter",)), type(document.at(("steps",))))
    plan = Plan(
        journey=written.journey,
        tier=written.tier,
        entries=tuple(
            compile_entry(e, top / "enter" / i if listed else top / "enter", world) for i, e in enumerate(written.enter)
        ),
        exits=_exits(written, top, world, names, correlation),
        goal=_goal(written.goal, top / "goal", world, names, correlation),
        ops=steps.compile(written.steps, top / "steps"),
        key=key,
        holdout=written.holdout.share if isinstance(written.holdout, shape.Holdout) else written.holdout,
        holdout_salt=written.holdout.salt if isinstance(written.holdout, shape.Holdout) else "",
        status=written.status,
        summary=written.summary,
        owner=written.owner,
        starts=_moment(written.starts, top / "starts", world),
        ends=_moment(written.ends, top / "ends", world),
    )
    if plan.starts and plan.ends and plan.ends <= plan.starts:
        (top / "ends").report("SJ421", "it ends before it starts")
    return Placed(sealed(plan), steps.ids), notes


def _key(written: shape.Journey, top: Spot) -> str | None:
    keys = {e.key for e in written.enter}
    if len(keys) > 1:
        hint = "give all of them the same key: it tells the enrollments of one customer apart"
        (top / "enter").report("SJ414", "the entries of this journey have different keys", hint, key=True)
    return next((e.key for e in written.enter if e.key), None)


def _exits(written: shape.Journey, top: Spot, world: World, names: Names, correlation: Correlation) -> tuple[ExitRule, ...]:
    rules = []
    listed = isinstance(top.document.at(("exit",)), type(top.document.at(("steps",))))
    for i, rule in enumerate(written.exit):
        spot = top / "exit" / i if listed else top / "exit"
        if (rule.event is None) == (rule.if_ is None):
            spot.report("SJ420", "an exit has either event: or if:", "make two of it")
        elif rule.event:
            event = world.event(spot / "event", rule.event)
            (spot / "where").expression(rule.where, names.looking_at(event_fields(event)))
            correlate = correlation.of(spot / "event", event, rule.match)
            rules.append(ExitRule(rule.event, rule.event, rule.where, correlate))
        else:
            if rule.where or rule.match:
                spot.report("SJ420", "where: and match: belong to an event:", "remove them")
            (spot / "if").expression(rule.if_, names)
            rules.append(ExitRule("condition", condition=rule.if_))
    return tuple(rules)


def _goal(written: shape.Goal | None, spot: Spot, world: World, names: Names, correlation: Correlation) -> Goal | None:
    if not written:
        return None
    event = world.event(spot / "event", written.event)
    looking = names.looking_at(event_fields(event))
    (spot / "where").expression(written.where, looking)
    (spot / "value").expression(written.value, looking, "any")
    correlate = correlation.of(spot / "event", event, written.match)
    return Goal(written.event, written.where, correlate, written.within, written.value, written.exit)


def _moment(text: str | None, spot: Spot, world: World) -> str | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        spot.report("SJ421", f"{text!r} is not a date or a moment", "write 2026-12-01 or 2026-12-01 09:00")
        return None
    if moment.tzinfo is None:
        moment = resolve_local(moment, zone(world.policy.timezone))
    return moment.isoformat()
