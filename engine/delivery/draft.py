"""One message on its way through `deliver`: what was asked for, what it became, and the ledger row it leads to.

Mutable while one batch is worked on, and known to this floor only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.core.clock import add
from engine.core.clock import zone as zone_named
from engine.core.enrollment import Command, Outcome
from engine.core.facts import HoldFact, Message, SlotFact, Verdict
from engine.core.plan import Plan, Send
from engine.core.policy import Followed, Policy
from engine.core.wire import Json, dump
from engine.delivery.channel import Content
from engine.delivery.following import Following
from engine.delivery.links import Links

LONGER = 4
"""Characters by which the code of a short link grows where another one has it already."""


@dataclass(slots=True)
class Draft:
    """`row`: the enrollment's context (`store.enrollments.contexts`). `broken`: why it can't be rendered. `slot_at`: when an
    earlier try took its slot; `reserved`: it still has it. `uncertain`: an earlier try may have arrived, nobody knows.
    `settled`: the ledger's row where an earlier try settled it. `outcome`: set when done. `handed_over`: the channel was called
    for it. `following`: how its links are followed (None: they aren't), `rendered`: the content before that. `charged`: the
    channels before its own on which this send has taken slots. `warming`: what keeps it from a channel that is being warmed
    up."""

    enrollment: int
    command: Command
    key: str
    op: Send
    plan: Plan
    row: Any
    zone: str
    expires_at: datetime | None
    content: Content | None = None
    broken: str = ""
    reserved: bool = False
    slot_at: datetime | None = None
    uncertain: bool = False
    address: str | None = None
    consent_version: int = 0
    verdict: Verdict | None = None
    outcome: Outcome | None = None
    tries: int = 0
    was_sent: bool = False
    handed_over: bool = False
    settled: Any = None
    unsubscribe_url: str = ""
    following: Following | None = None
    rendered: Content | None = None
    charged: tuple[str, ...] = ()
    warming: HoldFact | None = None
    customer: int = field(init=False)

    def __post_init__(self) -> None:
        self.customer = int(self.row.customer_id)

    def message(self) -> Message:
        """What the gates look at."""
        return Message(
            journey=self.plan.journey,
            step=self.op.step,
            template=self.op.template,
            channel=self.command.channel,
            tier=self.op.tier,
            planned_at=self.command.at,
            topic=self.op.topic,
            expires_at=self.expires_at,
            window=self.op.window,
            reserved=self.reserved,
            enrollment=self.enrollment,
            entered_at=self.row.entered_at,
            tags=self.op.tags,
            charged=self.charged,
        )

    def slot(self, at: datetime) -> SlotFact:
        """The slot that it takes at `at`."""
        return SlotFact(self.op.tier, self.command.channel, self.op.topic, self.plan.journey, at, self.op.tags, self.charged)

    def earlier_keys(self) -> list[str]:
        """The keys of this send on the channels before its own."""
        begin, _, _ = self.key.rpartition("/")
        return [f"{begin}/{attempt}" for attempt in range(self.command.attempt)]

    def carry_on(self, rows: Mapping[str, Any]) -> None:
        """What the ledger has under `earlier_keys`: this is one message to caps, and as long worth sending as it was at first."""
        before = [rows[key] for key in self.earlier_keys() if key in rows]
        self.charged = tuple(dict.fromkeys(r.channel for r in before if r.slot_at is not None))
        ends = [r.expires_at for r in before if r.expires_at is not None]
        self.expires_at = min([*ends, self.expires_at]) if ends and self.expires_at is not None else self.expires_at

    def done(self, kind: Any, **values: Any) -> Outcome:
        """Set and give the outcome for the core."""
        c = self.command
        self.outcome = Outcome(kind, c.op, c.visit, c.attempt, **values)
        return self.outcome

    def event_properties(self) -> dict[str, Json]:
        """What the built-in events about this message say."""
        return {
            "message": self.key,
            "journey": self.plan.journey,
            "step": self.op.step,
            "template": self.op.template,
            "channel": self.command.channel,
            "topic": self.op.topic,
            "tier": self.op.tier,
        }

    def last_send(self) -> dict[str, Json]:
        """What `vars.last_send` says of this message: sent, refused, dropped or skipped, and why. The same however often a worker
        dies and it is told anew."""
        status, reason = "skipped", ""
        if self.settled is not None:
            status, reason = self.settled.status, self.settled.reason if self.settled.status == "dropped" else ""
        elif self.verdict is not None:
            status, reason = "refused" if self.verdict.decision == "allow" else "dropped", self.verdict.reason
        if self.was_sent:
            status = "sent"
        return {
            "status": status,
            "channel": self.command.channel,
            "template": self.op.template,
            "step": self.op.step,
            "reason": reason,
        }

    def follow(self, links: Links, rule: Followed | None) -> None:
        """Have links and opens of the rendered content followed by `rule`."""
        if rule is None or self.content is None:
            return
        about = {k: str(v) for k, v in self.event_properties().items() if v is not None}
        self.rendered = self.content
        self.following = Following(links, rule, self.key, self.customer, about)
        self.content = self.following.compose(self.rendered)

    def lengthen(self) -> None:
        """Compose it with longer codes for its short links."""
        assert self.following is not None
        assert self.rendered is not None
        self.following.length += LONGER
        self.content = self.following.compose(self.rendered)

    def short_links(self, at: datetime) -> list[dict[str, Any]]:
        """The rows of `store.short_links.keep`."""
        codes = {} if self.following is None else self.following.codes
        about = {"customer_id": self.customer, "enrollment_id": self.enrollment, "message": self.key, "at": at}
        return [{"code": code, "url": url, **about} for code, url in codes.items()]

    def has_fallback(self) -> bool:
        """Whether there is another channel to try."""
        return self.command.attempt + 1 < len(self.op.channels)

    def must_arrive(self) -> bool:
        """Whether another channel is tried wherever this one doesn't deliver."""
        return self.has_fallback() and self.plan.awaits_delivery(self.command.op)

    def ledger_row(self, status: str, *, policy: str, now: datetime, **values: Json) -> dict[str, Any]:
        """The row of `store.ledger.write`."""
        return {
            "key": self.key,
            "enrollment_id": self.enrollment,
            "customer_id": self.customer,
            "journey": self.plan.journey,
            "plan": self.plan.hash,
            "step": self.op.step,
            "attempt": self.command.attempt,
            "template": self.op.template,
            "template_hash": self.content.template_hash if self.content else "",
            "channel": self.command.channel,
            "topic": self.op.topic,
            "tier": self.op.tier,
            "tags": list(self.op.tags),
            "charged": list(self.charged),
            "status": status,
            "reason": "",
            "detail": "",
            "planned_at": self.command.at,
            "expires_at": self.expires_at,
            "decided_at": now,
            "slot_at": None,
            "until": None,
            "policy": policy,
            "consent_version": self.consent_version,
            **values,
        }

    def waits(self) -> bool:
        """Whether the gates have deferred it and it will be decided again. One that holds its slot already waits for none."""
        return self.outcome is not None and self.outcome.kind == "again" and self.verdict is not None and not self.reserved

    def is_paused(self) -> bool:
        """Whether it waits until an operator resumes its journey or its enrollment."""
        return self.waits() and self.verdict is not None and self.verdict.reason == "journey"

    def falls_back(self) -> bool:
        """Whether its next channel is tried at once."""
        return self.outcome is not None and self.outcome.kind == "fallback"

    def registration(self, due: datetime | None) -> dict[str, Any]:
        """The row of `store.planned.register` with which it waits for its turn, from `due` on (None: from its next try on), or
        with which its next channel comes."""
        until = self.outcome.until if self.outcome is not None else None
        attempt = self.command.attempt + self.falls_back()
        return {
            "enrollment_id": self.enrollment,
            "customer_id": self.customer,
            "journey": self.plan.journey,
            "entered_at": self.row.entered_at,
            "step": self.op.step,
            "tier": self.op.tier,
            "channels": list(self.op.channels[attempt:]),
            "topic": self.op.topic,
            "planned_at": self.command.at,
            "due": due or until,
            "expires_at": self.expires_at,
            "send_window": dump(self.op.window),
            "waiting": not self.falls_back(),
            "until": until,
            "tags": list(self.op.tags),
            "charged": list(self.charged),
        }

    def decision_row(self, verdict: Verdict, *, policy: str, now: datetime, recording: Json) -> dict[str, Any]:
        """The row of `store.ledger.decided`."""
        return {
            "key": self.key,
            "customer_id": self.customer,
            "at": now,
            "decision": verdict.decision,
            "reason": verdict.reason,
            "rule": verdict.rule,
            "detail": verdict.detail,
            "until": verdict.until,
            "earliest": verdict.earliest,
            "gates": gates_json(verdict),
            "policy": policy,
            "plan": self.plan.hash,
            "consent_version": self.consent_version,
            "facts": recording,
        }


def gates_json(verdict: Verdict) -> Json:
    """Every gate's answer as [gate, answer, rule, detail, until], which `why` reads back."""
    return [[g.gate, g.answer, g.rule, g.detail, dump(g.until)] for g in verdict.gates]


def expiry(policy: Policy, op: Send, planned_at: datetime, zone: str) -> datetime | None:
    """When the message is no longer worth sending: the step's `expires`, else its tier's. Source: semantics.md, gate 3."""
    written = op.expires
    if written is None:
        written = next((t.expires for t in policy.tiers if t.name == op.tier), None)
    return None if written is None else add(planned_at, written, zone_named(zone))
