"""What each source sent, counted in this process and written to the store about once a second, after the answers.

Nothing decides by these numbers. A process that is killed takes the last second's with it, never an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from engine.observe import metrics
from engine.observe.words import in_a_line
from engine.store import sources
from engine.store.database import Database, transaction

log = logging.getLogger("sojourn.api")

EVERY = 1.0
"""Seconds between two writes."""

WORDS = ("accepted", "duplicate", "quarantined", "refused")
"""What is counted: calls that were taken, had been taken before, were put aside; and requests that were turned away whole."""


@dataclass(slots=True)
class Tally:
    """One process's numbers that aren't written yet."""

    counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    writing: asyncio.Task[None] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add(self, database: Database, source: str, **counted: int) -> None:
        """Count, by WORDS. Costs no time of the database's now."""
        self.counts[source].update({word: n for word, n in counted.items() if n})
        for word, n in counted.items():
            if n:
                metrics.EVENTS.labels(source, word).inc(n)
        if self.writing is None or self.writing.done():
            self.writing = asyncio.create_task(self._later(database))

    async def _later(self, database: Database) -> None:
        await asyncio.sleep(EVERY)
        await self.write(database)

    async def write(self, database: Database) -> None:
        """Write what was counted; what can't be written is kept for the next time."""
        async with self.lock:
            taken, self.counts = self.counts, defaultdict(Counter)
            rows = [{"source": s, **{word: counts[word] for word in WORDS}} for s, counts in sorted(taken.items())]
            try:
                async with transaction(database) as c:
                    await sources.count(c, rows)
            except (SQLAlchemyError, OSError) as error:
                log.warning("the sources' counters can't be written now: %s", in_a_line(error))
                for source, counts in taken.items():
                    self.counts[source].update(counts)
