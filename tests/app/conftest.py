"""A folder that PostgreSQL's account can reach, also for root (pytest's own are closed to others), and a project for imports."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from engine.app.deploying import deploy
from engine.app.wiring import open_core
from engine.authoring.project import load_project
from engine.settings.project import Settings
from tests.app.files import FILES, Office
from tests.harness import write_project


@pytest.fixture
def data() -> Iterator[Path]:
    """An empty folder that others may pass through, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="sojourn-app-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest_asyncio.fixture
async def office(tmp_path: Path, database_url: str) -> AsyncIterator[Office]:
    """A project with a journey that begins with `signed_up`, and a folder."""
    project = write_project(tmp_path / "project", FILES)
    async with open_core(Settings(), database_url) as core:
        await deploy(core.database, load_project(project, {"email", "sms"}), "test")
        yield Office(core, tmp_path)
