"""Several sources: each with its rate, which all API processes share, and its counters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.settings.project import SourceSettings
from engine.store import sources
from engine.store.database import connect, transaction
from tests.api.conftest import OPERATOR, SETTINGS, Api, error, serving

LIMITED = SETTINGS.model_copy(update={"sources": {"website": SourceSettings.model_validate({"rate": "20/s"})}})
BACKEND = httpx.BasicAuth("wk_backend", "")


def ping(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "track", "userId": "ada", "event": "pinged", "messageId": f"m{number}", **more}


@pytest_asyncio.fixture
async def limited(database_url: str, temporal_address: str, project: Path) -> AsyncIterator[Api]:
    """The API, where `website` may send 20 calls a second."""
    async with serving(database_url, temporal_address, project, LIMITED) as running:
        yield running


async def used_up(api: Api, source: str = "website") -> None:
    """Let a source have used up what it had saved, and a second more."""
    statement = (
        "insert into source_paces (source, free_at, granted) values (:source, clock_timestamp() + interval '1 s', true) "
        "on conflict (source) do update set free_at = excluded.free_at returning 1"
    )
    await api.query(statement, source=source)


async def test_a_source_over_its_rate_is_told_when_to_come_back(limited: Api) -> None:
    """429 with Retry-After, nothing of it taken, other sources untouched; afterwards the same call is taken."""
    await used_up(limited)
    answer = await limited.http.post("/v1/track", json=ping(1))
    assert (429, "rate_limited") == error(answer)
    assert ("1", "1") == (answer.headers["retry-after"], answer.headers["x-ratelimit-reset"])
    assert "20 calls a second" in answer.json()["error"]["message"]
    assert 429 == (await limited.http.post("/v1/batch", json={"batch": [ping(1)]})).status_code
    assert 200 == (await limited.http.post("/v1/track", json=ping(1), auth=BACKEND)).status_code
    await asyncio.sleep(1.05)
    assert 200 == (await limited.http.post("/v1/track", json=ping(1))).status_code
    assert 2 == len(await limited.events())
    assert (1, 0, 0, 2) == await limited.counters()


async def test_a_rested_source_may_send_a_burst_and_a_batch_is_never_split(limited: Api) -> None:
    """What ten seconds bring goes at once; a batch beyond it is taken whole, and is made up for by what comes after."""
    assert 200 == (await limited.http.post("/v1/batch", json={"batch": [ping(n) for n in range(150)]})).status_code
    assert 200 == (await limited.http.post("/v1/batch", json={"batch": [ping(n) for n in range(150, 450)]})).status_code
    answer = await limited.http.post("/v1/track", json=ping(450))
    assert 429 == answer.status_code
    assert 8 <= int(answer.headers["retry-after"]) <= 13
    assert 450 == len(await limited.events())


async def test_processes_share_a_rate(limited: Api, database_url: str, temporal_address: str) -> None:
    """What one process lets in uses up what another has."""
    async with serving(database_url, temporal_address, None, LIMITED) as other:
        await limited.http.post("/v1/batch", json={"batch": [ping(n) for n in range(400)]})
        assert 429 == (await other.http.post("/v1/track", json=ping(400))).status_code


async def test_a_put_back_clock_locks_nobody_out(limited: Api) -> None:
    """A moment that lies further ahead than any debt can is not believed."""
    await used_up(limited)
    await limited.query("update source_paces set free_at = free_at + interval '1 day' returning 1")
    assert 200 == (await limited.http.post("/v1/track", json=ping(1))).status_code


async def test_a_rate_that_is_asked_by_many_at_once_holds(database_url: str) -> None:
    """Of forty racing requests of a source that has saved nothing, one call each two seconds is let in."""
    database = connect(database_url)
    try:
        async with transaction(database) as c:
            await c.exec_driver_sql("insert into source_paces values ('s', clock_timestamp(), true)")
        started = time.monotonic()
        waits = await asyncio.gather(*(sources.admit(database, "s", 0.5, 1) for _ in range(40)))
        taken = time.monotonic() - started
    finally:
        await database.dispose()
    assert 1 <= waits.count(0.0) <= 1 + taken / 2
    assert all(0 < w <= 2.001 for w in waits if w)


async def test_counters_say_what_became_of_calls_and_requests(api: Api) -> None:
    """Accepted, duplicate and put aside count calls; refused counts requests that were turned away whole. Each source its own."""
    batch = [ping(1), ping(1), ping(2), {"type": "track"}, ping(3, properties={"number": "many"})]
    await api.http.post("/v1/batch", json={"batch": batch})
    await api.http.post("/v1/batch", json={"batch": batch})
    assert (2, 4, 4, 0) == await api.counters()
    await api.http.post("/v1/batch", content=b"{")
    await api.http.post("/v1/batch", json={"batch": {}})
    await api.http.post("/v1/track", content=b"x" * 40_000)
    await api.http.post("/v1/track", json={"userId": "ada"})
    assert (2, 4, 5, 3) == await api.counters()
    assert (0, 0, 0, 0) == await api.counters("backend")
    await api.http.post("/v1/track", json=ping(1), auth=BACKEND)
    async with httpx.AsyncClient(base_url=api.http.base_url, headers=OPERATOR) as http:
        await http.post("/v1/batch?history=true&source=backend", json={"batch": [ping(7)]})
    assert (2, 0, 0, 0) == await api.counters("backend")


async def test_counters_outlive_a_database_that_is_away(api: Api, database_url: str) -> None:
    """What can't be written is kept and written with what comes later."""
    nowhere = connect("postgresql://nobody@127.0.0.1:1/none")
    api.reach.tally.add(nowhere, "website", accepted=3)
    await api.reach.tally.write(nowhere)
    await api.http.post("/v1/track", json=ping(1))
    assert (4, 0, 0, 0) == await api.counters()
    await nowhere.dispose()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(st.integers(1, 2500), min_size=1, max_size=6), rate=st.sampled_from([0.1, 7.0, 500.0, 100_000.0]))
async def test_no_source_gets_more_than_its_burst_and_its_rate(database_url: str, calls: list[int], rate: float) -> None:
    """Whatever is asked for in a row: what was let in before the last request is within the burst and what time brought."""
    database = connect(database_url)
    try:
        async with transaction(database) as c:
            await c.exec_driver_sql("delete from source_paces")
        started = time.monotonic()
        let_in = [n for n in calls if await sources.admit(database, "s", rate, n) == 0.0]
        passed = time.monotonic() - started
    finally:
        await database.dispose()
    assert let_in[0] == calls[0]
    assert sum(let_in[:-1]) <= (sources.BURST_SECONDS + passed) * rate + 1e-6
