"""What comes through the one door: an event, a change of a person, an operator's act. Plain values, checked by the sender.

Everything that changes what journeys do is an `Incoming`: tracked events, provider feedback, `emit`, `start`, `set`,
unsubscribes, operators' acts. `intake.accept` takes them in batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from engine.core.wire import Json


@dataclass(frozen=True, slots=True)
class Incoming:
    """One thing that happened.

    kind `track`: event `name` with `properties` · `identify`: `traits` for the person · `enroll`: into `journey`, as from an
    `api` entry · `set`: `traits` written by a journey (no new people). `message_id` is unique per `source`. A person is named
    by `customer` (our own id) or by `identifiers` (kind → value: `user_id`, `anonymous_id`). `occurred_at` None: when it is
    accepted. `history`: stored and counted, but enrolls and wakes nobody. `depth`: length of the chain of `emit`/`start` behind
    it.
    """

    kind: Literal["track", "identify", "enroll", "set"]
    source: str
    message_id: str
    name: str = ""
    properties: Mapping[str, Json] = field(default_factory=dict)
    traits: Mapping[str, Json] = field(default_factory=dict)
    identifiers: Mapping[str, str] = field(default_factory=dict)
    customer: int | None = None
    occurred_at: datetime | None = None
    journey: str = ""
    history: bool = False
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """The door's answer for one Incoming, in order. `duplicate`: seen before, nothing changed. `quarantined`: kept aside with
    the reason. `enrollments`: what it started."""

    customer: int
    duplicate: bool = False
    quarantined: str = ""
    enrollments: tuple[int, ...] = ()


class Door(Protocol):
    """`intake.accept`, as the floors below see it."""

    async def accept(self, batch: list[Incoming]) -> list[Accepted]:
        """Take the batch in, in one transaction; on return it is on disk."""
        ...


CHAIN_LIMIT = 10
"""How long a chain of `emit` and `start` may grow."""
