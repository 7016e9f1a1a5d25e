"""How fast one process hands messages to one channel: a token bucket. It is told the time; only `take` reads a clock.

Each process has its own buckets: with several workers a provider sees the sum.
"""

from __future__ import annotations

import asyncio

BURST_SECONDS = 0.1
"""What a rested bucket holds, in seconds of its rate (at least one message): short, because providers count short windows."""


class Pace:
    """At most `rate_per_second` messages a second over any longer time, plus one burst; None means as fast as they come.

    Over any t seconds at most `rate * (t + BURST_SECONDS)` messages pass (or one, where that is less), counting a group taken at
    once from the moment it is let go. Raises ValueError for a rate that isn't positive."""

    def __init__(self, rate_per_second: float | None) -> None:
        if rate_per_second is not None and not 0 < rate_per_second < float("inf"):
            raise ValueError(f"a rate must be a positive number of messages per second, not {rate_per_second}")
        self.rate = rate_per_second
        self._most = max(1.0, (rate_per_second or 0.0) * BURST_SECONDS)
        self._tokens = self._most
        self._at: float | None = None

    def reserve(self, n: int, now: float) -> float:
        """Take `n` tokens, going into debt where there are fewer; seconds until the debt is paid. `now`: monotonic seconds.

        Whoever reserves first waits the shorter time. A clock that goes back adds no tokens."""
        if self.rate is None:
            return 0.0
        elapsed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now if self._at is None else max(now, self._at)
        self._tokens = min(self._most, self._tokens + elapsed * self.rate) - n
        return max(0.0, -self._tokens / self.rate)

    def give_back(self, n: int) -> None:
        """`n` tokens that were reserved and not used."""
        self._tokens = min(self._most, self._tokens + n)

    async def take(self, n: int = 1) -> None:
        """Wait until `n` messages may go. Cancelled while waiting, it gives them back."""
        wait = self.reserve(n, asyncio.get_running_loop().time())
        if wait > 0:
            try:
                await asyncio.sleep(wait)
            except asyncio.CancelledError:
                self.give_back(n)
                raise
