"""A folder that PostgreSQL's account can reach, also for root: pytest's own are closed to others."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def data() -> Iterator[Path]:
    """An empty folder that others may pass through, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="sojourn-app-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)
