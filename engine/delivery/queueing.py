"""The one queue of each customer: what enrollments register, and who is told when room has come.

Nothing here decides or takes a slot: `deliver` does. A queue is worked out once per change, and only messages that may go earlier
than they were told are woken. Source: semantics.md, "Caps".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from engine.core.enrollment import Begin, Outcome, State
from engine.core.interpreter import key
from engine.core.plan import Plan, Send
from engine.core.policy import Policy
from engine.core.upcoming import next_send
from engine.core.wire import dump
from engine.delivery.deployment import Deployment
from engine.delivery.draft import expiry
from engine.delivery.facts import Known, know
from engine.delivery.own_limits import cap_facts
from engine.delivery.people import People
from engine.store import customers, enrollments, planned
from engine.store.database import Connection

LOOK_BACK = timedelta(days=365)
"""Holds that ended longer ago delay nobody who waits: no message is worth sending for so long."""

EARLIER = timedelta(seconds=1)
"""By how much a message must be able to go earlier to be woken for it; timers are rounded to the second."""


def registration(
    policy: Policy, plan: Plan, enrollment: int, state: State, given: Begin | Outcome, zone: str
) -> dict[str, Any] | None:
    """The row of `store.planned.register` for an enrollment in `state` to which `given` happens; None where no send is certain,
    or where it would use up no cap. `zone`: the customer's."""
    try:
        coming = next_send(plan, state, given, zone) if policy.caps else None
        send = None if coming is None else plan.ops[coming.op]
        if coming is None or not isinstance(send, Send) or send.tier in policy.uncounted:
            return None
        expires = expiry(policy, send, coming.at, zone)
    except (ValueError, OverflowError):  # later than a calendar can say
        return None
    return {
        "enrollment_id": enrollment,
        "key": key(enrollment, plan, coming),
        "step": send.step,
        "tier": send.tier,
        "channels": list(send.channels),
        "topic": send.topic,
        "planned_at": coming.at,
        "due": coming.at,
        "expires_at": expires,
        "send_window": dump(send.window),
        "waiting": False,
        "until": None,
        "tags": list(send.tags),
    }


async def nearer(c: Connection, deployment: Deployment, ids: Sequence[int], now: datetime) -> list[dict[str, Any]]:
    """Work out the queues of these customers (whose rows the caller has locked), for whom something became free or may no longer
    go: the messages whose time has come nearer, as `wake` takes them."""
    people = await customers.lock(c, await planned.waiting(c, ids)) if deployment.policy.caps else {}
    if not people:
        return []
    known = await know(c, deployment.policy, sorted(people), now - LOOK_BACK, now)
    known.caps = await cap_facts(c, deployment, people, now)
    asked = await People.load(c, deployment, sorted(people), deployment.hours_needs, now)
    return [one for person in people.values() for one in come_nearer(deployment, known, asked, person, now)]


def come_nearer(deployment: Deployment, known: Known, asked: People, person: Any, now: datetime) -> list[dict[str, Any]]:
    """Of one customer (a row with `id`, `attributes` and how they stand) the messages whose time has come nearer. `asked`: what
    quiet hours need to know of them."""
    until = {e: r["until"] for e, r in known.registered.get(person.id, {}).items() if r["waiting"]}
    facts = known.of_customer(person, deployment.own_zone(person.attributes), asked.quiet_flags(person), now)
    earlier: list[dict[str, Any]] = []
    for enrollment, at in known.queue(facts, person, now).items():
        told = until.get(enrollment)
        if at is not None and told is not None and at <= told - EARLIER:
            earlier.append({"enrollment_id": enrollment, "until": at})
    return earlier


async def wake(c: Connection, earlier: Sequence[Mapping[str, Any]]) -> None:
    """Have these messages (`nearer`) decided again; the caller holds the locks of their enrollments, or takes none after this."""
    ids = sorted(e["enrollment_id"] for e in earlier)
    await enrollments.lock_rows(c, ids)
    await planned.moved(c, earlier)
    await enrollments.try_again(c, ids)
    await enrollments.tell_relay(c)


async def requeue(c: Connection, deployment: Deployment, ids: Sequence[int], now: datetime) -> None:
    """`nearer` and `wake` in one."""
    earlier = await nearer(c, deployment, ids, now)
    if earlier:
        await wake(c, earlier)
