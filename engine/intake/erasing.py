"""A person is erased: whole or not at all, with everybody who was merged into them, in one transaction under their locks.

The quarantine, which no index knows by people, is looked through before that, while nobody waits; under the locks only what has
come since.

Cohorts learn of it by an input, as of every end. What is left of the ledger counts and says nothing of anybody. Source:
semantics.md, "Privacy"; docs/explanation/privacy.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from engine.core.wire import Json
from engine.delivery.deployments import Deployments
from engine.delivery.naming import Aside, names_of, put_aside
from engine.intake.commanded import Who, meant
from engine.intake.door import Intake
from engine.intake.resolving import Moved
from engine.store import audit, customers, enrollments, erasing, secrets, selections
from engine.store.database import Connection, now, transaction

ERASED = "erased"
"""The reason with which an enrollment ends whose customer is erased."""


ROUNDS = 5
"""How often somebody is begun with anew who is given other names meanwhile."""


class CantErase(Exception):
    """It can't be done: the message says why."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure did, or would do. `merged`: who had been merged into the customer and was erased with them · `ended`:
    enrollments, (id, journey) · `marked`: how many identifiers no import brings back · `rows`: table → how many rows were
    emptied or removed."""

    customer: int
    merged: tuple[int, ...]
    ended: tuple[tuple[int, str], ...]
    marked: int
    rows: Mapping[str, int]

    def to_json(self) -> dict[str, Json]:
        """For machines."""
        return {
            "customer": self.customer,
            "merged": list(self.merged),
            "ended": [{"enrollment": i, "journey": j} for i, j in self.ended],
            "marked": self.marked,
            "rows": dict(self.rows),
        }


class _Renamed(Exception):
    """They have other names than those by which the quarantine was looked through."""


async def erase(intake: Intake, who: Who, actor: str, *, dry_run: bool = False) -> Erased:
    """Erase `who`, or whom they were merged into. `dry_run`: only say what it would do. Raises CantErase, and what `who` raises
    where there is nobody."""
    for _ in range(ROUNDS):
        before = await _look_through(intake, who)

        async def do(c: Connection, before: Aside = before) -> Erased:
            return await _erase(c, intake.deployments, who, actor, before)

        with suppress(_Renamed):
            return await intake.collision_free(do, dry_run=dry_run)
    raise CantErase("their identifiers and addresses went on changing meanwhile; try again")


async def _look_through(intake: Intake, who: Who) -> Aside:
    """The calls in the quarantine that are theirs, as they are known now."""
    async with transaction(intake.database) as c:
        up_to = await erasing.highest(c)
    async with transaction(intake.database) as c:
        ids = await erasing.group(c, await meant(c, who))
        names = await names_of(c, intake.deployments, await selections.attributes(c, ids))
        return Aside(names, tuple(await put_aside(c, names)), up_to)


async def _erase(c: Connection, deployments: Deployments, who: Who, actor: str, before: Aside) -> Erased:
    survivor = await meant(c, who)
    ids = await erasing.group(c, survivor)
    people = await customers.lock(c, ids)
    if await meant(c, who) != survivor or await erasing.group(c, survivor) != ids:
        raise Moved
    if survivor not in people:
        raise CantErase(f"there is no customer {survivor}")
    if people[survivor].erased_at is not None:
        raise CantErase(f"customer {survivor} was erased already")
    await enrollments.lock_all(c, ids)
    at = await now(c)
    names = await names_of(c, deployments, {i: p.attributes for i, p in people.items()})
    if names != before.names:
        raise _Renamed
    aside = await put_aside(c, names, before)
    ended = await _end(c, ids, at)
    keys = await secrets.made(c, erasing.KEY)
    await erasing.mark(c, keys, names.identifiers, at)
    rows = await erasing.wipe(c, ids, aside, keys, at)
    await audit.note(c, actor, "erase", [f"customer/{i}" for i in ids], {})
    await enrollments.tell_relay(c)
    return Erased(survivor, tuple(i for i in ids if i != survivor), tuple(ended), len(names.identifiers), rows)


async def _end(c: Connection, ids: Sequence[int], at: datetime) -> list[tuple[int, str]]:
    """End what they are inside of; their cohorts are told."""
    inside = [(r.id, r.journey) for r in await erasing.unfinished(c, ids)]
    await enrollments.end(c, [{"id": i, "reason": ERASED, "at": at} for i, _ in inside], close_tasks=True)
    await enrollments.append_inputs(c, [{"enrollment_id": i, "kind": "exit", "at": at, "reason": ERASED} for i, _ in inside])
    return inside
