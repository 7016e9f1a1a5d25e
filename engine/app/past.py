"""What the database has recorded, to be played again in order of occurrence, as the door got it.

What the engine itself brought about is left out: a simulation brings it about again, or doesn't. Events about messages lose the
message's key, which names an enrollment that no simulation has: there they count for the message of the same step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from engine.core.incoming import IMPORT, INTAKE, Incoming
from engine.delivery.acts import SOURCE as JOURNEY
from engine.delivery.deliver import DELIVERY_SOURCE
from engine.intake.fan_out import SOURCE as BROADCAST
from engine.store import happened
from engine.store.database import Connection

OWN = (JOURNEY, INTAKE, DELIVERY_SOURCE, BROADCAST)
"""Sources of what the engine itself brings about."""

KINDS = {"$identify": "identify", "$set": "set", "$group": "group", "$enroll": "enroll"}
"""Names of stored events that are no `track`."""
SAID = frozenset({"$alias", "$merge"})
"""What says nothing new: who was merged is one customer already."""


def nameless(incoming: Incoming) -> Incoming:
    """Without the key of the message that it is about."""
    if incoming.name.startswith("message_") and "message" in incoming.properties:
        kept = {name: value for name, value in incoming.properties.items() if name != "message"}
        return replace(incoming, properties=kept)
    return incoming


async def read_people(c: Connection, until: datetime) -> dict[int, str]:
    """Customer → the user id that stands for them, of everybody of whom something is recorded. No two have the same."""
    found: dict[int, str] = {}
    taken: set[str] = set()
    async for rows in happened.people(c, until, OWN):
        for row in rows:
            user = row.user if row.user and row.user not in taken else f"customer/{row.customer_id}"
            taken.add(user)
            found[row.customer_id] = user
    return found


async def read_store(c: Connection, people: Mapping[int, str], since: datetime, until: datetime) -> AsyncIterator[list[Incoming]]:
    """Everything recorded before `until`, page by page; what is older than `since` counts as history, and begins nothing."""
    async for rows in happened.events(c, until, OWN):
        yield [one for row in rows if (one := recorded(row, people.get(row.customer_id), since)) is not None]


def recorded(row: Any, user: str | None, since: datetime | None = None) -> Incoming | None:
    """What the door got, of the customer `user` stands for (None: of nobody); None for what says nothing new."""
    kind: Any = KINDS.get(row.name, "track")
    if row.name in SAID or user is None or (kind == "enroll" and row.journey is None):
        return None  # of a call that enrolled nobody it isn't kept which journey it was for
    said = kind in ("track", "enroll")
    return nameless(
        Incoming(
            kind,
            row.source,
            row.message_id,
            row.name if kind == "track" else "",
            properties=row.properties if said else {},
            traits={} if said else row.properties,
            identifiers={"user_id": user},
            occurred_at=row.occurred_at.astimezone(UTC),
            journey=row.journey or "",
            history=(since is not None and row.occurred_at < since) or row.source.startswith(IMPORT),
            depth=row.depth,
        )
    )
