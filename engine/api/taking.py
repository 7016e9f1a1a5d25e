"""Into the door with a limit on how long it may take: an answer means that it is on disk, and no answer hangs for ever.

Requests that come while others are under way go through the door together, in one transaction: what a transaction costs is then
paid once for many. Each request still gets an answer of its own, and what can't be stored of one is no other's matter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from engine.api.errors import unavailable
from engine.core.incoming import Accepted, Door, Incoming
from engine.delivery.deployment import NothingDeployed
from engine.intake.door import BATCH
from engine.observe import tracing
from engine.store.trouble import lost

PATIENCE = 30.0
"""Seconds that the database gets. A load balancer's own limit is often a minute."""

AT_ONCE = 2
"""Transactions under way, beyond which a request waits to be joined with others."""

WORTHWHILE = 100
"""Calls that are worth a transaction beside one that is under way. Fewer wait for its end and share the next one: single calls
are answered sooner so, because processes of one machine and their disk don't get in each other's way."""

STUCK = 0.25
"""Seconds that it waits at the most for one of these to end: one that stands in a lock holds up nobody who comes later. Far more
than a transaction takes, so that a busy machine doesn't begin many small ones instead of few large ones."""

MOST = 10
"""Transactions under way at the most; the others of a process's connections are for what isn't intake."""


@asynccontextmanager
async def patiently() -> AsyncIterator[None]:
    """Raise a 503 when what stands inside takes longer than PATIENCE."""
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError:
        raise unavailable("unavailable", f"the database didn't answer within {PATIENCE:.0f} s") from None


@dataclass(slots=True, eq=False)
class _Request:
    """The calls of one request, and who waits for their answers."""

    batch: list[Incoming]
    answers: asyncio.Future[list[Accepted]]


@dataclass(slots=True)
class Entrance:
    """The way of one process's requests to the door."""

    door: Door
    waiting: deque[_Request] = field(default_factory=deque)
    under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def accept(self, batch: list[Incoming]) -> list[Accepted]:
        """The door's answers; on return everything is committed. Raises a 503 after PATIENCE: it may have been taken then, or
        not."""
        if (trace := tracing.carried()) is not None:
            batch = [replace(one, trace=trace) for one in batch]
        request = _Request(batch, asyncio.get_running_loop().create_future())
        self.waiting.append(request)
        if not self.under_way or (len(self.under_way) < AT_ONCE and self._calls() >= WORTHWHILE):
            self._begin()
        else:
            asyncio.get_running_loop().call_later(STUCK, self._overdue, request)
        async with patiently():
            return await request.answers

    def _calls(self) -> int:
        """How many wait, counted to WORTHWHILE at the most."""
        found = 0
        for request in self.waiting:
            found += len(request.batch)
            if found >= WORTHWHILE:
                break
        return found

    def _begin(self) -> None:
        task = asyncio.create_task(self._work())
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)

    def _overdue(self, request: _Request) -> None:
        if request in self.waiting and len(self.under_way) < MOST:
            self._begin()

    async def _work(self) -> None:
        while together := self._next():
            await self._take(together)

    def _next(self) -> list[_Request]:
        """The requests of the next transaction, in the order in which they came; nothing of whoever waits no longer."""
        together: list[_Request] = []
        room = BATCH
        while self.waiting and (not together or len(self.waiting[0].batch) <= room):
            request = self.waiting.popleft()
            if not request.answers.done():
                together.append(request)
                room -= len(request.batch)
        return together

    async def _take(self, together: Sequence[_Request]) -> None:
        try:
            answers = await self.door.accept([incoming for request in together for incoming in request.batch])
        except BaseException as error:
            if len(together) > 1 and isinstance(error, Exception) and not (lost(error) or isinstance(error, NothingDeployed)):
                for request in together:  # what can't be stored is one request's: the others go on without it
                    await self._take([request])
                return
            for request in together:
                if not request.answers.done():
                    request.answers.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for request in together:
            mine, answers = answers[: len(request.batch)], answers[len(request.batch) :]
            if not request.answers.done():
                request.answers.set_result(mine)
