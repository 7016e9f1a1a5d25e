"""Messages of a simulation before the gates: the very drafts, facts and rulings of `deliver`, on what is in memory.

Every message that the gates allow counts as handed over and accepted: what a provider would answer nobody can know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from engine.authoring.expressions import ExpressionError
from engine.core.enrollment import Command, Outcome
from engine.core.incoming import Incoming
from engine.core.interpreter import key
from engine.core.plan import Send
from engine.core.queue import Place
from engine.delivery import rulings
from engine.delivery.channel import Adapter, Capabilities, Content, Outgoing, Receipt, Result
from engine.delivery.deciding import address_of, decided, ruled
from engine.delivery.deliver import DELIVERY_SOURCE, MESSAGE_SENT
from engine.delivery.draft import Draft, expiry
from engine.delivery.facts import Case, Known, held_out, horizon, window_start
from engine.delivery.own_limits import caps_of
from engine.delivery.people import People
from engine.delivery.queueing import LOOK_BACK, come_nearer
from engine.delivery.render import RenderError
from engine.delivery.warming import patient_tiers
from engine.simulator.memory import Customer, Enrollment
from engine.simulator.stage import Stage
from engine.store.planned import OVERDUE_DAYS

LINK = "https://simulated.invalid/{}"
"""What stands for the links of a message to unsubscribe, to confirm and to choose."""

_OVERDUE = timedelta(days=OVERDUE_DAYS)


class Accepting(Adapter):
    """A channel whose provider accepts everything."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.capabilities = Capabilities(address=address)

    async def send(self, message: Outgoing) -> Receipt:
        """Nobody sends anything here."""
        return Receipt(Result.ACCEPTED)


def deliver(stage: Stage, enrollment: Enrollment, command: Command) -> Outcome:
    """What becomes of one message now. Everything that goes wrong about it is its outcome."""
    draft, people = _draft(stage, enrollment, command)
    try:
        unwanted = draft.op.condition is not None and not _true(stage, people, enrollment, command, draft.op.condition)
    except ExpressionError as error:
        draft.broken, unwanted = str(error), False
    if unwanted:
        _forget(stage, enrollment)
        stage.say("skip", enrollment, op=command.op, step=draft.op.step)
        outcome = draft.done("next")
    else:
        outcome = _decide(stage, draft, enrollment, people)
    _tell(stage, draft, enrollment)
    return outcome


def _draft(stage: Stage, enrollment: Enrollment, command: Command) -> tuple[Draft, People]:
    deployment, plan = stage.deployment, enrollment.plan
    op = plan.ops[command.op]
    assert isinstance(op, Send)
    people = stage.people(deployment.needs(plan))
    zone = people.zone(enrollment.customer_id, enrollment.attributes)
    name = key(enrollment.id, plan, command)
    draft = Draft(enrollment.id, command, name, op, plan, enrollment, zone, expiry(deployment.policy, op, command.at, zone))
    if command.attempt:
        draft.carry_on({row.key: row for row in enrollment.tried})
    return draft, people


def _true(stage: Stage, people: People, enrollment: Enrollment, command: Command, condition: str) -> bool:
    enrollment.look_at(command.event)
    return stage.deployment.expression(condition).test(people.context(enrollment, command.at))


def _decide(stage: Stage, draft: Draft, enrollment: Enrollment, people: People) -> Outcome:
    deployment, customer, moment = stage.deployment, enrollment.customer, stage.now
    policy = deployment.policy
    case = Case(known(stage, customer, draft.command.at), {enrollment.id: enrollment}, {})
    draft.address = address_of(stage.addresses.get(draft.command.channel, ""), customer.id, customer.attributes)
    quiet = stage.people(deployment.hours_needs).quiet_flags(customer)
    patient = patient_tiers(policy)
    if draft.op.tier in patient:
        draft.warming = stage.warming.in_the_way(draft.command.channel, patient, moment)
    made = decided(stage.clock, draft, case, policy, customer, deployment.own_zone(customer.attributes), quiet, moment)
    if made.verdict.decision == "allow" and stage.renders and not draft.broken:
        _render(stage, draft, enrollment, people)
    row, frees = ruled(draft, made, case, policy, "", customer.attributes)
    if draft.outcome is None:
        draft.handed_over = True
        channel = Accepting(draft.command.channel, "")
        rulings.receipt(stage.clock, draft, Receipt(Result.ACCEPTED), channel, moment)
    told = {"channel": draft.command.channel, "template": draft.op.template, "tier": draft.op.tier, "topic": draft.op.topic or ""}
    about = {"op": draft.command.op, "step": draft.op.step, **told}
    enrollment.deferred = about if row["status"] == "deferred" else None
    _keep_row(draft, enrollment, row)
    _queue(stage, draft, enrollment, frees)
    if draft.handed_over:
        stage.warming.sent(draft.command.channel, moment)
        stage.say("send", enrollment, **about, text=_text(draft.content))
    elif row["status"] == "deferred":
        stage.say("defer", enrollment, **about, reason=row["reason"], rule=made.verdict.rule, until=row["until"])
    elif row["status"] == "dropped":
        stage.say("drop", enrollment, **about, reason=row["reason"], rule=made.verdict.rule, until=row["until"])
    assert draft.outcome is not None
    return draft.outcome


