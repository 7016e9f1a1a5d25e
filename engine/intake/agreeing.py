"""What statements and replies of customers mean before anything is stored: who must confirm first, and who wants no more.

Source of the rules: semantics.md, "Consent". The gate itself is `core.consent`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from engine.core.consent import agreed, taken_back
from engine.core.facts import ConsentFact
from engine.core.incoming import Incoming
from engine.core.policy import Policy
from engine.core.wire import Json
from engine.delivery.facts import consent_fact
from engine.store import customers, events
from engine.store.database import Connection

CHANGED = "consent_changed"

CONFIRMATION = "confirmation"
"""The source of what links confirm; their message ids are customer/statement/channel."""

STOP_WORDS = frozenset({"stop", "quit", "end", "cancel", "revoke", "opt out", "unsubscribe"})
"""A reply that is nothing but one of these."""

Taken = tuple[int, Incoming, str]
"""Whose it is, what came, and why it can't be taken ("" if it can)."""


async def until_confirmed(c: Connection, policy: Policy, batch: Sequence[Taken], now: datetime) -> list[Taken]:
    """`batch`, where those who agree to something that policy wants confirmed come in as pending: they are asked first. Who has
    confirmed the same before, and not taken it back, needn't again."""
    asking = sorted({o for o, incoming, why in batch if not why and (_asks(policy, incoming) or _confirms(incoming))})
    if not asking:
        return list(batch)
    told: dict[int, list[ConsentFact]] = {owner: [] for owner in asking}
    for r in await customers.consents(c, asking):
        told[r.customer_id].append(consent_fact(r))
    known = await events.known(c, [(i.source, i.message_id) for o, i, _ in batch if o in told])
    found: list[Taken] = []
    for owner, incoming, why in batch:
        name = (incoming.source, incoming.message_id)
        if owner in told and not why and name not in known and incoming.kind == "track" and state_of(incoming) is not None:
            known.add(name)  # a repeat changes nothing
            incoming = _decided(policy, incoming, told[owner], now)
        found.append((owner, incoming, why))
    return found


def _asks(policy: Policy, incoming: Incoming) -> bool:
    p = incoming.properties
    agrees = incoming.kind == "track" and incoming.name == CHANGED and p.get("state") == "granted"
    return agrees and p.get("confirmed") is not True and policy.wants_confirmation(str(p.get("channel") or "*"))


def _confirms(incoming: Incoming) -> bool:
    """Whether it comes from a link that confirms."""
    return incoming.customer is not None and incoming.name == CHANGED and incoming.source == CONFIRMATION


def _overtaken(incoming: Incoming, told: Sequence[ConsentFact], channel: str, now: datetime) -> bool:
    # What the link was about has been withdrawn between the page and this transaction; its message id names the statement.
    number = int(incoming.message_id.split("/")[1])
    return any(s.version == number and taken_back(told, s, channel, now) for s in told)


def _decided(policy: Policy, incoming: Incoming, told: list[ConsentFact], now: datetime) -> Incoming:
    # What was said before in the same batch counts: `told` grows.
    p = incoming.properties
    channel, topic = str(p.get("channel") or "*"), p.get("topic") or None
    open_still = _asks(policy, incoming) and not agreed(told, channel, topic, now)
    if open_still or (_confirms(incoming) and _overtaken(incoming, told, channel, now)):
        incoming = replace(incoming, properties={**p, "state": "pending"})
    state = state_of(incoming)
    if state is not None:
        at = min(incoming.occurred_at or now, now)
        until = datetime.fromisoformat(p["until"]) if incoming.name == CHANGED and p.get("until") else None
        version = max((s.version for s in told), default=0) + 1
        told.append(ConsentFact(channel, topic, state, at, until=until, version=version))
    return incoming


def state_of(incoming: Incoming) -> Literal["granted", "withdrawn", "pending"] | None:
    """What an event says of the customer's consent; None where it says nothing."""
    if incoming.name == "unsubscribed":
        return "withdrawn"
    said = incoming.properties.get("state") if incoming.name == CHANGED else None
    return said if said in ("granted", "withdrawn", "pending") else None


def statement(customer: int, incoming: Incoming, at: datetime, now: datetime) -> dict[str, Any] | None:
    """The row of `store.customers.add_consents` that an event, said at `at`, leads to; None where it says nothing of consent."""
    p, state = incoming.properties, state_of(incoming)
    if state is None:
        return None
    return {
        "customer_id": customer,
        "channel": str(p.get("channel") or "*"),
        "topic": p.get("topic") or None,
        "state": state,
        "source": p.get("source") or incoming.source,
        "wording": p.get("wording"),
        "at": at,
        "until": p.get("until") if incoming.name == CHANGED else None,
        "via": incoming.source,
        "recorded_at": now,
    }


def suppression(customer: int, attributes: Mapping[str, Json], incoming: Incoming, at: datetime) -> dict[str, Any] | None:
    """The row of `store.customers.suppress` that feedback leads to; None where the address may be used again."""
    p = incoming.properties
    channel = str(p.get("channel") or "")
    reason = _unwanted(incoming.name, channel, p)
    address = p.get("address") or attributes.get({"email": "email", "sms": "phone"}.get(channel, channel))
    if not (reason and channel and address):
        return None
    return {"customer_id": customer, "channel": channel, "address": str(address), "reason": reason, "at": at}


def _unwanted(event: str, channel: str, properties: Mapping[str, Json]) -> str:
    if event == "message_complained":
        return "complaint"
    if event == "message_bounced":
        return "hard_bounce" if properties.get("hard") else ""
    if event == "message_replied" and channel != "email":
        said = " ".join(re.sub(r"[^\w\s]|_", " ", str(properties.get("text") or "")).lower().split())
        return "stop" if said in STOP_WORDS else ""
    return ""
