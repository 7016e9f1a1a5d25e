"""Commands in this process, as `main` runs them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.cli import main, terminal


@dataclass(frozen=True, slots=True)
class Done:
    """What a command said, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """A command in the project; in a thread, because commands have event loops of their own."""
    monkeypatch.setenv("SOJOURN_DATABASE_URL", database_url)
    monkeypatch.setattr(terminal.out, "width", 120)

    async def command(*arguments: str) -> Done:
        capsys.readouterr()
        code = await asyncio.to_thread(main.run, [*arguments, "--project", str(tmp_path)])
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return command
