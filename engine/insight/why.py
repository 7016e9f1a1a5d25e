"""`why`: the answer to "why did she get this, and why not that?", read from the store. Reads only; rules live elsewhere.

Why somebody never entered a journey is `absence`'s business, the values are `story`'s.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from engine.core.clock import zone as zone_named
from engine.core.limits import DISPLACED
from engine.core.obstacles import Obstacle, in_the_way
from engine.core.plan import Plan
from engine.core.policy import Policy
from engine.core.recording import recall
from engine.core.telling import tell_moment
from engine.delivery.deployment import Deployment, NothingDeployed
from engine.delivery.deployments import Deployments
from engine.delivery.facts import CROWD
from engine.insight.absence import absences
from engine.insight.as_of import UNDER_WAY, passage_at, stands_at
from engine.insight.asked import settle_moment
from engine.insight.finding import UnknownCustomer
from engine.insight.pausing import paused, pauses_of
from engine.insight.story import (
    Became,
    Change,
    Decision,
    Gate,
    Membership,
    Merge,
    Message,
    Moment,
    OpenHold,
    Passage,
    Rule,
    StageMove,
    Why,
)
from engine.store import history, identities, memberships, merges
from engine.store.database import Connection, now

FIRST = ("entered",)
LAST = ("parked", "ended")
INNER = {
    "$enroll": "the API",
    "$identify": "a new attribute",
    "$set": "a changed attribute",
    "$schedule": "a schedule",
    "$date": "a date",
    "$segment": "being in a segment at the deploy",
    "$time": "the passing of time",
    "$alias": "another name",
    "$merged": "a merge",
    "$unmerged": "the end of a merge",
}
"""What events are called that have no name of their own."""


async def why(
    c: Connection,
    customer: int,
    journey: str | None = None,
    deployments: Deployments | None = None,
    at: datetime | None = None,
) -> Why:
    """What happened to `customer` in `journey` (None: in all), with every decision and every gate; of one who was merged, what
    happened to whom they are now. Raises UnknownCustomer.

    `deployments`: the process's own, so that plans are read once. `at`: tell what stood at that moment, by the customer's clock
    where it is naive; None: now. Raises BadMoment where it hasn't come."""
    customer = await identities.survivor(c, customer)
    person = await history.person(c, customer)
    if person is None:
        raise UnknownCustomer(str(customer), [])
    deployments = deployments or Deployments()
    try:
        deployment: Deployment | None = await deployments.current(c)
    except NothingDeployed:
        deployment = None
    zone, own, unusable = _zone(deployment, person.attributes)
    past = None if at is None else settle_moment(at, zone, await now(c))
    rows = await history.passages(c, customer, journey)
    plans = {r.plan: await deployments.plan(c, r.plan) for r in rows}
    passages = await _passages(c, customer, rows, plans, zone, deployments, past)
    if past is not None:
        passages = tuple(passage_at(p, past, zone) for p in passages if p.entered_at <= past)
    moment = past or await now(c)
    open_holds = await history.holds(c, customer, moment)
    return Why(
        customer=customer,
        identifiers=tuple((k, v) for k, v in person.identifiers),
        zone=zone.key,
        own_zone=own,
        unusable_zone=unusable,
        at=moment,
        erased=person.erased_at is not None,
        restricted=person.restricted,
        objected=person.objected,
        holds=tuple(OpenHold(r.name, r.key, tuple(r.pause), r.opened_at, r.until) for r in open_holds),
        passages=passages,
        absences=tuple(await absences(c, deployment, person, rows, journey, moment, zone)),
        past=past is not None,
        merges=tuple(
            Merge(r.id, r.at, r.cause, r.gone, tuple((k, v) for k, v in r.names), r.undone_at)
            for r in await merges.of_customer(c, customer)
        ),
        segments=()
        if past is not None
        else tuple(Membership(r.segment, r.since, r.cause, r.event) for r in await memberships.of_customer(c, customer)),
        stages=tuple(
            StageMove(r.stage, r.previous, r.since, r.until, r.cause, r.event)
            for r in await memberships.history(c, customer)
            if r.since <= moment
        ),
    )


def _zone(deployment: Deployment | None, attributes: Mapping[str, Any]) -> tuple[ZoneInfo, bool, str | None]:
    """The zone to tell times in, whether it is the customer's own, and what they have in its place that names none."""
    own = attributes.get("timezone")
    if isinstance(own, str) and own:
        with suppress(ValueError):
            return zone_named(own), True, None
    return zone_named(deployment.policy.timezone if deployment else "UTC"), False, str(own) if own else None


