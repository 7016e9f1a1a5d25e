"""Waiting for PostgreSQL's notifications, so that nothing has to poll to be quick."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg

from engine.store.database import sqlalchemy_url

RETRY_SECONDS = 1.0
"""After a lost connection; whoever waits also looks by itself now and then, so a missed notification costs a second."""


async def listen(url: str, channels: Sequence[str], heard: asyncio.Event) -> None:
    """Set `heard` with every notification on `channels`, until cancelled; reconnects for ever."""
    plain = sqlalchemy_url(url).replace("postgresql+psycopg://", "postgresql://", 1)
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(plain, autocommit=True, connect_timeout=5)
            async with connection:
                for channel in channels:
                    await connection.execute(f'listen "{channel}"'.encode())
                heard.set()
                async for _ in connection.notifies():
                    heard.set()
        except psycopg.Error:
            await asyncio.sleep(RETRY_SECONDS)
