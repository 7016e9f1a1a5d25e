"""Segment's own clients, unmodified, against a running API."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from engine.app.postgres import Postgres
from engine.store.schema import migrate
from tests.api.conftest import PROJECT, Api, serving
from tests.harness import write_project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project of `tests/api`."""
    return write_project(tmp_path, PROJECT)


@pytest_asyncio.fixture
async def api(database_url: str, temporal_address: str, project: Path) -> AsyncIterator[Api]:
    """A running API with the project deployed; its write key is `wk_website`."""
    async with serving(database_url, temporal_address, project) as running:
        yield running


@dataclass(slots=True)
class Stoppable:
    """A PostgreSQL of its own that can be stopped and started again, on the same port."""

    folder: Path
    running: Postgres | None = field(default=None)

    def start(self) -> str:
        """Start it; its URL."""
        self.running = Postgres.start(self.folder)
        return self.running.url

    def stop(self) -> None:
        """Stop it in order, if it runs."""
        if self.running is not None:
            self.running.stop()
        self.running = None


@pytest.fixture
def postgres() -> Iterator[Stoppable]:
    """A PostgreSQL that runs, migrated, in a folder that its account can reach."""
    folder = Path(tempfile.mkdtemp(prefix="sojourn-clients-"))
    folder.chmod(0o711)
    server = Stoppable(folder / "postgres")
    migrate(server.start())
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest_asyncio.fixture
async def on_its_own(
    postgres: Stoppable, temporal_address: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Api]:
    """A running API over `postgres`. A 503 says to come back in a second, so that the tests needn't wait for five."""
    monkeypatch.setattr("engine.api.errors.RETRY_AFTER", 1)
    assert postgres.running is not None
    async with serving(postgres.running.url, temporal_address, project) as running:
        yield running
