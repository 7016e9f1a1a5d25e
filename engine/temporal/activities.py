"""The activities: they unpack what a cohort asks for, hand it to `delivery`, and pack the outcomes. No rule lives here.

Every activity takes one batch of one plan and answers [[enrollment, outcome], …]. Running one twice is safe: all they do is
done once under its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue
from temporalio import activity

from engine.core import compact
from engine.core.enrollment import Command, Outcome, State
from engine.core.plan import Plan
from engine.core.wire import Json
from engine.delivery import moving
from engine.delivery.acts import Acting
from engine.delivery.deliver import Delivery
from engine.delivery.deployments import Deployments
from engine.delivery.evaluate import Evaluation
from engine.delivery.queueing import requeue
from engine.observe import tracing
from engine.store import enrollments, parking, relay
from engine.store.database import Database, now, transaction

HEARTBEAT_SECONDS = 0.7
"""How often a running activity tells Temporal that it lives."""

T = TypeVar("T")


@dataclass(slots=True)
class Activities:
    """The four activities of one worker process."""

    database: Database
    deployments: Deployments
    evaluation: Evaluation
    acting: Acting
    delivery: Delivery

    def on_main_queue(self) -> list[Callable[..., Awaitable[Any]]]:
        """Those that run beside the workflows."""
        return [self.evaluate, self.act, self.record]

    def on_channel_queue(self) -> list[Callable[..., Awaitable[Any]]]:
        """The one that a channel's lanes run."""
        return [self.deliver]

    @activity.defn(name="evaluate")
    async def evaluate(self, batch: Json) -> list[Json]:
        """Answer conditions, moments and waits."""
        plan, members = await self._unpack(batch)
        async with beating(), self._traced("evaluate", plan, members):
            answers = await self.evaluation.evaluate(plan, members)
        return await self._pack(answers)

    @activity.defn(name="act")
    async def act(self, batch: Json) -> list[Json]:
        """Set, task, call, emit, start."""
        plan, members = await self._unpack(batch)
        async with beating(), self._traced("act", plan, members):
            answers = await self.acting.act(plan, [(m, c) for m, c, _ in members])
        return await self._pack(answers)

    @activity.defn(name="deliver")
    async def deliver(self, batch: Json) -> list[Json]:
        """Send on one channel."""
        plan, members = await self._unpack(batch)
        async with beating(), self._traced("deliver", plan, members):
            answers = await self.delivery.deliver(members[0][1].channel, plan, [(m, c) for m, c, _ in members])
        return await self._pack(answers)

    @activity.defn(name="record")
    async def record(self, batch: Json) -> list[Json]:
        """Write ends, parkings and moves into the store. Ends close what lasted while the enrollment ran, in one transaction.
        What comes a second time, after a retry, parks nobody again: it is told by the highest input that the parked state had
        seen; and moves nobody again, who lives in another cohort by then. Nor is anybody parked who was skipped before."""
        plan, members = await self._unpack(batch)
        async with beating(), transaction(self.database) as c:
            owners = await enrollments.lock_customers(c, [m for m, _, _ in members])
            moment = await now(c)
            ended = [{"id": m, "reason": c_.reason, "at": max(c_.at, moment)} for m, c_, _ in members if c_.status == "ended"]
            await enrollments.end(c, ended, close_tasks=False)
            parked = [
                {
                    "id": m,
                    "reason": c_.reason,
                    "short": in_short(c_.reason),
                    "step": plan.step_at(c_.op),
                    "op": c_.op,
                    "visit": c_.visit,
                    "attempt": c_.attempt,
                    "state": None if state is None else compact.encode_state(state),
                    "seq": None if state is None else state.seq,
                }
                for m, c_, state in members
                if c_.status == "parked" and _still_parked(c_, state)
            ]
            await parking.park(c, parked)
            left = {m: state for m, c_, state in members if c_.status == "moved" and state is not None}
            if left:
                await moving.hand_over(c, self.deployments, plan, batch["cohort"], left)
            await requeue(c, await self.deployments.current(c), owners, moment)
            await enrollments.tell_relay(c)
        return []

    @asynccontextmanager
    async def _traced(self, name: str, plan: Plan, members: Sequence[tuple[int, Command, State | None]]) -> AsyncIterator[None]:
        """A span that belongs to what happened last to the members: the cohort that they share goes on for longer than any trace,
        so what Temporal carries along leads to its first input only."""
        if not tracing.on():
            yield
            return
        ids = [m for m, _, _ in members]
        async with transaction(self.database) as c:
            traces = await relay.traces(c, ids)
        told: dict[str, AttributeValue] = {"journey": plan.journey, "enrollments": len(ids)}
        if len(ids) == 1:
            told["enrollment"] = ids[0]
        with tracing.span(name, kind=SpanKind.CONSUMER, traces=traces, **told):
            yield

    async def _pack(self, answers: list[tuple[int, Outcome]]) -> list[Json]:
        """The outcomes as Temporal may hold them. What went wrong may quote a customer's data: the words go into the store,
        and only what they begin with, up to the first colon, travels."""
        told = [(m, o.reason) for m, o in answers if o.kind == "park"]
        if told:
            async with transaction(self.database) as c:
                await parking.explain(c, [{"id": m, "reason": reason} for m, reason in told])
        return [[m, compact.encode_outcome(_without_words(o))] for m, o in answers]

    async def _unpack(self, batch: Json) -> tuple[Plan, list[tuple[int, Command, State | None]]]:
        plan = self.deployments.known_plan(batch["plan"])
        if plan is None:
            async with transaction(self.database) as c:
                plan = await self.deployments.plan(c, batch["plan"])
        return plan, [
            (m, compact.decode_command(command), None if state is None else compact.decode_state(state))
            for m, command, state in batch["members"]
        ]


def _still_parked(command: Command, state: State | None) -> bool:
    """Whether a member stands where `command` tells that it was parked: that may have waited behind another record, and a skip
    doesn't wait for it. `state` None: it has ended."""
    place = (command.op, command.visit, command.attempt)
    return state is None or (state.status == "parked" and place == (state.op, state.visit, state.attempt))


def _without_words(outcome: Outcome) -> Outcome:
    if outcome.kind not in ("park", "again") or not outcome.reason:
        return outcome
    return replace(outcome, reason=in_short(outcome.reason))


def in_short(reason: str) -> str:
    """What a reason begins with, up to the first colon: what may quote a customer's data stands behind it."""
    return reason.split(":", 1)[0][:60]


@asynccontextmanager
async def beating() -> AsyncIterator[None]:
    """Heartbeat while the work goes on, so that a dead worker is noticed in seconds. Most batches are done before the first beat,
    and each beat costs Temporal a write."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            activity.heartbeat()

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
