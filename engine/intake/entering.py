"""Who may enter a journey: which entries an event opens, what tells enrollments apart, and whether one more is allowed.

Source of the rules: semantics.md, "Enrollments". No I/O; `happening` keeps what it finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from engine.authoring.expressions import Context, ExpressionError
from engine.core.clock import add
from engine.core.clock import zone as zone_named
from engine.core.holdouts import by_journey, by_policy
from engine.core.incoming import Incoming
from engine.core.plan import Entry, Plan
from engine.core.wire import Json
from engine.delivery.deployment import KEY_LIMIT, Deployment
from engine.delivery.people import People
from engine.intake.naming import Unfit, name_in
from engine.intake.person import Inside, Person, written
from engine.settings.problems import nearest
from engine.store.customers import LANES


class CantEnroll(Exception):
    """A call can't enroll anybody so. `code`: unknown_journey, no_api_entry, no_key, key_missing or bad_field ·
    `hint`: what to do."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        self.code, self.hint = code, hint
        super().__init__(message)


def way_in(plans: Mapping[str, Plan], name: str) -> tuple[Plan, Entry]:
    """The journey called `name` and its `api` entry. Raises CantEnroll."""
    plan = plans.get(name)
    if plan is None:
        raise CantEnroll("unknown_journey", f"there is no journey {name[:100]!r}", nearest(name, plans))
    entry = next((e for e in plan.entries if e.kind == "api"), None)
    if entry is None:
        hint = "write `enter: {api: true}` into the journey, also beside other entries, and deploy it"
        raise CantEnroll("no_api_entry", f"the journey {name!r} can't be entered by a call", hint)
    return plan, entry


def with_key(entry: Entry, key: Json, properties: Mapping[str, Json]) -> tuple[dict[str, Json], str]:
    """The properties of a call with its `key` (None or "": none) put where the `api` entry looks for it; and the key as text, ""
    where the entry has none. Raises CantEnroll."""
    given = _key_in(key, "key")
    if entry.key is None:
        if given:
            raise CantEnroll("no_key", "this journey's api entry has no key, so none can be given", "one customer is in it once")
        return dict(properties), ""
    found = {**properties, entry.key: given} if given else dict(properties)
    text = given or _key_in(found.get(entry.key), f"properties.{entry.key}")
    if not text:
        raise CantEnroll("key_missing", f"key is missing: this journey has one enrollment per {entry.key}")
    return found, text


def _key_in(value: Json, name: str) -> str:
    try:
        return name_in(value)
    except Unfit as unfit:
        raise CantEnroll("bad_field", f"{name} {unfit}", unfit.hint) from None


def opens(entry: Entry, plan: Plan, incoming: Incoming) -> bool:
    """Whether an event, or an enroll call, is what this entry is for."""
    if incoming.kind == "enroll":
        return plan.journey == incoming.journey and entry is _meant(plan, incoming)
    if entry.event != incoming.name:
        return False
    return entry.kind == "event" or (entry.kind == "segment" and incoming.properties.get("segment") == entry.options["segment"])


def _meant(plan: Plan, incoming: Incoming) -> Entry | None:
    """The entry by which somebody is enrolled: the one in that place, or where the journey was changed, the first of its kind."""
    there = plan.entries[incoming.place] if incoming.place < len(plan.entries) else None
    if there is not None and there.kind == incoming.way:
        return there
    return next((e for e in plan.entries if e.kind == incoming.way), None)


def key_of(entry: Entry, incoming: Incoming) -> str:
    """What tells this enrollment from others of the same customer; "" where nothing does, or where it is missing."""
    return str(incoming.properties.get(entry.key, "")) if entry.key else ""


def keys(plan: Plan, incoming: Incoming) -> list[str]:
    """The enrollment keys that this event could open in `plan`."""
    return sorted({key_of(e, incoming) for e in plan.entries if opens(e, plan, incoming)})


def claim(deployment: Deployment, entry: Entry, context: Context) -> str | None:
    """The value of `once_per` that this person would enter for; None where there is none."""
    try:
        value = deployment.expression(entry.once_per).evaluate(context) if entry.once_per else None
    except ExpressionError:
        return None
    return None if value in (None, "") else str(value)[:KEY_LIMIT]


def claims(
    facts: People, people: Mapping[int, Person], plans: Sequence[Plan], fresh: Sequence[tuple[int, Incoming]]
) -> list[tuple[str, str]]:
    """Every (journey, `once_per` value) that somebody of this batch may enter one of `plans` for; traits of the same batch count.
    `fresh`: the customers and what is new of them, in order."""
    entries = [(plan.journey, entry) for plan in plans for entry in plan.entries if entry.once_per is not None]
    if not entries:
        return []
    found = set()
    attributes = {p.id: p.attributes for p in people.values()}
    for owner, incoming in fresh:
        attributes[owner] = {**attributes[owner], **written(attributes[owner], incoming)}
        at = min(incoming.occurred_at or facts.now, facts.now)
        event = facts.deployment.event_values(incoming.name, dict(incoming.properties), at)
        context = replace(facts.about(Person(owner, attributes[owner], erased=False)), now=at, entry=event, event=event)
        for journey, entry in entries:
            once = claim(facts.deployment, entry, context)
            if once is not None:
                found.add((journey, once))
    return sorted(found)


def allowed(entry: Entry, live: Sequence[Inside], last: datetime | None, at: datetime, zone: str) -> bool:
    """Whether `while_active` (where enrollments of the same key are `live`) or `again` (where the `last` entry is over) lets one
    more in at `at`."""
    if live:
        return entry.while_active != "ignore"
    if last is None:
        return True
    if entry.again == "never":
        return False
    return not (entry.again == "after" and entry.again_after is not None and at < add(last, entry.again_after, zone_named(zone)))


def row(
    deployment: Deployment, plan: Plan, person: Person, incoming: Incoming, at: datetime, zone: str, **known: Any
) -> dict[str, Any]:
    """The row of `store.enrollments.insert`. `known`: id, key, number, entry_event and once."""
    within = plan.goal.within if plan.goal else None
    return {
        "customer_id": person.id,
        "journey": plan.journey,
        "plan": plan.hash,
        "holdout": by_journey(plan, person.id),
        "global_holdout": by_policy(deployment.policy, person.id),
        "depth": incoming.depth,
        "entered_at": at,
        "goal_until": add(at, within, zone_named(zone)) if within is not None else None,
        "lane": person.id % LANES,
        "urgent": plan.tier in deployment.policy.urgent,
        **known,
    }
