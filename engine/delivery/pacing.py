"""How fast messages go to one channel, in all workers together: a bucket of tokens in the database, and who gets them first.

Workers take what a fraction of a second holds in one statement, and let it go when it is due. Messages of urgent tiers may take
theirs further ahead than the others: so they go before whatever waits, and wait for no more than what is already on its way.
No worker's clock counts: only how long something still takes.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass, field

from engine.store import pacing as store
from engine.store.database import Database

BURST_SECONDS = 0.1
"""What a rested channel has saved up, in seconds of its rate (at least one message): short, because providers count short
windows."""

AHEAD_SECONDS = 0.25
"""How long beforehand ordinary messages take their tokens: that much of the rate goes into one statement, and is what an urgent
message finds taken at the most."""

URGENT_AHEAD_SECONDS = 1.0
"""The same for urgent ones. What they take pushes back what others could have had."""

LOOK_SECONDS = 1.0
"""How long somebody who waits for tokens sleeps at the most, so that nobody sleeps on when those who waited have gone."""


@dataclass(order=True, slots=True)
class _Waiting:
    """Somebody who waits for up to `most` tokens: the lower `rank` first, then who came first."""

    rank: int
    number: int
    most: int = field(compare=False)
    tokens: asyncio.Future[int] = field(compare=False)


@dataclass(slots=True)
class _Lane:
    """Who waits in this process, and the task that asks for them. `ahead`: how many seconds beforehand it takes tokens, `enough`:
    how many seconds' worth it takes at the least."""

    ahead: float
    enough: float
    waiting: list[_Waiting] = field(default_factory=list)
    asking: asyncio.Task[None] | None = None

    def wanted(self) -> int:
        """Tokens that are wanted by those who still wait."""
        self.waiting = [w for w in self.waiting if not w.tokens.done()]
        heapq.heapify(self.waiting)
        return sum(w.most for w in self.waiting)

    def share(self, tokens: int) -> int:
        """Give `tokens` to those who wait, in order; what nobody wanted."""
        while tokens and self.waiting:
            one = heapq.heappop(self.waiting)
            if not one.tokens.done():
                given = min(one.most, tokens)
                one.tokens.set_result(given)
                tokens -= given
        return tokens

    def fail(self, failed: Exception) -> None:
        """Tell everybody who waits what went wrong."""
        for one in self.waiting:
            if not one.tokens.done():
                one.tokens.set_exception(failed)
        self.waiting = []


class Pace:
    """At most `rate` messages a second to `channel`, of all processes that use `database`.

    Over any t seconds no more than `rate * (t + BURST_SECONDS + AHEAD_SECONDS)` are let go (or one more, at a slow rate),
    counting those taken together from the moment they are due. Raises ValueError for a rate that isn't positive."""

    def __init__(self, database: Database, channel: str, rate: float) -> None:
        if not 0 < rate < float("inf"):
            raise ValueError(f"a rate must be a positive number of messages per second, not {rate}")
        self.rate = rate
        self._burst = max(BURST_SECONDS, 1 / rate)
        self._database = database
        self._channel = channel
        self._lanes = {True: _Lane(URGENT_AHEAD_SECONDS, 0.0), False: _Lane(AHEAD_SECONDS, AHEAD_SECONDS / 4)}
        self._numbers = itertools.count()
        self._spare = 0
        self._spare_until = 0.0

    def waiting(self) -> int:
        """Tokens that somebody in this process waits for."""
        return sum(one.most for lane in self._lanes.values() for one in lane.waiting if not one.tokens.done())

    async def take(self, most: int, *, urgent: bool, rank: int, patience: float) -> int:
        """Wait until some of `most` messages may go: how many may now, 0 after `patience` seconds. `rank`: of their tier, 0
        first. Raises what the database raised."""
        lane = self._lanes[urgent]
        one = _Waiting(rank, next(self._numbers), most, asyncio.get_running_loop().create_future())
        heapq.heappush(lane.waiting, one)
        if lane.asking is None or lane.asking.done():
            lane.asking = asyncio.create_task(self._ask(lane))
        try:
            await asyncio.wait([one.tokens], timeout=patience)
        except asyncio.CancelledError:
            if not one.tokens.cancel() and one.tokens.exception() is None:
                self.give_back(one.tokens.result())
            raise
        return 0 if one.tokens.cancel() else one.tokens.result()

    def give_back(self, tokens: int) -> None:
        """What wasn't used, because the gates let fewer through: it serves whoever asks next in this process, while a rested
        channel would have saved it up."""
        now = asyncio.get_running_loop().time()
        self._spare = tokens + (self._spare if now < self._spare_until else 0)
        self._spare_until = now + self._burst

    async def _ask(self, lane: _Lane) -> None:
        """Take tokens and share them out until nobody waits."""
        try:
            while wanted := lane.wanted():
                tokens = self._spared(wanted)
                if not tokens:
                    tokens, wait = await self._lease(wanted, lane)
                    await asyncio.sleep(wait if tokens else min(wait, LOOK_SECONDS))
                left = lane.share(tokens)
                if left:
                    self.give_back(left)
        except Exception as failed:  # noqa: BLE001 - those who wait raise it, each in its own batch
            lane.fail(failed)

    async def _lease(self, wanted: int, lane: _Lane) -> tuple[int, float]:
        wanted = min(wanted, self._worth(BURST_SECONDS + AHEAD_SECONDS))
        return await store.take(
            self._database,
            self._channel,
            self.rate,
            wanted,
            enough=min(wanted, self._worth(lane.enough)),
            ahead=lane.ahead,
            burst=self._burst,
        )

    def _worth(self, seconds: float) -> int:
        return max(1, int(self.rate * seconds))

    def _spared(self, wanted: int) -> int:
        if asyncio.get_running_loop().time() >= self._spare_until:
            self._spare = 0
        tokens = min(wanted, self._spare)
        self._spare -= tokens
        return tokens
