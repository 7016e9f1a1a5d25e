"""What figures need that are measured in one process: a durable PostgreSQL of its own, and the door's time for single events."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from engine.app.postgres import Postgres
from engine.core.incoming import Incoming
from engine.intake.door import Intake
from engine.store.database import Database, at_once, run
from engine.store.schema import migrate


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """The URL of an empty database with this version's schema, on a durable PostgreSQL in the fresh folder `folder`."""
    folder.mkdir(parents=True)
    folder.chmod(0o711)  # the account that runs PostgreSQL for root passes through
    with Postgres.start(folder / "postgres", durable=True) as running:
        migrate(running.url)
        yield running.url


async def maintain(database: Database, *statements: str) -> None:
    """Carry out statements that no transaction may hold (`vacuum analyze events`, `checkpoint`)."""
    async with at_once(database) as c:
        for statement in statements:
            await run(c, statement)


async def event_ms(intake: Intake, events: Sequence[Incoming], uncounted: int) -> float:
    """The median of the milliseconds that each event takes, taken in by itself; the first `uncounted` only warm up."""
    took = []
    for event in events:
        begin = time.perf_counter()
        await intake.accept([event])
        took.append(1_000 * (time.perf_counter() - begin))
    return median(took[uncounted:])