async def _passages(
    c: Connection,
    customer: int,
    rows: Sequence[Any],
    plans: Mapping[str, Plan],
    zone: ZoneInfo,
    deployments: Deployments,
    past: datetime | None,
) -> tuple[Passage, ...]:
    ids = [r.id for r in rows]
    moments: dict[int, list[Moment]] = defaultdict(list)
    plan_of = {r.id: plans[r.plan] for r in rows}
    for i in await history.inputs(c, ids):
        if i.kind != "replan" or i.matched:  # one of nothing only brought it to another cohort
            moments[i.enrollment_id].append(_input(i, plan_of[i.enrollment_id]))
    messages = await history.messages(c, ids)
    decided: dict[str, list[Decision]] = defaultdict(list)
    decisions = await history.decisions(c, [m.key for m in messages])
    in_force = {d.key: d for d in decisions if past is None or d.at <= past}
    policies = await deployments.policies(c, {d.policy for d in in_force.values()})
    changes = await asyncio.to_thread(_changes, list(in_force.values()), policies)
    for d in decisions:
        decided[d.key].append(_decision(d, changes.get(d.id)))
    became: dict[str, list[Became]] = defaultdict(list)
    for b in await history.became(c, customer, [m.key for m in messages]) if messages else ():
        became[b.key].append(Became(b.at, b.event, b.words, b.url, b.machine))
    for m in messages:
        told = _message(m, tuple(decided[m.key]), tuple(became[m.key]))
        first = told.decisions[0].at if told.decisions else m.decided_at
        moments[m.enrollment_id].append(Moment(first, "message", f"{m.channel} {m.template}", told))
    for t in await history.tasks(c, ids):
        moments[t.enrollment_id].append(Moment(t.created_at, "task", _task(t, zone, past)))
    for r in rows:
        moments[r.id] += [*_own_moments(r), *pauses_of(r)]
    return tuple(_passage(r, moments[r.id], zone) for r in rows)


def _passage(r: Any, moments: list[Moment], zone: ZoneInfo) -> Passage:
    # An enrollment begins with its entry and ends with its end, whatever moments say that share a microsecond.
    moments.sort(key=lambda m: (m.kind not in FIRST, m.kind in LAST, m.at))
    return Passage(
        enrollment=r.id,
        journey=r.journey,
        key=r.key,
        status=r.status,
        reason=r.reason,
        holdout=r.holdout,
        global_holdout=r.global_holdout,
        entered_at=r.entered_at,
        ended_at=r.ended_at,
        step=r.step,
        wake_at=r.wake_at,
        now=_stands(r, [m.message for m in moments if m.message is not None], zone) + paused(r, zone),
        moments=tuple(moments),
    )


def _stands(r: Any, messages: Sequence[Message], zone: ZoneInfo) -> str:
    """Where it stands, in a sentence. A message under way says it better than the recorded position, which lags behind."""
    if r.status == "ended":
        return "Ended after its last step." if r.reason == "completed" else f"Ended: {r.reason}."
    if r.status == "parked":
        at = f" at {r.step}" if r.step else ""
        return f"Parked{at}: {r.reason}. Once that is mended, `sojourn retry {r.id}` goes on from there."
    if r.cohort_id is None:
        return "Accepted; Temporal hasn't been told yet."
    waiting = next((m for m in reversed(messages) if m.status in UNDER_WAY), None)
    if waiting is not None:
        return stands_at(waiting, zone)
    if r.step is None:
        return "At its beginning."
    if r.wake_at is not None:
        return f"At {r.step}, until {tell_moment(r.wake_at, zone)} at the latest."
    return f"At {r.step}."


def _own_moments(r: Any) -> list[Moment]:
    """What the enrollment's own row says: its goal, its end."""
    found = []
    if r.goal_at is not None:
        worth = f", worth {r.goal_value:g}" if r.goal_value is not None else ""
        found.append(Moment(r.goal_at, "goal", f"The goal was reached{worth}."))
    if r.status == "ended" and r.ended_at is not None:
        text = "Ended after its last step." if r.reason == "completed" else f"Ended: {r.reason}."
        found.append(Moment(r.ended_at, "ended", text))
    return found


