"""The API as a process of its own: starts, answers, finishes what it does when asked to end, and ends with its own exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from engine.app.deploying import deploy
from engine.authoring.project import load_project
from engine.store.database import connect, fetch, transaction

PROGRAM = """
import sys
from pydantic import SecretStr
from engine.app.serving import run_api
from engine.settings.project import Settings
settings = Settings(write_keys={"website": SecretStr("wk_website")})
run_api(settings, sys.argv[1], sys.argv[2], 0, started=lambda port: print(port, flush=True))
"""


def start(url: str, temporal_address: str) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    environ = {**os.environ, "PYTHONPATH": root}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, temporal_address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )


@pytest.fixture
def process(database_url: str, temporal_address: str) -> Iterator[subprocess.Popen[str]]:
    """A running API."""
    running = start(database_url, temporal_address)
    yield running
    running.kill()
    running.communicate()


async def test_sigterm_lets_a_request_finish_and_the_exit_code_is_0(
    process: subprocess.Popen[str], database_url: str, project: Path
) -> None:
    """An event whose transaction waits when the signal comes is still taken in, acknowledged and counted."""
    assert process.stdout is not None
    port = int(await asyncio.to_thread(process.stdout.readline))
    database = connect(database_url)
    await deploy(database, load_project(project, {"email", "sms"}), "test")
    address = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(base_url=address, auth=("wk_website", ""), timeout=60) as http:
        assert (await http.get("/readyz")).json()["ready"] is True
        await http.post("/v1/identify", json={"userId": "ada"})
        async with transaction(database) as c:
            await c.exec_driver_sql("select 1 from customers for update")
            sent = asyncio.create_task(http.post("/v1/track", content=json.dumps({"userId": "ada", "event": "signed_up"})))
            await asyncio.wait({sent}, timeout=0.7)
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            assert not sent.done()
        assert (await sent).json() == {"success": True}
    assert await asyncio.to_thread(process.wait, 60) == 0
    async with transaction(database) as c:
        assert [r.n for r in await fetch(c, "select count(*) as n from events where name = 'signed_up'")] == [1]
        assert [r.accepted for r in await fetch(c, "select accepted from source_counts")] == [2]
    await database.dispose()


async def test_a_schema_of_another_version_ends_it_with_1_and_says_so(database_url: str, temporal_address: str) -> None:
    """It doesn't serve what it can't store."""
    database = connect(database_url)
    async with transaction(database) as c:
        await fetch(c, "update alembic_version set version_num = '9999' returning 1")
    await database.dispose()
    process = start(database_url, temporal_address)
    _, said = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 1
    assert "schema 9999" in said
