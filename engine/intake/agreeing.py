"""What statements and replies of customers mean before anything is stored: who must confirm first, and who wants no more.

Source of the rules: semantics.md, "Consent". The gate itself is `core.consent`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from engine.core.consent import agreed, lifted, taken_back
from engine.core.facts import ConsentFact
from engine.core.incoming import Incoming
from engine.core.policy import Policy
from engine.core.wire import Json
from engine.delivery.facts import consent_fact
from engine.store import customers, events
from engine.store.database import Connection

CHANGED = "consent_changed"

COMPLAINED = "message_complained"

CONFIRMATION = "confirmation"
"""The source of what links confirm; their message ids are customer/statement/channel."""

REPLIED = "message_replied"

STOP, START, HELP = "stop", "start", "help"
KEYWORDS: Mapping[str, frozenset[str]] = {
    STOP: frozenset({"stop", "stopall", "stop all", "quit", "end", "cancel", "revoke", "opt out", "unsubscribe"}),
    START: frozenset({"start", "unstop"}),
    HELP: frozenset({"help", "info"}),
}
"""What a text means that is nothing but one of these words. The first are those of 47 CFR 64.1200(a)(10)."""

YES = frozenset({"yes"})
"""Means START to whoever has stopped a channel, and to nobody else: it answers many questions."""

WORDING = 200
"""Characters of a reply that are kept as the words with which somebody agreed or withdrew."""

Taken = tuple[int, Incoming, str]
"""Whose it is, what came, and why it can't be taken ("" if it can)."""


@dataclass(slots=True)
class Said:
    """What a customer has said so far, oldest first. `via`: number of a statement → the source of the event that told us."""

    facts: list[ConsentFact] = field(default_factory=list)
    via: dict[int, str] = field(default_factory=dict)

    def add(self, fact: ConsentFact, via: str) -> None:
        self.facts.append(fact)
        self.via[fact.version] = via

    def but(self, via: str) -> list[ConsentFact]:
        """What others than the source `via` told us."""
        return [s for s in self.facts if self.via[s.version] != via]


async def until_confirmed(c: Connection, policy: Policy, batch: Sequence[Taken], now: datetime) -> list[Taken]:
    """`batch`, where those who agree to something that policy wants confirmed come in as pending: they are asked first. Who has
    confirmed the same before, and not taken it back, needn't again. So does what an import or history says they agreed to and
    they have taken back elsewhere, and what history says without saying when: it may be older than anything."""
    asking = sorted({o for o, one, why in batch if not why and asks_first(policy, one)})
    if not asking:
        return list(batch)
    told: dict[int, Said] = {owner: Said() for owner in asking}
    for r in await customers.consents(c, asking):
        told[r.customer_id].add(consent_fact(r), r.via)
    known = await events.known(c, [(i.source, i.message_id) for o, i, _ in batch if o in told])
    found: list[Taken] = []
    for owner, incoming, why in batch:
        name = (incoming.source, incoming.message_id)
        if owner in told and not why and name not in known and incoming.kind == "track" and state_of(incoming) is not None:
            known.add(name)  # a repeat changes nothing
            incoming = decided(policy, incoming, told[owner], now)
        found.append((owner, incoming, why))
    return found


def asks_first(policy: Policy, incoming: Incoming) -> bool:
    """Whether what was said before decides what an event comes in as."""
    return _asks(policy, incoming) or _confirms(incoming) or (incoming.past and _grants(incoming))


def _grants(incoming: Incoming) -> bool:
    return incoming.kind == "track" and incoming.name == CHANGED and incoming.properties.get("state") == "granted"


def _asks(policy: Policy, incoming: Incoming) -> bool:
    p = incoming.properties
    return _grants(incoming) and p.get("confirmed") is not True and policy.wants_confirmation(str(p.get("channel") or "*"))


def _confirms(incoming: Incoming) -> bool:
    """Whether it comes from a link that confirms."""
    return incoming.customer is not None and incoming.name == CHANGED and incoming.source == CONFIRMATION


def _overtaken(incoming: Incoming, told: Sequence[ConsentFact], channel: str, now: datetime) -> bool:
    # What the link was about has been withdrawn between the page and this transaction; its message id names the statement.
    number = int(incoming.message_id.split("/")[1])
    return any(s.version == number and taken_back(told, s, channel, now) for s in told)


def decided(policy: Policy, incoming: Incoming, told: Said, now: datetime) -> Incoming:
    """A statement as it comes in: pending, where it counts only once it is confirmed. What was said before in the same batch
    counts: `told` grows."""
    fact = _fact(incoming, told, now)
    open_still = _asks(policy, incoming) and not agreed(told.facts, fact.channel, fact.topic, now)
    told_of = incoming.past and _grants(incoming)
    brought_back = told_of and bool(lifted(told.but(incoming.source), [fact], now))
    timeless = told_of and not incoming.imported and incoming.occurred_at is None
    if open_still or brought_back or timeless or (_confirms(incoming) and _overtaken(incoming, told.facts, fact.channel, now)):
        incoming = replace(incoming, properties={**incoming.properties, "state": "pending"})
        fact = replace(fact, state="pending")
    told.add(fact, incoming.source)
    return incoming


