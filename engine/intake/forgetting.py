"""Whoever was erased stays so: an import, history, events and what a journey does bring nobody back, and nothing of it is kept.
Their own new sign-up does: a live `identify` or `alias` of a source, of something that happened after they were erased.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from engine.core.incoming import Incoming
from engine.delivery.addresses import addresses_in
from engine.store import erasing, identities, secrets
from engine.store.database import Connection
from engine.store.identities import Identifier

NOT_KEPT = "this person was erased, and only their own new sign-up brings them back: nothing of it was kept"
"""The answer to what is about somebody who was erased."""

SIGNING_UP = ("identify", "alias")
"""Kinds of calls that say who somebody is. Events go on coming from what still knows their ids: a browser, a till, a queue."""

_KEPT = {"unsubscribed": ("channel", "topic")}
"""What is kept of an event about somebody who was erased: event → properties. Their unsubscribe links go on working."""


def bare(incoming: Incoming) -> Incoming:
    """`incoming`, about somebody who was erased, as it may be kept."""
    kept = _KEPT.get(incoming.name, ())
    return replace(incoming, properties={k: v for k, v in incoming.properties.items() if k in kept}, traits={}, identifiers={})


def comes_back(incoming: Incoming, erased_at: datetime) -> bool:
    """Whether this is the person's own new sign-up, rather than an import, history, an act of a journey, or something that
    happened before they were erased and comes late."""
    own = not incoming.history and not incoming.imported and incoming.depth == 0 and incoming.kind in SIGNING_UP
    return own and (incoming.occurred_at is None or incoming.occurred_at > erased_at)


async def forgotten(
    c: Connection, region: str, batch: Sequence[Incoming], new: Mapping[int, Sequence[Identifier]]
) -> frozenset[int]:
    """Those of `batch` that are about somebody who was erased and doesn't come back by it, and repeats of what they sent before,
    also once they are back. `new`: item → the identifiers that it gives and nobody has. The marks of whoever comes back are
    lifted."""
    keys = await secrets.keys(c, erasing.KEY)
    if not keys:  # nobody was ever erased
        return frozenset()
    given = {
        n: {*pairs, *addresses_in(batch[n].identifiers, region), *addresses_in(batch[n].traits, region)}
        for n, pairs in new.items()
    }
    marked = await erasing.marked(c, keys, {pair for pairs in given.values() for pair in pairs})
    repeats = await erasing.repeated(c, keys, [(one.source, one.message_id) for one in batch if one.customer is None])
    found = {n for n, one in enumerate(batch) if one.customer is None and (one.source, one.message_id) in repeats}
    lifted: set[Identifier] = set()
    for n in sorted(n for n, pairs in given.items() if n not in found and not pairs.isdisjoint(marked)):
        standing = given[n] & (marked.keys() - lifted)
        if not all(comes_back(batch[n], marked[pair]) for pair in standing):
            found.add(n)
        else:
            lifted |= standing
    await erasing.lift(c, keys, lifted)
    return frozenset(found)


async def unreadable(c: Connection, region: str, calls: Sequence[Incoming]) -> frozenset[int]:
    """The same of calls that can't be understood, as far as they say who they are about: no mark is lifted. Who has an identifier
    that somebody has is that one."""
    keys = await secrets.keys(c, erasing.KEY)
    if not keys:
        return frozenset()
    ids = {n: set(call.identifiers.items()) for n, call in enumerate(calls)}
    known = {(r.kind, r.value) for r in await identities.named(c, sorted({pair for pairs in ids.values() for pair in pairs}))}
    given = {n: pairs | set(addresses_in(calls[n].traits, region)) for n, pairs in ids.items() if pairs.isdisjoint(known)}
    marked = await erasing.marked(c, keys, {pair for pairs in given.values() for pair in pairs})
    concerned = [n for n, pairs in given.items() if not pairs.isdisjoint(marked)]
    repeats = await erasing.repeated(c, keys, [(calls[n].source, calls[n].message_id) for n in concerned])
    return frozenset(
        n
        for n in concerned
        if (calls[n].source, calls[n].message_id) in repeats
        or not all(comes_back(calls[n], marked[pair]) for pair in given[n] & marked.keys())
    )
