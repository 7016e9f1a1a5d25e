"""Computed attributes follow the events, in the transaction that takes them in: one statement reads what is kept, one writes.

For this floor only; the caller holds the locks of the customers. Where nothing is kept yet for a customer, or something of
another definition, it is made from all the customer's events of those names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from datetime import datetime
from typing import Any

from engine.authoring.expressions import Context
from engine.delivery.computing import Definition, Emptied, brought_up, counted, passed, stored_value
from engine.delivery.deployment import Deployment
from engine.delivery.tallies import Counted, Tally
from engine.intake.merging import JOINED, PARTED
from engine.store import computed, events
from engine.store.database import Connection

Seen = dict[tuple[int, str], list[tuple[int, Context]]]
"""(customer, event name) → the events, each with its number."""


async def follow(c: Connection, deployment: Deployment, fresh: Mapping[int, tuple[int, str]], now: datetime) -> None:
    """Bring up to date what these events concern, which have just been stored: number → (customer, name). Of whom a merge has
    made another person everything is made anew. What is kept of these customers for definitions that aren't in force is
    forgotten: an event may count there, and a rollback puts them in force again."""
    if fresh:
        await _tidy(c, deployment, sorted({customer for customer, _ in fresh.values()}))
    concerned = {**deployment.definitions.concerned, **dict.fromkeys((JOINED, PARTED), deployment.definitions.kept)}
    fresh = {event: of for event, of in fresh.items() if concerned.get(of[1])}
    if not fresh:
        return
    wanted: dict[int, set[Definition]] = defaultdict(set)
    for customer, name in fresh.values():
        wanted[customer].update(concerned[name])
    names = sorted({d.name for those in wanted.values() for d in those})
    states: dict[tuple[int, str], tuple[str, Tally]] = {}
    came: Seen = defaultdict(list)
    for r in await computed.with_events(c, sorted(wanted), names, sorted(fresh)):
        if r.definition is None:
            came[(r.customer_id, r.name)].append(_seen(deployment, r))
        else:
            states[(r.customer_id, r.name)] = (r.definition, r.state)
    there = {
        (customer, d.name)
        for customer, those in wanted.items()
        for d in those
        if (kept := states.get((customer, d.name))) is not None and kept[0] == d.hash and not passed(kept[1], now)
    }
    items = []
    missing: dict[int, set[Definition]] = defaultdict(set)
    for customer, those in wanted.items():
        for d in those:
            if (customer, d.name) not in there:
                missing[customer].add(d)
                continue
            state = states[(customer, d.name)][1]
            if "over" not in state:
                more = _counted(d, customer, came)
                if more:
                    items.append(_row(customer, d, brought_up(d, state, more, now)))
    await computed.put(c, [*items, *await _made(c, deployment, missing, now)])


async def fill_in(c: Connection, deployment: Deployment, customers: Sequence[int], now: datetime, *, anew: bool = False) -> None:
    """Keep for these (locked) customers what is defined now and isn't kept yet, and forget what isn't defined any more. `anew`:
    whatever is kept."""
    kept = deployment.definitions.kept
    await _tidy(c, deployment, customers, anew=anew)
    names = [d.name for d in kept]
    found = {(r.customer_id, r.name): r.definition for r in await computed.of(c, customers, names, [])}
    missing = {i: {d for d in kept if found.get((i, d.name)) != d.hash} for i in customers}
    await computed.put(c, await _made(c, deployment, {i: those for i, those in missing.items() if those}, now))


async def _tidy(c: Connection, deployment: Deployment, customers: Sequence[int], *, anew: bool = False) -> None:
    """Forget what isn't defined any more; `anew`: but predictions, all there is."""
    hashes = [] if anew else [d.hash for d in deployment.definitions.kept]
    await computed.tidy(c, customers, [*hashes, *deployment.definitions.predicted.values()])


async def _made(
    c: Connection, deployment: Deployment, missing: Mapping[int, Set[Definition]], now: datetime
) -> list[dict[str, Any]]:
    """What is to be kept, from all events of these customers; nothing for whom there is no such event."""
    if not missing:
        return []
    names = sorted({e for those in missing.values() for d in those for e in d.computed.events})
    found: Seen = defaultdict(list)
    for r in await events.of_names(c, sorted(missing), names):
        found[(r.customer_id, r.name)].append(_seen(deployment, r))
    items = []
    for customer, those in missing.items():
        for d in those:
            if any((customer, name) in found for name in d.computed.events):
                items.append(_row(customer, d, brought_up(d, None, _counted(d, customer, found), now)))
    return items


def _seen(deployment: Deployment, r: Any) -> tuple[int, Context]:
    """An event as expressions see it that read nothing else, with its number."""
    event = deployment.event_values(r.name, r.properties, r.occurred_at)
    return r.id, Context({}, r.occurred_at, event=Emptied(event) if r.emptied else event)


def _counted(d: Definition, customer: int, seen: Seen) -> list[Counted]:
    return counted(d.computed, (one for name in d.computed.events for one in seen.get((customer, name), ())))


def _row(customer: int, d: Definition, state: Tally) -> dict[str, Any]:
    return {
        "customer_id": customer,
        "name": d.name,
        "definition": d.hash,
        "state": state,
        "value": stored_value(d, state),
    }
