"""Into the door with a limit on how long it may take: an answer means that it is on disk, and no answer hangs for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engine.api.errors import unavailable
from engine.api.reach import Reach
from engine.core.incoming import Accepted, Incoming

PATIENCE = 30.0
"""Seconds that the database gets. A load balancer's own limit is often a minute."""


@asynccontextmanager
async def patiently() -> AsyncIterator[None]:
    """Raise a 503 when what stands inside takes longer than PATIENCE."""
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError:
        raise unavailable("unavailable", f"the database didn't answer within {PATIENCE:.0f} s") from None


async def take(reach: Reach, batch: list[Incoming]) -> list[Accepted]:
    """The door's answers; on return everything is committed. Raises a 503 after PATIENCE: it may have been taken then, or not."""
    async with patiently():
        return await reach.door.accept(batch)
