"""A real API on loopback over a fresh database, with a project deployed: uvicorn in this process, httpx outside of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy.engine import Row

from engine.api.reach import Reach
from engine.app.deploying import deploy
from engine.app.serving import reach_of, server_of
from engine.app.wiring import Core, open_core
from engine.authoring.project import load_project
from engine.delivery.channel import Channel
from engine.settings.project import Settings, TokenSettings
from engine.store.database import fetch, transaction
from tests.harness import write_project

WELCOME = """
journey: welcome
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - wait: 1d
  - send: email
    id: hello
    template: hello
    topic: news
"""

INVITED = """
journey: invited
tier: lifecycle
enter: {api: true, again: never}
steps:
  - wait: 1d
"""

ORDERED = """
journey: ordered
tier: lifecycle
enter:
  - {api: true, key: order_id}
  - {event: confirmed, key: order_id}
steps:
  - wait: 1d
"""

PROJECT = {"journeys/welcome.yaml": WELCOME, "journeys/invited.yaml": INVITED, "journeys/ordered.yaml": ORDERED}

ROLES = ("author", "operator", "analyst", "privacy", "source")
SETTINGS = Settings(
    project="test-co",
    write_keys={"website": SecretStr("wk_website"), "backend": SecretStr("wk_backend")},
    tokens={role: TokenSettings(token=SecretStr(f"token_{role}"), role=role) for role in ROLES},
)
OPERATOR = {"Authorization": "Bearer token_operator"}


@dataclass(slots=True)
class Api:
    """A running API. `http`: a client with the write key of the source `website`."""

    core: Core
    http: httpx.AsyncClient
    reach: Reach

    async def query(self, statement: str, **values: Any) -> Sequence[Row[Any]]:
        """Rows straight from the store, over a connection of its own."""
        async with transaction(self.core.database) as c:
            return await fetch(c, statement, **values)

    async def events(self) -> list[str]:
        """Names of all stored events, in order."""
        return [r.name for r in await self.query("select name from events order by id")]

    @property
    def address(self) -> str:
        """http://host:port."""
        return str(self.http.base_url).rstrip("/")

    async def counters(self, source: str = "website") -> tuple[int, ...]:
        """What this source sent so far: accepted, duplicate, quarantined, refused."""
        await self.reach.tally.write(self.core.database)
        words = "accepted, duplicate, quarantined, refused"
        found = await self.query(f"select {words} from source_counts where source = :source", source=source)
        return tuple(found[0]) if found else (0, 0, 0, 0)


@asynccontextmanager
async def serving(
    url: str,
    temporal_address: str,
    project: Path | None,
    settings: Settings = SETTINGS,
    channels: Mapping[str, Channel] | None = None,
) -> AsyncIterator[Api]:
    """The API over the database at `url`; nothing is deployed where `project` is None. `channels`: whose providers may call."""
    async with open_core(settings, url) as core:
        if project is not None:
            await deploy(core.database, load_project(project, {"email", "sms"}), "test")
        reach = reach_of(core, temporal_address, channels)
        server, listening = server_of(reach, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        running = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            async with httpx.AsyncClient(base_url=address, auth=("wk_website", ""), timeout=60) as http:
                for _ in range(600):
                    if server.started:
                        break
                    await asyncio.sleep(0.05)
                yield Api(core, http, reach)
        finally:
            server.should_exit = True
            await running
            if reach.tally.writing is not None:
                reach.tally.writing.cancel()  # else it writes into the database when another test has it


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder with three journeys: by event, by a call, by both with a key."""
    return write_project(tmp_path, PROJECT)


@pytest_asyncio.fixture
async def api(database_url: str, temporal_address: str, project: Path) -> AsyncIterator[Api]:
    """The API with the project deployed."""
    async with serving(database_url, temporal_address, project) as running:
        yield running


@pytest_asyncio.fixture
async def bare(database_url: str, temporal_address: str) -> AsyncIterator[Api]:
    """The API with nothing deployed."""
    async with serving(database_url, temporal_address, None) as running:
        yield running


def error(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, whose body must have the one shape and give nothing of our insides away."""
    body = answer.json()
    assert list(body) == ["error"]
    assert sorted(body["error"]) == ["code", "hint", "message"]
    assert "Traceback" not in answer.text
    return answer.status_code, body["error"]["code"]
