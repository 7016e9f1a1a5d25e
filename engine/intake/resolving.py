"""Who a batch is about, in the store: people who are new come into being, everybody is locked, and looked at again behind it.

What is found to be otherwise behind the lock (another process merged, named or separated somebody meanwhile) raises `Moved`: the
transaction is given up and run again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Row

from engine.core.incoming import Incoming
from engine.core.policy import Identity
from engine.intake import forgetting
from engine.intake.joining import ANONYMOUS, USER, Decided, Join, Known, Named, decide, naming
from engine.store import customers, events, identities
from engine.store.database import Connection, Outrun

SAYING = ("identify", "alias", "set")
"""Kinds of calls that may say who somebody is."""

ROUNDS = 3
"""How often new people are made before the transaction is given up."""


class Moved(Outrun):
    """Somebody is no longer who they were when this transaction began: it is to be run again."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """`owners`: the customer of each item, 0 where nobody is named. `people`: the locked rows of all of them, and of those who
    are about to be merged. `refused`: item → why. `forgotten`: items about somebody who was erased, of which nothing is kept."""

    owners: tuple[int, ...]
    people: Mapping[int, Any]
    joins: tuple[Join, ...]
    refused: Mapping[int, str]
    forgotten: frozenset[int] = frozenset()


async def resolve(c: Connection, identity: Identity, items: Sequence[tuple[Incoming, str]]) -> Resolved:
    """Find, make and lock the people of `items` (each with why it can't be taken, "" if it can). Raises Moved."""
    taken = await events.known(c, [(i.source, i.message_id) for i, why in items if not why and i.kind in SAYING])
    named = []
    for incoming, why in items:
        message = (incoming.source, incoming.message_id)
        named.append(naming(identity, incoming, sound=not why and message not in taken))
        taken.add(message)  # a repeat changes nothing
    seen, decided = await _decide(c, identity, named)
    forgotten = await _forgotten(c, identity, [i for i, _ in items], named, decided)
    if forgotten:
        named = [Named() if n in forgotten else one for n, one in enumerate(named)]
        seen, decided = await _decide(c, identity, named)
    made: frozenset[int] = frozenset()
    for _ in range(ROUNDS):
        if not decided.strangers:
            break
        new = await customers.create(c, decided.strangers)
        if len(new) < len(decided.strangers):
            raise Moved
        made = made.union(new)
        seen, decided = await _decide(c, identity, named, made)
    owners = {i for i in decided.owners if i is not None}
    people = await customers.lock(c, sorted(owners | {i for j in decided.joins for i in (j.gone, j.kept)}))
    if decided.strangers or any(p.merged_into is not None for p in people.values()):
        raise Moved
    if not await _stands(c, identity, named, seen, decided, made):
        raise Moved
    if await identities.attach(c, decided.links) < len(decided.links):
        raise Moved
    return Resolved(tuple(i or 0 for i in decided.owners), people, decided.joins, dict(decided.refused), forgotten)


async def _forgotten(
    c: Connection, identity: Identity, batch: Sequence[Incoming], named: Sequence[Named], decided: Decided
) -> frozenset[int]:
    """Items that would bring back somebody who was erased: only those that name somebody new can; and repeats of what came before
    that, which concern nobody who has come back since."""
    new = {pair for pairs in decided.strangers for pair in pairs}
    new |= {(kind, value) for kind, value, _ in decided.links if kind in (USER, ANONYMOUS)}
    naming_new = {n: [p for p in one.pairs() if p in new] for n, one in enumerate(named)}
    return await forgetting.forgotten(c, identity.region, batch, {n: pairs for n, pairs in naming_new.items() if pairs})


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the store said of everybody who is named: rows of `identities.named` and `identities.people`."""

    named: frozenset[Row[Any]]
    people: frozenset[Row[Any]]


async def _look(c: Connection, named: Sequence[Named]) -> _Seen:
    pairs = sorted({pair for item in named for pair in item.pairs()})
    ids = sorted({item.customer for item in named if item.customer is not None})
    return _Seen(frozenset(await identities.named(c, pairs)), frozenset(await identities.people(c, ids)))


async def _decide(
    c: Connection, identity: Identity, named: Sequence[Named], made: frozenset[int] = frozenset()
) -> tuple[_Seen, Decided]:
    seen = await _look(c, named)
    return seen, await _of(c, identity, named, seen, made)


async def _stands(
    c: Connection, identity: Identity, named: Sequence[Named], before: _Seen, decided: Decided, made: frozenset[int]
) -> bool:
    """Whether the decision is the same behind the lock: it is where the store says the same, and nobody is to be joined, whom
    somebody may have separated meanwhile."""
    seen = await _look(c, named)
    if seen == before and not decided.joins and not any(item.alias for item in named):
        return True
    return await _of(c, identity, named, seen, made) == decided


async def _of(c: Connection, identity: Identity, named: Sequence[Named], seen: _Seen, made: frozenset[int]) -> Decided:
    found = {(r.kind, r.value): Known(r.customer_id, r.known, r.erased) for r in seen.named}
    people = {r.id: Known(r.survivor, r.known, r.erased) for r in seen.people}
    decided = decide(identity, named, found, people, made=made)
    if not decided.joins and not any(item.alias for item in named):
        return decided
    concerned = sorted({k.customer for k in (*found.values(), *people.values())})
    apart = await identities.apart(c, concerned)
    return decide(identity, named, found, people, frozenset(apart), made) if apart else decided
