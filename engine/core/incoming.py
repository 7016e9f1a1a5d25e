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

IMPORT = "import:"
"""What the source of whatever a file brings in begins with."""

INTAKE = "intake"
"""The source of what the door itself says."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """One thing that happened.

    kind `track`: event `name` with `properties` · `identify`: `traits` for the person · `group`: the same, where `traits` are
    the `group_id` of a group that the person is in and what is told of it (`group`) · `alias`: `previous_id` in `identifiers`
    is the same person as `user_id` · `merge`: the door's own word that `customer` was merged, or taken apart again ·
    `enroll`: into `journey`, as from an entry of the kind `way`, which is number `place` where the journey has several ·
    `set`: `traits` written by a journey (no new people). `message_id` is unique per `source`. A person is named by `customer`
    (our own id) or by `identifiers` (kind → value: `user_id`, `anonymous_id`, `email`, `phone`). `occurred_at` None: when it
    is accepted. `history`: stored and counted, but enrolls and wakes nobody. `depth`: length of the chain of `emit`/`start`
    behind it. `trace`: the trace that it belongs to (a W3C traceparent), None where there is none.
    """

    kind: Literal["track", "identify", "group", "enroll", "set", "alias", "merge"]
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
    way: str = "api"
    place: int = 0
    trace: str | None = None

    @property
    def own(self) -> bool:
        """Whether the door itself says it: whoever is outside has a source of another name, or doesn't know our numbers."""
        return self.source == INTAKE and self.customer is not None

    @property
    def imported(self) -> bool:
        """Whether a file brought it in, not the person: like history, it brings nobody back and lifts no withdrawal."""
        return self.source.startswith(IMPORT)

    @property
    def past(self) -> bool:
        """Whether it is the past as a file or another system has it, rather than what the person says now."""
        return self.imported or self.history


@dataclass(frozen=True, slots=True)
class Accepted:
    """The door's answer for one Incoming, in order. `duplicate`: seen before, nothing changed. `quarantined`: kept aside with
    the reason. `erased`: it is about somebody who was erased, so nothing of it was kept (`quarantined` says so). `enrollments`:
    what it started."""

    customer: int
    duplicate: bool = False
    quarantined: str = ""
    enrollments: tuple[int, ...] = ()
    erased: bool = False


class Door(Protocol):
    """`intake.accept`, as the floors below see it."""

    async def accept(self, batch: list[Incoming]) -> list[Accepted]:
        """Take the batch in, in one transaction; on return it is on disk."""
        ...


CHAIN_LIMIT = 10
"""How long a chain of `emit` and `start` may grow."""
