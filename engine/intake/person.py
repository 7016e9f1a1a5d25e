"""A locked customer as intake sees it while one batch is taken in: attributes, open holds, enrollments. For this floor only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.core.incoming import Incoming
from engine.core.wire import Json

WRITING = ("identify", "group", "set")
"""Kinds whose traits become attributes."""


@dataclass(slots=True)
class Hold:
    """A hold that is open, or was opened in this batch (`id` None)."""

    name: str
    key: str
    pause: tuple[str, ...]
    opened_at: datetime
    until: datetime
    enrollment_id: int | None
    id: int | None = None
    closed_at: datetime | None = None

    def row(self, customer: int) -> dict[str, Any]:
        """The row of `store.customers.open_holds`."""
        return {
            "customer_id": customer,
            "name": self.name,
            "key": self.key,
            "pause": list(self.pause),
            "enrollment_id": self.enrollment_id,
            "opened_at": self.opened_at,
            "until": self.until,
            "closed_at": self.closed_at,
        }


@dataclass(slots=True)
class Inside:
    """An enrollment as intake sees it. `begun`: its row to insert, where this batch began it. `status` "ended" with an open
    goal window."""

    id: int
    journey: str
    plan: str
    key: str
    status: str
    vars: Mapping[str, Any]
    entry: Mapping[str, Any]
    entered_at: datetime
    goal_at: datetime | None
    depth: int
    begun: dict[str, Any] | None = None

    @classmethod
    def of(cls, r: Any) -> Inside:
        """From a row of `store.enrollments.of_customers`."""
        entry = {**r.entry, "occurred_at": r.entry_at, "name": r.entry_name}
        return cls(r.id, r.journey, r.plan, r.key, r.status, r.vars, entry, r.entered_at, r.goal_at, r.depth)


@dataclass(slots=True)
class Person:
    """A locked customer. `changed`: an attribute has another value. `moved`: so that they may be written to at other hours.
    `left`: an enrollment that had begun before has ended. `addresses`: those that they had before, (kind, as written)."""

    id: int
    attributes: dict[str, Json]
    erased: bool
    enrollments: list[Inside] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    changed: bool = False
    moved: bool = False
    left: bool = False
    addresses: list[tuple[str, Json]] = field(default_factory=list)


def written(attributes: Mapping[str, Json], incoming: Incoming) -> Mapping[str, Json]:
    """What an item writes into a person's attributes. What is told of a group is added to what was told of the same group
    before; null removes one trait of it."""
    if incoming.kind not in WRITING:
        return {}
    told = incoming.traits.get("group") if incoming.kind == "group" else None
    if not isinstance(told, dict):
        return incoming.traits
    before = attributes.get("group") if attributes.get("group_id") == incoming.traits.get("group_id") else None
    group = {**(before if isinstance(before, dict) else {}), **told}
    return {**incoming.traits, "group": {name: value for name, value in group.items() if value is not None}}
