"""What must hold before an operator merges two customers or takes a merge back; both are locked behind these calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from engine.intake.resolving import Moved
from engine.store import customers, identities, merges, unmerges
from engine.store.database import Connection

Who = int | Callable[[Connection], Awaitable[int]]
"""A customer, or how to find them within the transaction that acts on them: a name may lead to somebody else a moment later."""


async def meant(c: Connection, who: Who) -> int:
    """Who that is today. What finds them says who doesn't exist."""
    return await identities.survivor(c, who if isinstance(who, int) else await who(c))


class CantMerge(Exception):
    """It can't be done: the message says why, `hint` what can."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


async def lock_two(c: Connection, kept: int, gone: int) -> tuple[int, int]:
    """Lock two customers who are to become one: who they are today. Raises CantMerge, or Moved where one was merged meanwhile."""
    kept, gone = await identities.survivor(c, kept), await identities.survivor(c, gone)
    if kept == gone:
        raise CantMerge("they are one customer already")
    people = await customers.lock(c, [kept, gone])
    for customer in (kept, gone):
        if customer not in people:
            raise CantMerge(f"there is no customer {customer}")
        if people[customer].erased_at is not None:
            raise CantMerge(f"customer {customer} was erased, and nobody who was erased is brought back")
    if any(p.merged_into is not None for p in people.values()):
        raise Moved
    return kept, gone


async def lock_merge(c: Connection, number: int) -> Any:
    """Lock a merge that can be undone, and its two customers; its row of `store.unmerges.find`. Raises CantMerge."""
    first = await unmerges.find(c, number)
    if first is None:
        raise CantMerge(f"there is no merge {number}", "`sojourn why` names the merges of a customer")
    people = await customers.lock(c, [first.kept, first.gone])
    found = await unmerges.find(c, number, locked=True)  # behind the locks: what came between would be missing
    assert found is not None
    if found.undone_at is not None:
        raise CantMerge(f"merge {number} was undone already")
    if any(p.erased_at is not None for p in people.values()):
        raise CantMerge("the customer was erased since then, and nobody who was erased is brought back")
    if found.too_old or found.record is None:
        raise CantMerge(f"merge {number} is more than {merges.UNDO_DAYS} days old: its record is gone")
    if found.later is not None:
        hint = f"undo that one first: `sojourn unmerge {found.later}`"
        raise CantMerge(f"customer {found.kept} took part in another merge since then, {found.later}", hint)
    return found
