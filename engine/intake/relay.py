"""The relay: brings inputs from the store to cohorts, in order per enrollment, restartable after any crash.

    pending inputs ─▶ commit new members to a cohort ─▶ start or signal it ─▶ mark as relayed

A crash between two arrows repeats the last one: a cohort is started once (REJECT_DUPLICATE), and `advance` ignores inputs
whose number it has seen. Customers are divided into lanes, and these into partitions; each lane is owned by one process at a
time, whatever number of partitions that process has been told. So the order per enrollment holds, and a cohort has at most one
signal in flight (one from each of its partitions, where their number has grown since it was opened).

Urgent enrollments have rounds, leases and cohorts of their own, so that they never stand behind a broadcast's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.trace import SpanKind
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from engine.core.compact import decode_state, encode_input
from engine.core.enrollment import Begin, Input
from engine.core.policy import Policy
from engine.core.wire import Json
from engine.delivery.deployment import NothingDeployed
from engine.delivery.deployments import Deployments
from engine.observe import metrics, tracing
from engine.store import deployments as deployment_store
from engine.store import enrollments
from engine.store import relay as store
from engine.store.customers import LANES
from engine.store.database import Database, transaction
from engine.store.listening import listen
from engine.store.trouble import Trouble
from engine.temporal.client import Journeys, Unreachable
from engine.temporal.grouping import BOTH, BULK, URGENT, Lanes

log = logging.getLogger("sojourn.relay")

BATCH = 8_000
"""Inputs that one round takes from the store."""

SIGNALS_AT_ONCE = 16
ADMISSION_SECONDS = 3_600
LEASE_SECONDS = 6.0
FINISH_SECONDS = 10.0
"""How long a round under way may take after the stop before it is cut off; what it had not marked is relayed once more."""

GATHER_SECONDS = 0.05
"""After a round that moved something: what comes meanwhile goes together, because each signal costs Temporal the same."""

IDLE_SECONDS = 1.0
"""How long a round waits at most for a notification before it looks by itself."""


@dataclass(slots=True)
class Relay:
    """The relay of one process. `url`: of the database, for notifications. `lanes`: those whose enrollments it brings."""

    database: Database
    url: str
    deployments: Deployments
    journeys: Journeys
    partitions: int
    lanes: Sequence[str] = BOTH
    owner: str = field(default_factory=lambda: uuid.uuid4().hex)
    trouble: Trouble = field(default_factory=lambda: Trouble(log, "the relay"))

    async def run(self, stop: asyncio.Event) -> None:
        """Relay whatever partitions this process can own until `stop` is set: a round under way is finished, the leases are
        given back."""
        parts = [(partition, lane == URGENT) for partition in range(self.partitions) for lane in self.lanes]
        heard = [asyncio.Event() for _ in parts]
        spreading = asyncio.create_task(self._spread(heard))
        rounds = [asyncio.create_task(self._partition(*part, heard[i], stop)) for i, part in enumerate(parts)]
        try:
            await stop.wait()
            for event in heard:
                event.set()
            await asyncio.wait(rounds, timeout=FINISH_SECONDS)
        finally:
            for task in (spreading, *rounds):
                task.cancel()
            await asyncio.gather(spreading, *rounds, return_exceptions=True)
        async with transaction(self.database) as c:
            for lane in self.lanes:
                await store.drop_lanes(c, range(LANES), self.owner, urgent=lane == URGENT)

    def _name(self, partition: int, urgent: bool) -> str:
        """What the cohorts that a partition opens belong to: nobody else admits to them. The urgent ones are told apart by their
        queue, too: a version that had them on the main queue admits to none of these, nor is admitted to its own."""
        return f"{'urgent-queue' if urgent else 'relay'}/{partition}/{self.partitions}"

    async def _spread(self, heard: Sequence[asyncio.Event]) -> None:
        """One listening connection wakes all partitions."""
        any_ = asyncio.Event()
        listener = asyncio.create_task(listen(self.url, [enrollments.CHANNEL, deployment_store.CHANNEL], any_))
        try:
            while True:
                await any_.wait()
                any_.clear()
                for event in heard:
                    event.set()
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _partition(self, partition: int, urgent: bool, heard: asyncio.Event, stop: asyncio.Event) -> None:
        """Own the partition's urgent enrollments or the others, relay, wait, until `stop`; whatever goes wrong is said and tried
        again."""
        name = self._name(partition, urgent)
        while not stop.is_set():
            moved, pause = 0, 0.0
            heard.clear()
            try:
                moved = await self.round(partition, urgent=urgent)
                pause = GATHER_SECONDS if moved else 0.0
                self.trouble.over(name)
            except NothingDeployed:  # nothing can be pending before the first deploy
                self.trouble.over(name)
            except (Unreachable, DBAPIError, PoolTimeout, OSError) as failed:
                self.trouble.met(name, failed)
                pause = 0.5
            except Exception as failed:
                if self.trouble.met(name, failed):
                    log.exception("%s failed", name)
                pause = 2.0
            await _set_within(stop, pause)
            if moved < BATCH and not stop.is_set():
                await _set_within(heard, IDLE_SECONDS)

    async def round(self, partition: int, *, urgent: bool = False) -> int:
        """Relay one batch of a partition, of its urgent enrollments or of the others; how many inputs it saw, none where another
        process owns any of its lanes.

        The leases are taken in the transaction that places enrollments: two processes, one of which was slow enough to lose its
        leases, can't give the same enrollment two cohorts."""
        started = time.monotonic()
        lanes = [lane for lane in range(LANES) if lane % self.partitions == partition]
        async with transaction(self.database) as c:
            if urgent and not await store.any_urgent(c, lanes):  # it hears of every broadcast's inputs too
                return 0
            taken = await store.take_lanes(c, lanes, self.owner, LEASE_SECONDS, urgent=urgent)
            if taken < len(lanes):
                if taken:  # all or none: two owners of a half each would wait for each other
                    await store.drop_lanes(c, lanes, self.owner, urgent=urgent)
                return 0
            deployment = await self.deployments.current(c)
            pending = await store.pending(c, lanes, BATCH, urgent=urgent)
            homes, rebuilt = await self._place(c, pending, self._name(partition, urgent))
            plans = {h: (await self.deployments.plan(c, h)).journey for h in {r.plan for r in pending}}
        groups: dict[int, list[Any]] = defaultdict(list)
        over = []
        for r in pending:
            home = homes.get(r.enrollment_id, r.cohort_id)
            if home is not None:
                groups[home].append(r)
            elif r.status == "ended":
                over.append(r.id)
        free = asyncio.Semaphore(SIGNALS_AT_ONCE)
        unreachable: list[Unreachable] = []
        ranks, lane = _lanes(deployment.policy), URGENT if urgent else BULK

        async def bring(cohort: int, inputs: Sequence[Any]) -> tuple[int, Sequence[Any], str]:
            items: list[Json] = []
            for r in inputs:
                items += rebuilt.pop(r.enrollment_id) if r.enrollment_id in rebuilt else [_item(r)]
            plan = inputs[0].plan
            traces = {r.trace for r in inputs if r.trace is not None}
            journey, n = plans[plan], len(items)
            bringing = tracing.span(
                "relay.bring", kind=SpanKind.PRODUCER, traces=traces, journey=journey, cohort=cohort, inputs=n, lane=lane
            )
            async with free:
                try:
                    with bringing:
                        how = await self.journeys.bring(cohort, journey, plan, ranks, items, lane=lane)
                    return cohort, inputs, how
                except Unreachable as failed:
                    unreachable.append(failed)
                    return cohort, inputs, "unreachable"

        results = await asyncio.gather(*(bring(cohort, inputs) for cohort, inputs in groups.items()))
        await self._settle(results, over)
        if pending:
            metrics.RELAYED.labels(lane).inc(sum(len(inputs) for _, inputs, how in results if how == "taken"))
            metrics.RELAY.labels(lane).observe(time.monotonic() - started)
        if unreachable:  # what wasn't taken stays pending
            raise unreachable[0]
        return len(pending)

    async def _place(self, c: Any, pending: Sequence[Any], owner: str) -> tuple[dict[int, int], dict[int, list[Json]]]:
        """Cohorts for the enrollments that have none, committed with this transaction; and for those that lived in a cohort that
        is over, the items that rebuild them."""
        began = {r.enrollment_id for r in pending if r.kind == "begin"}
        plans = {r.enrollment_id: r.plan for r in pending if r.cohort_id is None and r.status != "ended"}
        homeless: dict[str, list[int]] = defaultdict(list)
        # All of them at once: plan by plan their ids would not be in order, and others lock in order.
        for enrollment in await store.homeless(c, list(plans)):
            homeless[plans[enrollment]].append(enrollment)
        homes: dict[int, int] = {}
        for plan, members in homeless.items():
            while members:
                cohort, room = await store.open_cohort(c, plan, owner, self.journeys.max_size, ADMISSION_SECONDS)
                taken, members = members[:room], members[room:]
                await store.admit(c, cohort, taken)
                homes.update(dict.fromkeys(taken, cohort))
        moved = [m for m in homes if m not in began]
        await store.mark_moved(c, moved)
        untold = {r.enrollment_id for r in pending if r.note == store.MOVED and r.cohort_id is not None}
        return homes, await _rebuilding(c, sorted(untold.union(moved)))

    async def _settle(self, results: Sequence[tuple[int, Sequence[Any], str]], over: Sequence[int]) -> None:
        """Mark what Temporal has; hand over what its cohort no longer takes. All who are still in a cohort that is over move,
        also those to whom nothing happened: nobody else would wake them."""
        async with transaction(self.database) as c:
            await store.relayed(c, [r.id for _, inputs, how in results if how == "taken" for r in inputs])
            await store.relayed(c, over, "came after the end")
            for cohort, inputs, how in results:
                if how != "closed":
                    continue
                await store.close_cohort(c, cohort)
                members = sorted({r.enrollment_id for r in inputs})
                live = await store.reopen_members(c, cohort, sorted({*members, *await store.members(c, cohort)}))
                await enrollments.try_again(c, sorted(set(live) - set(members)))
                ended = await store.ended(c, members)
                await store.relayed(c, [r.id for r in inputs if r.enrollment_id in ended], "came after the end")
                if live:
                    log.warning("cohort %s is over; live members who go on in another: %s", cohort, len(live))
            if any(how == "closed" for _, _, how in results):
                await enrollments.tell_relay(c)  # what is pending still is for the next round, which comes at once


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait for `event`, `seconds` at most. Not `wait_for`, which forgets a cancellation that comes together with the event."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _rebuilding(c: Any, members: Sequence[int]) -> dict[int, list[Json]]:
    """For each member, the items that bring it to where it stood: its recorded state with every later input."""
    if not members:
        return {}
    states = await store.states(c, members)
    items: dict[int, list[Json]] = {m: [] for m in members}
    inputs = await store.inputs_of(c, members)
    for r in inputs:
        body = states[r.enrollment_id]
        if body is not None and r.seq <= decode_state(body).seq:
            continue
        item = _item(r)
        items[r.enrollment_id].append([*item, body] if body is not None and not items[r.enrollment_id] else item)
    for r in inputs:
        body = states[r.enrollment_id]
        if body is not None and not items[r.enrollment_id]:  # it has seen all of them: any will do to bring its state
            items[r.enrollment_id].append([*_item(r), body])
    return items


def _item(r: Any) -> Json:
    """An input as the cohort takes it."""
    if r.kind == "begin":
        return [r.enrollment_id, encode_input(Begin(r.seq, r.at))]
    matched = tuple((op, alternative) for op, alternative in r.matched)
    return [r.enrollment_id, encode_input(Input(r.seq, r.at, r.kind, matched, r.reason))]


def _lanes(policy: Policy) -> Lanes:
    """How today's policy ranks tiers."""
    return Lanes(policy.urgent, tuple(t.name for t in policy.tiers))
