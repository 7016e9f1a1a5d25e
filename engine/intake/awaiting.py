"""Waits and exits whose condition time alone makes true: found by a sweep of those who wait, page by page, and brought through
the door as an event of the customer's, which satisfies them as any other would.

Where a segment makes them true, entering it is such an event already; this is for conditions of their own, such as
`customer.renews_at < now + days(30)`. Safe to run twice, and beside live events: the door looks again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.authoring.expressions import ExpressionError
from engine.authoring.model_segments import Condition, Holds, InSegment
from engine.core.incoming import Incoming
from engine.core.plan import Plan
from engine.delivery.deployment import Deployment, NothingDeployed
from engine.delivery.deployments import Deployments
from engine.delivery.interpretation import concern
from engine.delivery.people import People
from engine.intake.door import BATCH, Intake
from engine.intake.watching import Watch, watches
from engine.store import enrollments, memberships
from engine.store.database import Connection, Database, now, transaction

NAME = "waits"
"""The name of the sweep."""

PASSED = "$time"
"""The event that a customer has of it."""

Steps = dict[tuple[str, str], list[Watch]]
"""(plan, step; "" for its exits) → what is watched for there."""


@dataclass(slots=True)
class Awaiting:
    """Sweeps of one process."""

    database: Database
    deployments: Deployments
    intake: Intake

    async def round(self) -> bool:
        """The next page. Whether there is another one."""
        try:
            async with transaction(self.database) as c:
                found, more = await self.page(c)
        except NothingDeployed:
            return False
        if found:
            await self.intake.accept(found)
        return more

    async def page(self, c: Connection) -> tuple[list[Incoming], bool]:
        """What a page says, and whether there is another one. A crash before it is said leaves it to the next round. Raises
        NothingDeployed."""
        if not await memberships.take_sweep(c, memberships.WAITS_LOCK):
            return [], False
        deployment = await self.deployments.current(c)
        plans = {p.hash: p for p in await self.deployments.plans_needed(c)}
        steps = {key: found for plan in plans.values() for key, found in by_time(deployment, plan).items()}
        if not steps:
            return [], False
        moment = await now(c)
        round_ = await memberships.sweep(c, NAME, moment, "enrollments")
        waiting = await enrollments.waiting(c, sorted(steps), round_.after_id, round_.until_id, BATCH)
        over = len(waiting) < BATCH
        await memberships.swept(c, NAME, round_.until_id if over else waiting[-1].id, over=over)
        rows = await enrollments.contexts(c, [(w.id, 0) for w in waiting])
        needs = deployment.needs(*(plans[p] for p in sorted({r.plan for r in rows.values()})))
        people = await People.load(c, deployment, [r.customer_id for r in rows.values()], needs, moment)
        watched = {w.id: (*steps.get((rows[w.id].plan, w.step), ()), *steps.get((rows[w.id].plan, ""), ())) for w in waiting}
        return [passed(r, moment) for i, r in sorted(rows.items()) if true(people, r, watched[i], moment)], not over


def by_time(deployment: Deployment, plan: Plan) -> Steps:
    """What of this plan time alone can make true."""
    found: Steps = {}
    for watch in watches(plan).always:
        asked: Condition | None = InSegment(watch.segment) if watch.segment is not None else None
        if watch.where is not None:
            asked = Holds(watch.where)
        if asked is not None and concern(deployment, asked).time:
            step = str(getattr(plan.ops[watch.op], "step", "")) if watch.kind == "wait" else ""
            found.setdefault((plan.hash, step), []).append(watch)
    return found


def true(people: People, row: Any, watched: Sequence[Watch], moment: datetime) -> bool:
    """Whether anything that this enrollment waits for holds now."""
    context = people.context(row, moment)
    for watch in watched:
        if watch.segment is not None and context.segments(watch.segment):
            return True
        try:
            if watch.where is not None and people.deployment.expression(watch.where).test(context):
                return True
        except ExpressionError:
            continue
    return False


def passed(row: Any, moment: datetime) -> Incoming:
    """What is said of an enrollment for which time made something true."""
    return Incoming("set", "intake", f"time/{row.id}/{moment.isoformat()}", PASSED, customer=row.customer_id, occurred_at=moment)
