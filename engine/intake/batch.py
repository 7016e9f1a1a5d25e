"""One batch of events in memory: the people it concerns, and what it leads to, which `door` writes. What an event does is
`happening`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.authoring.expressions import Context, ExpressionError
from engine.core.incoming import Incoming
from engine.core.plan import Plan
from engine.delivery.addresses import normal
from engine.delivery.deployment import Deployment
from engine.delivery.people import People
from engine.intake.interpreting import Touches
from engine.intake.person import Inside, Person


@dataclass(slots=True)
class Batch:
    """One batch of events, and what it leads to. `touches`: who may move into other segments and stages, `newcomers` into any;
    `entered`: what limits on entries count, by customer; `dated`: attributes that changed and move somebody's dates. The lists
    are what `door` writes; `consequences` are events of our own that it takes in next."""

    deployment: Deployment
    plans: dict[str, Plan]
    facts: People
    people: dict[int, Person]
    earlier: dict[tuple[int, str, str], Any]
    ids: Iterator[int]
    now: datetime
    touches: Touches
    newcomers: frozenset[int] = frozenset()
    tells_goals: bool = False
    consents: list[dict[str, Any]] = field(default_factory=list)
    suppressions: list[dict[str, Any]] = field(default_factory=list)
    releases: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[dict[str, Any]] = field(default_factory=list)
    goals: list[dict[str, Any]] = field(default_factory=list)
    ends: list[dict[str, Any]] = field(default_factory=list)
    begun: list[dict[str, Any]] = field(default_factory=list)
    planned: dict[int, dict[str, Any]] = field(default_factory=dict)
    present: set[int] = field(default_factory=set)
    inputs: list[dict[str, Any]] = field(default_factory=list)
    traces: dict[int, str] = field(default_factory=dict)
    tasks_done: list[tuple[int, int]] = field(default_factory=list)
    consequences: list[Incoming] = field(default_factory=list)
    recounted: set[int] = field(default_factory=set)
    refused: list[dict[str, Any]] = field(default_factory=list)
    entered: dict[int, list[tuple[str, datetime]]] = field(default_factory=dict)
    last: dict[tuple[int, str, str], tuple[datetime, int]] = field(default_factory=dict)
    shared: dict[tuple[str, str, str], tuple[datetime, int | None]] = field(default_factory=dict)
    broadcasts: list[dict[str, Any]] = field(default_factory=list)
    dated: dict[int, frozenset[str]] = field(default_factory=dict)

    def freed(self) -> list[int]:
        """Customers whose queue may have moved: something ended, or may no longer be sent, or could go elsewhere, or a cap may
        have another limit for them."""
        told = {row["customer_id"] for row in (*self.consents, *self.suppressions)}
        held = {p.id for p in self.people.values() if p.changed or p.left or any(h.id is None for h in p.holds)}
        return sorted(((told | held | self.recounted) & self.present) - set(self.moved()))

    def released(self) -> list[tuple[str, str, int]]:
        """Identifiers (kind, value, customer) of people who have another address now."""
        region, found = self.deployment.policy.identity.region, set()
        for person in self.people.values():
            found |= {
                (kind, value, person.id)
                for kind, before in person.addresses
                if (value := normal(kind, before, region)) is not None
                and value != normal(kind, person.attributes.get(kind), region)
            }
        return sorted(found)

    def moved(self) -> list[int]:
        """Customers who may be written to at other hours than before: all their messages that wait are decided afresh."""
        return sorted(p.id for p in self.people.values() if p.moved and p.id in self.present)

    def leave(self, person: Person, inside: Inside, reason: str, event_id: int) -> None:
        """End an enrollment at once; the cohort learns of it by an input."""
        inside.status = "ended"
        if inside.begun is not None:
            inside.begun.update(ended_at=self.now, reason=reason)
            for hold in person.holds:
                if hold.enrollment_id == inside.id and hold.closed_at is None:
                    hold.closed_at = self.now
        else:
            self.ends.append({"id": inside.id, "reason": reason, "at": self.now})
            person.left = True
        self.tell(inside, "exit", self.now, event_id, [], reason)

    def tell(
        self, inside: Inside, kind: str, at: datetime, event_id: int, matched: list[tuple[int, int]], reason: str = ""
    ) -> None:
        """An input for an enrollment."""
        self.inputs.append(
            {"enrollment_id": inside.id, "kind": kind, "at": at, "event_id": event_id, "matched": matched, "reason": reason}
        )

    def context(self, person: Person, inside: Inside | None, event: Mapping[str, Any], at: datetime) -> Context:
        """What a condition on this event sees of a person, and of their enrollment where it is about one."""
        return Context(
            customer=self.facts.customer(person.id, person.attributes),
            now=at,
            entry=None
            if inside is None
            else self.deployment.event_values(inside.entry.get("name", ""), inside.entry, inside.entered_at),
            event=event,
            vars={} if inside is None else inside.vars,
            segments=self.facts.segments(person.id),
            zone=self.facts.zone(person.id, person.attributes),
        )

    def true(self, source: str | None, context: Context) -> bool:
        """Whether a condition holds. One whose result is too large to be meant doesn't: an event is never refused for it, nor are
        those that came with it."""
        if source is None:
            return True
        try:
            return self.deployment.expression(source).test(context)
        except ExpressionError:
            return False
