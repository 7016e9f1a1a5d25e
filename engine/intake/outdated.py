"""What is told of the past takes the place of nothing that was told of a later moment: attribute by attribute, newer wins.

The past is told by imports and as history. A live call counts in the order in which it is taken; so does what doesn't say when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from engine.core.incoming import Incoming
from engine.core.wire import Json
from engine.delivery.addresses import KINDS
from engine.intake.agreeing import Taken
from engine.intake.person import WRITING
from engine.store import events
from engine.store.database import Connection

Former = tuple[int, str, Json]
"""(customer, kind, as written): an address that somebody has no more, and that was told of now."""


async def without_outdated(c: Connection, taken: Sequence[Taken], moment: datetime) -> tuple[list[Taken], list[Former]]:
    """The items of a batch, whose events are stored, without the traits of which something later is known; and the addresses
    among these. One query for all of them, and none where nothing is of the past."""
    past = {n: i.occurred_at or moment for n, (_, i, why) in enumerate(taken) if not why and _of_the_past(i)}
    oldest: dict[int, datetime] = {}
    for n, at in past.items():
        owner = taken[n][0]
        oldest[owner] = min(at, oldest.get(owner, at))
    since = await events.told_since(c, oldest)
    if not since:
        return list(taken), []
    kept, former = list(taken), list[Former]()
    for n, at in past.items():
        owner, incoming, why = taken[n]
        late = {name for name in incoming.traits if since.get((owner, name), at) > at}
        former += [(owner, name, incoming.traits[name]) for name in KINDS if name in late]
        kept[n] = (owner, replace(incoming, traits={k: v for k, v in incoming.traits.items() if k not in late}), why)
    return kept, former


def _of_the_past(incoming: Incoming) -> bool:
    return incoming.kind in WRITING and incoming.occurred_at is not None and incoming.past