def known(stage: Stage, customer: Customer, oldest: datetime) -> Known:
    """What the gates may know of a customer now, as `facts.know` reads it. `oldest`: when the first message was planned."""
    policy, now = stage.deployment.policy, stage.now
    since = window_start(policy, now)
    registered: dict[int, Mapping[str, Any]] = {}
    if since is not None:
        customer.forget_slots(since)
        ahead = horizon(policy, now) if customer.planned else None
        registered = {e: r for e, r in customer.planned.items() if _counts(stage, customer, r, ahead)}
    found = Known(
        policy=policy,
        addresses=stage.addresses,
        suppressed={
            (customer.id, *where): unwanted.reason for where, unwanted in customer.unwanted.items() if unwanted.lifted_at is None
        },
        consents={customer.id: tuple(customer.consents)},
        soft={(customer.id, event): at for event, at in customer.soft.items()},
        holds={customer.id: customer.all_holds(oldest)},
        slots={customer.id: customer.slots},
        registered={customer.id: registered},
    )
    if stage.deployment.cap_needs is not None:
        found.caps = {customer.id: caps_of(stage.people(stage.deployment.cap_needs), customer)}
    return found


def _counts(stage: Stage, customer: Customer, row: Mapping[str, Any], ahead: datetime | None) -> bool:
    """Whether a registered send may take a slot before others do, as `store.planned.of_customers` says."""
    near = ahead is None or row["due"] < ahead
    current = row["waiting"] or row["due"] > stage.now - _OVERDUE
    return near and current and not held_out(stage.deployment.policy, customer.id, row["tier"])


def requeue(stage: Stage, customer: Customer) -> None:
    """Something became free for the customer: have those messages decided that may go earlier than they were told."""
    if not stage.deployment.policy.caps or not any(r["waiting"] for r in customer.planned.values()):
        return
    now = stage.now
    asked = stage.people(stage.deployment.hours_needs)
    for earlier in come_nearer(stage.deployment, known(stage, customer, now - LOOK_BACK), asked, customer, now):
        number = earlier["enrollment_id"]
        customer.planned[number] = {**customer.planned[number], "until": earlier["until"]}
        stage.again(customer.stays[number])


def register(customer: Customer, enrollment: Enrollment, row: dict[str, Any]) -> None:
    """Write a row of `queueing.registration`, or of a draft that waits, unless the enrollment has ended or is held out."""
    if enrollment.status == "live" and not enrollment.holdout:
        about = {"customer_id": customer.id, "journey": enrollment.journey, "entered_at": enrollment.entered_at, "charged": []}
        customer.planned[enrollment.id] = {**about, **row}


def _render(stage: Stage, draft: Draft, enrollment: Enrollment, people: People) -> None:
    deployment, command = stage.deployment, draft.command
    enrollment.look_at(command.event)
    try:
        context = people.context(enrollment, command.at)
        links = (LINK.format("u"), LINK.format("c"), LINK.format("p"))
        draft.content = deployment.render(command.channel, draft.op, draft.plan, context, *links)
    except (RenderError, ExpressionError) as error:
        draft.broken = str(error)


def _keep_row(draft: Draft, enrollment: Enrollment, row: Mapping[str, Any]) -> None:
    """What the next channel of this send has to know, as the ledger's rows."""
    if draft.command.attempt == 0:
        enrollment.tried.clear()
    if draft.has_fallback():
        enrollment.tried.append(_Row(draft.key, draft.command.channel, row["slot_at"], row["expires_at"]))


class _Row:
    __slots__ = ("channel", "expires_at", "key", "slot_at")

    def __init__(self, key: str, channel: str, slot_at: datetime | None, expires_at: datetime | None) -> None:
        self.key, self.channel, self.slot_at, self.expires_at = key, channel, slot_at, expires_at


def _queue(stage: Stage, draft: Draft, enrollment: Enrollment, frees: bool) -> None:
    """Who waits stands in the queue, who doesn't has left it, and others may go."""
    customer = enrollment.customer
    if stage.deployment.policy.caps and (draft.waits() or draft.falls_back()):
        register(customer, enrollment, draft.registration(stage.now))
    else:
        customer.planned.pop(draft.enrollment, None)
    if frees:
        requeue(stage, customer)


def _forget(stage: Stage, enrollment: Enrollment) -> None:
    """Its condition no longer holds: it waits no longer, and gives back what was set aside for it."""
    customer = enrollment.customer
    waited, enrollment.deferred = enrollment.deferred, None
    if waited is not None:
        stage.say("drop", enrollment, **waited, reason="condition")
    if customer.planned.pop(enrollment.id, None) is not None or waited is not None:
        requeue(stage, customer)


def _tell(stage: Stage, draft: Draft, enrollment: Enrollment) -> None:
    """`vars.last_send` and `message_sent`, for the journeys that look at them."""
    outcome = draft.outcome
    assert outcome is not None
    if stage.reads_last_send(draft.plan) and outcome.kind in ("next", "exit", "fallback"):
        enrollment.write({"last_send": draft.last_send()})
    if draft.was_sent and stage.cares(MESSAGE_SENT):
        told = Incoming("track", DELIVERY_SOURCE, f"{draft.key}/sent", MESSAGE_SENT, draft.event_properties())
        stage.accept(replace(told, customer=draft.customer, occurred_at=outcome.at, depth=enrollment.depth))


def _text(content: Content | None) -> str:
    """All that a message says: its single-line parts and its bodies."""
    return "" if content is None else "\n".join([*content.fields.values(), content.text or "", content.html or ""])


def place(stage: Stage, enrollment: Enrollment, command: Command) -> Place:
    """Where a message stands in the order in which those of one moment are decided."""
    op = enrollment.plan.ops[command.op]
    assert isinstance(op, Send)
    return stage.deployment.policy.rank(op.tier), enrollment.entered_at, enrollment.id
