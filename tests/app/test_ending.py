"""Processes that ran a Temporal worker end with their own exit code, test sessions among them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

WORKED = """
import os
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker


@activity.defn
async def nod() -> str:
    return "yes"


@workflow.defn(sandboxed=False)
class Ask:
    @workflow.run
    async def run(self) -> str:
        from datetime import timedelta
        return await workflow.execute_activity(nod, start_to_close_timeout=timedelta(seconds=5))


async def work(name: str) -> str:
    client = await Client.connect(os.environ["ADDRESS"])
    async with Worker(client, task_queue=name, workflows=[Ask], activities=[nod]):
        return await client.execute_workflow(Ask.run, id=name, task_queue=name)
"""

SESSION = """
import os
from worked import work


async def test_one() -> None:
    assert "yes" == await work(os.environ["NAME"] + "-1")


async def test_two() -> None:
    assert "yes" == await work(os.environ["NAME"] + "-2")


async def test_three() -> None:
    assert os.environ["EXPECT"] == await work(os.environ["NAME"] + "-3")
"""

COMMAND = """
import asyncio, os, sys
from engine.app.ending import end_process
from worked import work

print(asyncio.run(work(os.environ["NAME"])))
end_process(int(os.environ["CODE"]))
"""


def run(folder: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `command` in `folder` with a worker's code beside it."""
    (folder / "worked.py").write_text(WORKED)
    paths = os.pathsep.join([str(ROOT), str(folder)])
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env={**os.environ, "PYTHONPATH": paths, **environ}, capture_output=True, text=True
    )


def sessions(folder: Path, address: str, prefix: str, times: int) -> list[tuple[int, int]]:
    """(expected, actual) exit codes of `times` sessions of three tests, every other one with a test that fails."""
    (folder / "test_three.py").write_text(SESSION)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    codes = []
    for number in range(times):
        expect, code = ("yes", 0) if number % 2 == 0 else ("no", 1)
        options = ("-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "test_three.py")
        done = run(folder, *options, ADDRESS=address, NAME=f"{prefix}-{number}", EXPECT=expect)
        assert ("3 passed" if code == 0 else "1 failed, 2 passed") in done.stdout, done.stdout + done.stderr
        codes.append((code, done.returncode))
    return codes


def commands(folder: Path, address: str, prefix: str, times: int) -> list[tuple[int, int, str]]:
    """(expected exit code, actual one, what it printed) of `times` runs of a command that ran a worker."""
    (folder / "command.py").write_text(COMMAND)
    codes = []
    for number in range(times):
        done = run(folder, "command.py", ADDRESS=address, NAME=f"{prefix}-{number}", CODE=str(number % 3))
        codes.append((number % 3, done.returncode, done.stdout))
    return codes


def test_three_sessions_end_with_their_own_exit_code(tmp_path: Path, temporal_address: str, task_queue_prefix: str) -> None:
    """A session whose tests ran workers ends with 0 when they passed and 1 when one failed, its report printed."""
    codes = sessions(tmp_path, temporal_address, task_queue_prefix, 3)
    assert [expected for expected, _ in codes] == [actual for _, actual in codes]


def test_three_commands_end_with_their_own_exit_code(tmp_path: Path, temporal_address: str, task_queue_prefix: str) -> None:
    """A command that ran a worker ends with the code that it chose, and what it printed is there."""
    codes = commands(tmp_path, temporal_address, task_queue_prefix, 3)
    assert [(n % 3, n % 3, "yes\n") for n in range(3)] == codes


@pytest.mark.nightly
def test_thirty_sessions_end_with_their_own_exit_code(tmp_path: Path, temporal_address: str, task_queue_prefix: str) -> None:
    """Thirty sessions in a row end with their own exit code."""
    codes = sessions(tmp_path, temporal_address, task_queue_prefix, 30)
    assert [expected for expected, _ in codes] == [actual for _, actual in codes]


@pytest.mark.nightly
def test_a_hundred_commands_end_with_their_own_exit_code(tmp_path: Path, temporal_address: str, task_queue_prefix: str) -> None:
    """A hundred commands in a row end with their own exit code."""
    codes = commands(tmp_path, temporal_address, task_queue_prefix, 100)
    assert [(n % 3, n % 3, "yes\n") for n in range(100)] == codes
