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
from engine.core.obstacles import Obstacle, in_the_way
from engine.core.plan import Plan
from engine.core.policy import Policy
from engine.core.recording import recall
from engine.core.telling import tell_moment
from engine.delivery.deployment import Deployment, NothingDeployed
from engine.delivery.deployments import Deployments
from engine.delivery.facts import CROWD
from engine.delivery.moving import MOVED
from engine.delivery.rulings import SKIPPED
from engine.insight.absence import absences
from engine.insight.as_of import UNDER_WAY, passage_at, stands_at
from engine.insight.asked import settle_moment
from engine.insight.finding import UnknownCustomer
from engine.insight.inputs import begun, inputs_told
from engine.insight.parked import parkings_of, told_of
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
    Parking,
    Passage,
    Rule,
    StageMove,
    Why,
    in_order,
)
from engine.store import history, identities, lived, memberships, merges
from engine.store.database import Connection, now


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
    inputs: dict[int, list[Any]] = defaultdict(list)
    for i in await history.inputs(c, ids):
        inputs[i.enrollment_id].append(i)
    led = {i.reason for own in inputs.values() for i in own if i.kind == "move"}
    reached = {h: await deployments.plan(c, h) for h in sorted(led)}
    deployed = await history.plans_deployed(c, sorted(led)) if led else {}
    for r in rows:
        moments[r.id] += inputs_told(inputs[r.id], plans[r.plan], reached, deployed, zone)
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
    ended = {r.id: r.ended_at for r in rows}
    for m in messages:
        told = _message(m, tuple(decided[m.key]), tuple(became[m.key]))
        came = _came(m, told, inputs[m.enrollment_id], ended[m.enrollment_id])
        moments[m.enrollment_id].append(Moment(came, "message", f"{m.channel} {m.template}", told))
    for t in await history.tasks(c, ids):
        moments[t.enrollment_id].append(Moment(t.created_at, "task", _task(t, zone, past)))
    parked: dict[int, list[Any]] = defaultdict(list)
    for p in await lived.parkings(c, ids):
        parked[p.enrollment_id].append(p)
    stood = {r.id: parkings_of(r, parked[r.id], inputs[r.id]) for r in rows}
    reasons = await history.pause_reasons(c, sorted({r.journey for r in rows if r.journey_last_paused_at is not None}))
    for r in rows:
        moments[r.id] += [*_own_moments(r), *told_of(stood[r.id]), *pauses_of(r, reasons.get(r.journey, ""))]
    return tuple(_passage(r, moments[r.id], stood[r.id], zone) for r in rows)


def _passage(r: Any, moments: list[Moment], parkings: tuple[Parking, ...], zone: ZoneInfo) -> Passage:
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
        now=_stands(r, [m.message for m in in_order(moments, r.entered_at) if m.message is not None], zone) + paused(r, zone),
        moments=in_order(moments, r.entered_at),
        parkings=parkings,
    )


def _came(m: Any, told: Message, inputs: Sequence[Any], ended_at: datetime | None) -> datetime:
    """When what stands of a message came: when it left, was decided last, or was given up without another decision."""
    if m.sent_at is not None:
        left: datetime = m.sent_at
        return left
    last: datetime = told.decisions[-1].at if told.decisions else m.decided_at or m.planned_at
    if m.status != "dropped" or m.until is not None or not told.decisions or told.decisions[-1].decision == "drop":
        return last
    if m.reason == SKIPPED:
        causes = [i.at for i in inputs if i.kind == "skip" and i.reason == m.step]
    elif m.reason == MOVED:
        moved = begun(inputs)
        causes = [i.at for i in inputs if i.seq in moved]
    elif m.reason == "condition":
        causes = [told.decisions[-1].until]
    else:
        causes = [ended_at]
    return min((at for at in causes if at is not None and at >= last), default=last)


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