def _input(i: Any, plan: Plan) -> Moment:
    """One input, in words."""
    steps = " and ".join(dict.fromkeys(_step(plan, op) for op, _ in i.matched))
    what = i.name or "an event"
    if i.kind == "begin":
        text, kind = f"Entered by {_event(i)}.", "entered"
    elif i.kind == "exit":
        by = {"goal": f"Left: {what} reached the goal.", "restarted": f"Left: {what} began it anew."}
        by["erased"] = "Left: the customer was erased."
        by["merged"] = "Left: two customers became one, who was in this journey earlier already."
        if i.reason.startswith(DISPLACED):
            by[i.reason] = f"Left: {i.reason.removeprefix(DISPLACED)} began, which stands above it in a limit."
        text, kind = by.get(i.reason, f"Left: {_event(i)} came."), "exit"
    else:
        kind = i.kind
        text = {
            "event": f"{_event(i)} came, for which {steps or 'a step'} waits.",
            "stop": "Stopped by an operator.",
            "again": "Something that stood in the way is gone: what waits is decided again.",
            "replan": f"An attribute changed: {steps or 'a wait'} is worked out again.",
            "retry": "Retried by an operator.",
            "move": "Asked to go on with another plan, or at another step.",
            "skip": f"An operator skipped {i.reason}.",
        }.get(i.kind, i.kind)
    if i.note and i.kind != "move":
        text += f" ({i.note})"
    return Moment(i.at, kind, text)


def _event(i: Any) -> str:
    """The event's name with a few of its plain properties, as a reminder which one it was."""
    name = INNER.get(i.name or "", i.name) or "an event"
    plain = [f"{k} {v}" for k, v in (i.properties or {}).items() if isinstance(v, (str, int, float)) and len(str(v)) <= 24]
    return f"{name} ({', '.join(plain[:3])})" if plain and not (i.name or "").startswith("$") else name


def _step(plan: Plan, op: int) -> str:
    return str(getattr(plan.ops[op], "step", f"#{op}")) if op < len(plan.ops) else f"#{op}"


def _task(t: Any, zone: ZoneInfo, past: datetime | None) -> str:
    status = "open" if past is not None and t.closed_at is not None and t.closed_at > past else t.status
    due = f", due {tell_moment(t.due_at, zone)}" if t.due_at is not None else ""
    whose = f" ({t.assignee})" if t.assignee else ""
    return f"Task for {t.queue}{whose}: {t.title} — {status}{due}."


def _message(m: Any, decisions: tuple[Decision, ...], became: tuple[Became, ...]) -> Message:
    return Message(
        key=m.key,
        step=m.step,
        channel=m.channel,
        template=m.template,
        tier=m.tier,
        topic=m.topic,
        status=m.status,
        reason=m.reason,
        detail=m.detail,
        planned_at=m.planned_at,
        expires_at=m.expires_at,
        sent_at=m.sent_at,
        until=m.until,
        tries=m.tries,
        provider_id=m.provider_id,
        words=m.words,
        decisions=decisions,
        tags=tuple(m.tags),
        became=became,
    )


def _decision(d: Any, change: Change | None) -> Decision:
    gates = tuple(
        Gate(g, a, rule, detail, datetime.fromisoformat(until) if until else None) for g, a, rule, detail, until in d.gates
    )
    return Decision(d.at, d.decision, d.reason, d.rule, d.detail, d.until, d.earliest, gates, change)


def _changes(decisions: Sequence[Any], policies: Mapping[str, Policy]) -> dict[int, Change]:
    """What would have let them pass, by id. It takes milliseconds each: not for a loop that others wait for."""
    found = {d.id: _change(d, policies.get(d.policy)) for d in decisions}
    return {number: change for number, change in found.items() if change is not None}


def _change(d: Any, policy: Policy | None) -> Change | None:
    """Worked out from what the decision looked at."""
    if d.decision == "allow" or d.facts is None or policy is None:
        return None
    try:
        facts, message = recall(json.loads(d.facts))
    except ValueError:  # a newer version recorded it
        return None
    if facts.aside or len(facts.planned) > CROWD:
        return None
    found = in_the_way(policy, facts, message, d.at)
    return None if found is None else Change(_rules(found.alone), _rules(found.together), _enough(found.alone, found.together))


def _rules(found: Sequence[Obstacle]) -> tuple[Rule, ...]:
    return tuple(Rule(o.gate, o.rule) for o in found)


def _enough(alone: Sequence[Obstacle], together: Sequence[Obstacle]) -> str:
    """In a sentence: the one change that was enough, any of several, or all that it would have taken."""
    if alone:
        each = ": each alone was enough" if len(alone) > 1 else ""
        return f"It would have passed {', or '.join(o.without for o in alone)}{each}."
    if together:
        return f"No one change would have let it pass; all of these would: {'; '.join(o.without for o in together)}."
    return "No one change would have let it pass."
