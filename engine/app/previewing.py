"""A message as one customer would get it, of the project's files as they are now: looked at by `sojourn preview`, handed to a
channel by `sojourn send-test`. Neither goes through a gate, and nothing of it is in the ledger.

    Unclear               what is asked for isn't there, or can't be understood; says how to mend it
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.authoring.expressions import Context
from engine.authoring.project import Compiled
from engine.core.plan import Plan, Send
from engine.delivery.channel import Channel, Content, Outgoing, Receipt
from engine.delivery.deployment import Deployment
from engine.delivery.people import People
from engine.insight.finding import find_customer
from engine.settings.problems import nearest
from engine.store import audit, enrollments, history
from engine.store.database import Connection, Database, now, transaction

LINK = "{base}/u/this-is-a-test"
"""Stands in for the links to unsubscribe, to confirm and to choose: nobody is unsubscribed who didn't ask for it."""

_NAMES = ("customer", "entry", "event", "vars")


class Unclear(Exception):
    """What is asked for isn't there, or can't be understood. `hint`: how to mend it, or ""."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Letter:
    """A message to look at or to try out. `op`: the step that sends it, `plan`: that step's journey, a made-up one of no journey
    where none sends it. `given`: what a file says that it sees: customer, entry, event, vars, and further names."""

    channel: str
    deployment: Deployment
    plan: Plan
    op: Send
    given: Mapping[str, Any]
    base: str

    def content(self, context: Context) -> Content:
        """What the customer of `context` would get. Raises RenderError or ExpressionError."""
        d, given = self.deployment, self.given
        customer = {**context.customer, **d.attribute_values(given.get("customer", {}))}
        entered = next((e.event for e in self.plan.entries if e.event), "")

        def event(name: str, there: Mapping[str, object] | None, kind: str) -> Mapping[str, object] | None:
            said = given.get(name)
            return there if said is None else {**(there or {}), **d.event_values(str(said.get("name", kind)), said, context.now)}

        own_zone = d.own_zone(customer)
        seen = replace(
            context,
            customer=customer,
            entry=event("entry", context.entry, entered),
            event=event("event", context.event, ""),
            vars={**context.vars, **given.get("vars", {})},
            zone=own_zone or context.zone,
        )
        more = {name: value for name, value in given.items() if name not in _NAMES}
        values = {**(self.op.values or {}), **more}
        link = LINK.format(base=self.base)
        return d.render(self.channel, replace(self.op, values=values or None), self.plan, seen, link, link, link)

    def outgoing(self, content: Content, to: str) -> Outgoing:
        """The message as a channel gets it, marked as a test, under a key that no other message has."""
        return Outgoing(
            key=f"test/{uuid.uuid4().hex}",
            to=to,
            content=content,
            sender=self.deployment.sender(self.channel),
            customer="test",
            journey=self.plan.journey,
            step=self.op.step,
            template=self.op.template,
            tier=self.op.tier,
            topic=self.op.topic,
            unsubscribe_url=LINK.format(base=self.base),
            test=True,
        )


def letter(compiled: Compiled, channel: str, template: str, given: Mapping[str, Any], base: str) -> Letter:
    """The message `template` of `channel`, as the first journey by name sends it. `base`: the public URL. Raises Unclear."""
    if (channel, template) not in compiled.templates:
        names = sorted(n for c, n in compiled.templates if c == channel)
        elsewhere = sorted(c for c, n in compiled.templates if n == template)
        hint = f"it is one of: {', '.join(elsewhere)}; say --channel" if elsewhere else nearest(template, names)
        raise Unclear(f"there is no template {template!r} of {channel}", hint)
    deployment = Deployment.of(compiled, compiled.plans)
    sends = [(plan, op) for _, plan in sorted(compiled.plans.items()) for op in plan.ops if isinstance(op, Send)]
    found = next(((plan, op) for plan, op in sends if op.template == template and channel in op.channels), None)
    stand_in = Send("preview", (channel,), template, compiled.policy.tiers[-1].name)
    plan, op = found or (Plan("preview", stand_in.tier, (stand_in,), ()), stand_in)
    return Letter(channel, deployment, plan, op, given, base)


def read_given(path: Path) -> Mapping[str, Any]:
    """What the JSON file at `path` says that a message sees. Raises Unclear."""
    try:
        body = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as wrong:
        raise Unclear(f"{path} can't be read: {wrong.strerror}") from None
    except (ValueError, RecursionError) as wrong:
        raise Unclear(f"{path} holds no JSON: {wrong}", 'write {"customer": {"first_name": "Ada"}, "entry": {…}}') from None
    if not isinstance(body, dict) or any(not isinstance(body.get(name, {}), dict) for name in _NAMES):
        raise Unclear(f"{path} must hold an object, and so must each of {', '.join(_NAMES)} in it")
    return body


def stranger(wanted: Letter, at: datetime) -> Context:
    """The context of nobody in particular, at `at`: everything is missing."""
    return Context(customer={}, now=at, zone=wanted.deployment.policy.timezone)


async def known(c: Connection, wanted: Letter, name: str) -> Context:
    """The context of the customer who goes by `name`, inside the newest enrollment in the journey that sends the message, if
    there is one. Raises UnknownCustomer."""
    customer = await find_customer(c, name)
    person, at = await history.person(c, customer), await now(c)
    assert person is not None
    d = wanted.deployment
    needs = d.needs_of_text(d.templates[(wanted.channel, wanted.op.template)]) | d.needs(wanted.plan)
    people = await People.load(c, d, [customer], needs, at)
    inside = await history.passages(c, customer, wanted.plan.journey)
    if not inside:
        return people.about(person)
    newest = inside[-1].id
    return people.context((await enrollments.contexts(c, [(newest, 0)]))[newest], at)


async def send_test(database: Database, wanted: Letter, content: Content, channel: Channel, to: str, actor: str) -> Receipt:
    """Hand the message to the channel's provider, for `to`. The audit log tells of it before it leaves, without the address."""
    subject = f"template/{wanted.channel}/{wanted.op.template}"
    async with transaction(database) as c:
        await audit.note(c, actor, "send test", [subject], {"hash": content.template_hash[:12], "locale": content.locale})
    (told,) = await channel.send_many([wanted.outgoing(content, to)])
    if isinstance(told, Exception):
        raise told
    return told
