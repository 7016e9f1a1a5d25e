"""Filling in computed attributes for everybody after their definitions have changed: page by page, each in a transaction of its
own, under the locks of its customers, so that events may come in meanwhile and a crash loses nothing.

Nothing waits for it: until somebody's turn has come, what they have is worked out from their events.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.delivery.deployments import Deployments
from engine.intake.keeping import fill_in
from engine.store import computed, customers
from engine.store import deployments as store
from engine.store.database import Connection, Database, now, transaction

PAGE = 200
"""Customers in one transaction."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`share`: how much of it is done, 0 to 1; `customers`: for how many; `definitions`: how many attributes are kept; `done`:
    nothing is left to do."""

    share: float
    customers: int
    definitions: int
    done: bool


@dataclass(slots=True)
class Backfill:
    """Of one process; any number of them may work at the same one."""

    database: Database
    deployments: Deployments

    async def page(self) -> Progress:
        """The next page. Raises NothingDeployed."""
        return await store.following_one(self.database, self._page)

    async def _page(self, c: Connection) -> Progress:
        deployment = await self.deployments.current(c)
        definitions = deployment.definitions
        row = await computed.hold_backfill(c, definitions.hash)
        if row.done_at is not None:
            return Progress(1.0, row.customers, len(definitions.kept), True)
        ids = await computed.page(c, row.after_id, row.until_id, PAGE)
        locked = await customers.lock(c, ids)
        there = sorted(i for i, p in locked.items() if p.merged_into is None and p.erased_at is None)
        await fill_in(c, deployment, there, await now(c), anew=row.anew)
        done = len(ids) < PAGE
        last = row.until_id if done else ids[-1]
        await computed.filled_in(c, definitions.hash, last, len(there), done=done)
        share = 1.0 if done else last / row.until_id
        return Progress(share, row.customers + len(there), len(definitions.kept), done)

    async def begin_again(self) -> None:
        """Whatever has been filled in, the next page is the first, and everything is made anew."""
        async with transaction(self.database) as c:
            deployment = await self.deployments.current(c)
            await computed.begin_again(c, deployment.definitions.hash)