def _fact(incoming: Incoming, told: Said, now: datetime) -> ConsentFact:
    """The statement that an event is (it is one), as the next number."""
    p, state = incoming.properties, state_of(incoming)
    assert state is not None
    until = datetime.fromisoformat(p["until"]) if incoming.name == CHANGED and p.get("until") else None
    version = max((s.version for s in told.facts), default=0) + 1
    at = min(incoming.occurred_at or now, now)
    return ConsentFact(*_about(incoming), state, at, until=until, version=version)


def said_in(text: Json) -> str:
    """A text in small letters, with nothing but its words."""
    return " ".join(re.sub(r"[^\w\s]|_", " ", str(text or "")).lower().split())


def keyword(incoming: Incoming) -> str:
    """What a reply by text means as a whole: STOP, START, HELP, or "" for what is for people. Whoever took it in may have said so
    as `keyword`. By e-mail people have a link."""
    p = incoming.properties
    if incoming.kind != "track" or incoming.name != REPLIED or p.get("channel") in (None, "", "email"):
        return ""
    if "keyword" in p:
        return str(p["keyword"])
    said = said_in(p.get("text"))
    return next((word for word, ways in KEYWORDS.items() if said in ways), "")


def state_of(incoming: Incoming) -> Literal["granted", "withdrawn", "pending", "cleared"] | None:
    """What an event says of the customer's consent; None where it says nothing. A START of the past brings nobody back, nor does
    what was cleared then."""
    if incoming.name == "unsubscribed":
        return "withdrawn"
    word = keyword(incoming)
    if word == STOP or (word == START and not incoming.past):
        return "withdrawn" if word == STOP else "granted"
    said = incoming.properties.get("state") if incoming.name == CHANGED else None
    if said == "cleared":
        return None if incoming.past else "cleared"
    return said if said in ("granted", "withdrawn", "pending") else None


def _about(incoming: Incoming) -> tuple[str, str | None]:
    """The channel and the topic (None: all) that a statement is about. A word by text is about the whole channel, whatever the
    message was about that it answers."""
    p = incoming.properties
    return str(p.get("channel") or "*"), None if incoming.name == REPLIED else p.get("topic") or None


def statement(customer: int, incoming: Incoming, at: datetime, now: datetime) -> dict[str, Any] | None:
    """The row of `store.customers.add_consents` that an event, said at `at`, leads to; None where it says nothing of consent."""
    p, state = incoming.properties, state_of(incoming)
    if state is None:
        return None
    channel, topic = _about(incoming)
    reply = incoming.name == REPLIED
    return {
        "customer_id": customer,
        "channel": channel,
        "topic": topic,
        "state": state,
        "source": "reply" if reply else p.get("source") or incoming.source,
        "wording": str(p.get("text") or "")[:WORDING] if reply else p.get("wording"),
        "at": at,
        "until": p.get("until") if incoming.name == CHANGED else None,
        "via": incoming.source,
        "recorded_at": now,
    }


def suppression(customer: int, attributes: Mapping[str, Json], incoming: Incoming, at: datetime) -> dict[str, Any] | None:
    """The row of `store.customers.suppress` that feedback leads to; None where the address may be used again."""
    reason = _unwanted(incoming)
    return {**made, "reason": reason} if reason and (made := _of_address(customer, attributes, incoming, at)) else None


def release(customer: int, attributes: Mapping[str, Json], incoming: Incoming, at: datetime) -> dict[str, Any] | None:
    """The row of `store.customers.unstop` that a START leads to; None for everything else."""
    wanted = keyword(incoming) == START and not incoming.past
    return _of_address(customer, attributes, incoming, at) if wanted else None


def _of_address(customer: int, attributes: Mapping[str, Json], incoming: Incoming, at: datetime) -> dict[str, Any] | None:
    p = incoming.properties
    channel = str(p.get("channel") or "")
    address = p.get("address") or attributes.get({"email": "email", "sms": "phone"}.get(channel, channel))
    if not (channel and address):
        return None
    return {"customer_id": customer, "channel": channel, "address": str(address), "at": at}


def _unwanted(incoming: Incoming) -> str:
    if incoming.name == COMPLAINED:
        return "complaint"
    if incoming.name == "message_bounced":
        return "hard_bounce" if incoming.properties.get("hard") else ""
    return STOP if keyword(incoming) == STOP else ""
