"""One message on its way through `deliver`: what was asked for, what it became, and the ledger row it leads to.

Mutable while one batch is worked on, and known to this floor only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.core.clock import add
from engine.core.clock import zone as zone_named
from engine.core.enrollment import Command, Outcome
from engine.core.facts import Message, SlotFact, Verdict
from engine.core.plan import Plan, Send
from engine.core.policy import Policy
from engine.core.wire import Json, dump
from engine.delivery.channel import Content


@dataclass(slots=True)
class Draft:
    """`row`: the enrollment's context (`store.enrollments.contexts`). `broken`: why it can't be rendered. `slot_at`: when an
    earlier try took its slot; `reserved`: it still has it. `uncertain`: an earlier try may have arrived, nobody knows. `settled`:
    the ledger's row where an earlier try settled it. `outcome`: set when done. `handed_over`: the channel was called for it."""

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
        )

    def slot(self, at: datetime) -> SlotFact:
        """The slot that it takes at `at`."""
        return SlotFact(self.op.tier, self.command.channel, self.op.topic, self.plan.journey, at, self.op.tags)

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

    def has_fallback(self) -> bool:
        """Whether there is another channel to try."""
        return self.command.attempt + 1 < len(self.op.channels)

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
