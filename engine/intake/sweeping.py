"""The sweep: who is in a segment, or in another stage, by time alone; and what a newly deployed definition means for everybody.

Page by page through the customers, one transaction each; how far it has come stands in the store, so that whoever comes next
goes on from there. A page first looks without locking anybody; those who have moved are locked, looked at again and moved
through the door. So it may run beside live events, and twice: what has been done already is no change. Source of the rules:
docs/explanation/segments.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from engine.delivery.deployment import NothingDeployed
from engine.delivery.deployments import Deployments
from engine.delivery.interpretation import STAGES, Interpretation, of
from engine.delivery.selecting import Page
from engine.intake.door import BATCH, Intake
from engine.intake.interpreting import by_time, interpret, meanings
from engine.store import customers, memberships, selections
from engine.store.database import Connection, now

PAGE = 5_000
"""Customers whom a page looks through."""

LOCKED = 1_000
"""Customers whom a page locks where a definition is new: almost all of them may have to be written down."""

TIME = "time"
"""The name of the sweep."""


@dataclass(slots=True)
class Sweep:
    """Sweeps of one process."""

    deployments: Deployments
    intake: Intake

    async def round(self) -> bool:
        """The next page. Whether there is another one: a round ends when everybody has been looked at once."""
        try:
            return await self.intake.collision_free(self.page)
        except NothingDeployed:
            return False

    async def page(self, c: Connection) -> bool:
        """The same within the caller's transaction. Raises NothingDeployed."""
        if not await memberships.take_sweep(c):
            return False
        deployment = await self.deployments.current(c)
        index = of(deployment)
        states = await memberships.known(c)
        meant = await meanings(c, deployment)
        if {n: s.definition for n, s in states.items()} != meant:
            await memberships.begin(c, meant)
            return True
        new = {n: s for n, s in states.items() if s.until_id is not None}
        if new:
            first = min(new.values(), key=lambda s: (s.after_id, s.until_id))
            here = (first.after_id, first.until_id)
            await self._work_out(c, index, [n for n, s in new.items() if (s.after_id, s.until_id) == here], *here)
            return True
        return await self._pass_time(c, index)

    async def _work_out(self, c: Connection, index: Interpretation, names: Sequence[str], after: int, until: int) -> None:
        """The next page of customers, up to number `until`, of definitions that are new, in silence."""
        last, over = await selections.window(c, after, until, LOCKED)
        locked = await customers.lock(c, await selections.between(c, after, last))
        moment = await now(c)
        told = await interpret(c, index.deployment, by_time(sorted(locked), names), moment)
        assert not told, "what is new is worked out in silence"
        await memberships.worked_out(c, names, last, over=over)

    async def _pass_time(self, c: Connection, index: Interpretation) -> bool:
        """The next page of what time alone can change."""
        names = index.by_time()
        if not names:
            return False
        moment = await now(c)
        round_ = await memberships.sweep(c, TIME, moment)
        last, over = await selections.window(c, round_.after_id, round_.until_id, PAGE)
        page = Page(after=round_.after_id, until=last)
        moved = await self._moved(c, index, names, page, moment)
        if len(moved) > BATCH:  # the others are for the next page: customers are locked once, before anything of theirs
            moved, over = moved[:BATCH], False
            last = moved[-1]
        if moved:
            locked = await customers.lock(c, moved)
            told = await interpret(c, index.deployment, by_time(sorted(locked), names), await now(c))
            await self.intake.accept_within(c, told)
        await memberships.swept(c, TIME, last, over=over)
        return not over

    async def _moved(self, c: Connection, index: Interpretation, names: Sequence[str], page: Page, moment: datetime) -> list[int]:
        """Customers of the page who are elsewhere than is written down, as far as can be seen without locking them."""
        answers = await index.selection(names).answers(c, page, moment)
        has = await memberships.current(c, page.listed, page.values(), names)
        stages = await memberships.stages(c, page.listed, page.values()) if STAGES in names else {}
        found = []
        for customer in {*answers, *has, *stages}:
            inside, stage = index.told(names, answers.get(customer))
            if inside != has.get(customer, set()) or stage != stages.get(customer):
                found.append(customer)
        return sorted(found)
