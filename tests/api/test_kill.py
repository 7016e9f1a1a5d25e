"""`kill -9` of the API in the middle of the work: what was acknowledged is there, the rest is sent again, and nothing twice."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import httpx

from engine.app.deploying import deploy
from engine.authoring.project import load_project
from engine.store.database import connect, fetch, transaction
from tests.api.test_process import start

PEOPLE, BATCH, SENDERS = 2_000, 25, 4


class Server:
    """An API process that can be killed and started again; `address` is where the present one listens."""

    def __init__(self, url: str, temporal_address: str) -> None:
        self.url, self.temporal_address = url, temporal_address
        self.process: subprocess.Popen[str] | None = None
        self.address = ""

    async def begin(self) -> None:
        """Start, and wait until it listens."""
        self.process = start(self.url, self.temporal_address)
        assert self.process.stdout is not None
        port = int(await asyncio.to_thread(self.process.stdout.readline))
        self.address = f"http://127.0.0.1:{port}"

    def kill(self) -> None:
        """`kill -9`."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()


async def send(server: Server, first: int, acknowledged: list[int]) -> None:
    """One sender's share, batch by batch; a batch without an answer is sent again with the same message ids, as clients do."""
    async with httpx.AsyncClient(auth=("wk_website", ""), timeout=10) as http:
        for start_ in range(first, PEOPLE, BATCH * SENDERS):
            people = range(start_, min(start_ + BATCH, PEOPLE))
            batch = [{"type": "track", "event": "signed_up", "userId": f"u{n}", "messageId": f"m{n}"} for n in people]
            while True:
                try:
                    answer = await http.post(f"{server.address}/v1/batch", json={"batch": batch})
                except httpx.HTTPError:
                    await asyncio.sleep(0.1)
                    continue
                assert {"success": True} == answer.json()
                acknowledged.append(start_)
                break


async def test_two_thousand_people_enter_once_although_the_api_is_killed(
    database_url: str, temporal_address: str, project: Path
) -> None:
    """2 000 people enter through two processes, the first killed in the middle: each event and each enrollment is there once."""
    database = connect(database_url)
    await deploy(database, load_project(project, {"email", "sms"}), "test")
    server = Server(database_url, temporal_address)
    await server.begin()
    acknowledged: list[int] = []
    try:
        senders = [asyncio.create_task(send(server, n * BATCH, acknowledged)) for n in range(SENDERS)]
        while len(acknowledged) < PEOPLE // BATCH // 3:
            await asyncio.sleep(0.01)
        server.kill()
        before = len(acknowledged)
        assert before < PEOPLE // BATCH
        await server.begin()
        await asyncio.wait_for(asyncio.gather(*senders), 90)
    finally:
        server.kill()
    async with transaction(database) as c:
        events = await fetch(c, "select count(*), count(distinct customer_id) from events where name = 'signed_up'")
        entered = await fetch(c, "select journey, count(*), count(distinct customer_id) from enrollments group by 1")
    await database.dispose()
    assert (PEOPLE, PEOPLE) == tuple(events[0])
    assert entered
    assert [(r.journey, PEOPLE, PEOPLE) for r in entered] == [tuple(r) for r in entered]
