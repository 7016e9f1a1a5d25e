"""The demo's API: the real one, on a free port of this machine, and the one caller it has.

Segment's calls go in as they stand in the sample, with a write key that is made for this run and kept nowhere.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
from pydantic import SecretStr

from engine.app.demo_sample import SOURCE
from engine.app.serving import reach_of, server_of
from engine.app.wiring import Core

BATCH = 200
"""Calls to a request at the most."""


class RefusedCall(Exception):
    """The API didn't take a call of the sample; the message is its answer."""


@dataclass(frozen=True, slots=True)
class Api:
    """A running API. `url`: where it listens."""

    url: str
    client: httpx.AsyncClient

    async def send(self, calls: Sequence[dict[str, Any]]) -> None:
        """POST Segment calls to /v1/batch; on return they are on disk. Raises RefusedCall."""
        for i in range(0, len(calls), BATCH):
            answer = await self.client.post("/v1/batch", json={"batch": list(calls[i : i + BATCH])})
            if answer.status_code != 200:
                raise RefusedCall(f"the API answered {answer.status_code}: {answer.text[:300]}")
            if aside := answer.json().get("quarantined"):
                raise RefusedCall(f"the API put {len(aside)} of {len(calls)} calls aside: {aside[0]['reason']}")


@asynccontextmanager
async def serving(core: Core, temporal_address: str) -> AsyncIterator[Api]:
    """The API over `core` while the block runs."""
    key = secrets.token_urlsafe(24)
    settings = core.settings.model_copy(update={"write_keys": {SOURCE: SecretStr(key)}})
    server, listening = server_of(reach_of(replace(core, settings=settings), temporal_address), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            async with httpx.AsyncClient(base_url=url, auth=(key, ""), timeout=30) as client:
                yield Api(url, client)
        finally:
            server.should_exit = True
            await task
