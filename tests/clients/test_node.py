"""`@segment/analytics-node`, as it comes from its package, where Node is; and, everywhere, the requests that it sends."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Api
from tests.clients.conftest import Stoppable

NODE = Path(__file__).parent / "node"
THERE = shutil.which("node") is not None and (NODE / "node_modules/@segment/analytics-node").exists()
with_node = pytest.mark.skipif(not THERE, reason="needs Node and `npm ci --prefix tests/clients/node`")


@asynccontextmanager
async def sending(api: Api, what: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The client, at work."""
    process = await asyncio.create_subprocess_exec(
        "node",
        "send.mjs",
        api.address,
        "wk_website",
        what,
        cwd=NODE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def said(process: asyncio.subprocess.Process) -> Any:
    """Its last line."""
    out, _ = await asyncio.wait_for(process.communicate(), 90)
    return json.loads(out.decode().splitlines()[-1])


async def one_person_did_it_all(api: Api) -> None:
    """What the calls of the client become is there."""
    names = ["pinged", "$alias", "$identify", "page", "screen", "$group", "signed_up"]
    assert sorted(names) == sorted(await api.events())
    people = await api.query("select attributes from customers")
    about = {"email": "ada@example.com", "timezone": "Europe/Rome", "group_id": "acme", "group": {"plan": "team"}}
    assert [about] == [r.attributes for r in people]
    (signed,) = await api.query("select occurred_at from events where name = 'signed_up'")
    assert abs(datetime.now(UTC) - timedelta(days=2) - signed.occurred_at) < timedelta(minutes=1)
    assert (7, 0, 0, 0) == await api.counters()


@with_node
async def test_every_call_of_the_client_comes_in(api: Api) -> None:
    """identify, track, page, screen, group and alias: what each becomes is there, for one person."""
    async with sending(api, "all") as process:
        assert {"delivered": 7, "wrong": []} == await said(process)
    await one_person_did_it_all(api)


@with_node
async def test_a_database_that_stops_and_starts_loses_nothing_of_what_the_client_was_given(
    on_its_own: Api, postgres: Stoppable
) -> None:
    """Half of the calls before, half while it is away: the client tries again until it is back, and every call is there once."""
    async with sending(on_its_own, "200") as process:
        assert process.stdout is not None
        assert b"half\n" == await asyncio.wait_for(process.stdout.readline(), 60)
        await asyncio.to_thread(postgres.stop)
        answering = asyncio.create_task(said_after(process))
        await asyncio.sleep(1.0)
        await asyncio.to_thread(postgres.start)
        assert {"delivered": 200, "wrong": []} == await answering
    found = await on_its_own.query("select message_id, count(*) as n from events group by 1")
    assert {f"m{n}": 1 for n in range(200)} == {r.message_id: r.n for r in found}


async def said_after(process: asyncio.subprocess.Process) -> Any:
    """Let it go on; its last line."""
    assert process.stdin is not None
    process.stdin.write(b"\n")
    await process.stdin.drain()
    return await said(process)


async def test_the_requests_that_the_client_sends_are_taken(api: Api) -> None:
    """Its literal request: this path, these headers, this body. For machines without Node."""
    sent = datetime.now(UTC)
    stamp = sent.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    shared = {
        "integrations": {},
        "timestamp": stamp,
        "_metadata": {"nodeVersion": "20.20.2", "jsRuntime": "node"},
        "context": {"library": {"name": "@segment/analytics-node", "version": "3.1.0"}},
    }
    library = shared["context"]
    earlier = (sent - timedelta(days=2)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    calls: list[dict[str, Any]] = [
        {"type": "track", "anonymousId": "x1", "event": "pinged", "properties": {"number": 3}},
        {"type": "alias", "previousId": "x1", "userId": "ada"},
        {
            "type": "identify",
            "userId": "ada",
            "traits": {"email": "ada@example.com"},
            "context": {**library, "timezone": "Europe/Rome"},  # type: ignore[dict-item]  # a literal of mixed kinds
        },
        {"type": "page", "userId": "ada", "category": "Shop", "name": "Pricing", "properties": {"path": "/pricing"}},
        {"type": "screen", "userId": "ada", "name": "Cart", "properties": {}},
        {"type": "group", "userId": "ada", "groupId": "acme", "traits": {"plan": "team"}},
        {"type": "track", "userId": "ada", "event": "signed_up", "properties": {}, "timestamp": earlier},
    ]
    batch = [{**shared, "messageId": f"node-next-1772445600000-{n}", **call} for n, call in enumerate(calls)]
    headers = {"Content-Type": "application/json", "User-Agent": "analytics-node-next/latest"}
    answer = await api.http.post("/v1/batch", content=json.dumps({"batch": batch, "sentAt": stamp}), headers=headers)
    assert (200, {"success": True}) == (answer.status_code, answer.json())
    await one_person_did_it_all(api)
