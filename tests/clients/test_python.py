"""`segment-analytics-python`, as it comes from its package: every call, gzip, limits, and a PostgreSQL that goes away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from segment.analytics.client import Client

from engine.settings.project import SourceSettings
from tests.api.conftest import SETTINGS, Api, serving
from tests.clients.conftest import Stoppable


@asynccontextmanager
async def client(api: Api, **settings: Any) -> AsyncIterator[tuple[Client, list[Any]]]:
    """A client with what went wrong; everything was sent or given up at the end."""
    failures: list[Any] = []

    def failed(error: Exception, batch: Any) -> None:
        failures.append((error, batch))

    made = Client("wk_website", host=api.address, on_error=failed, **{"upload_interval": 0.05, "max_retries": 3, **settings})
    try:
        yield made, failures
    finally:
        await asyncio.to_thread(made.shutdown)


@pytest.mark.parametrize("gzip", [False, True])
async def test_every_call_of_the_client_comes_in(api: Api, gzip: bool) -> None:
    """identify, track, page, screen, group and alias in one go, plain and packed: what each becomes is there, for one person."""
    async with client(api, gzip=gzip) as (segment, failures):
        segment.track(anonymous_id="x1", event="pinged", properties={"number": 3})
        segment.alias(previous_id="x1", user_id="ada")
        segment.identify(42, {"email": "answer@example.com"})
        segment.identify("ada", {"email": "ada@example.com"}, context={"timezone": "Europe/Rome"})
        segment.page("ada", category="Shop", name="Pricing", properties={"path": "/pricing"})
        segment.screen("ada", name="Cart")
        segment.group("ada", "acme", {"plan": "team"})
        segment.track("ada", "signed_up", {"plan": "pro"}, timestamp=datetime.now(UTC) - timedelta(days=2))
    assert [] == failures
    names = {"pinged", "$alias", "$identify", "page", "screen", "$group", "signed_up"}
    assert names == set(await api.events())
    people = await api.query("select id, attributes from customers order by attributes->>'email'")
    about = {"email": "ada@example.com", "timezone": "Europe/Rome", "group_id": "acme", "group": {"plan": "team"}}
    assert [about, {"email": "answer@example.com"}] == [r.attributes for r in people]
    mine = await api.query("select name, properties, occurred_at from events where customer_id = :id", id=people[0].id)
    assert {"pinged", "$alias", "$identify", "page", "screen", "$group", "signed_up"} == {r.name for r in mine}
    (seen,) = [r.properties for r in mine if r.name == "page"]
    assert {"path": "/pricing", "page_name": "Pricing", "category": "Shop"} == seen
    (signed,) = [r.occurred_at for r in mine if r.name == "signed_up"]
    assert abs(datetime.now(UTC) - timedelta(days=2) - signed) < timedelta(minutes=1)
    assert (8, 0, 0, 0) == await api.counters()


async def test_one_call_that_cannot_be_taken_costs_no_other(api: Api) -> None:
    """The client never learns of it, and needn't: it lies in the quarantine, the other 98 are events."""
    async with client(api) as (segment, failures):
        for n in range(98):
            segment.track("ada", "pinged", {"number": n})
        segment.track("ada", "pinged", {"number": "many"})
        segment.track("ada", "pinged", message_id="m" * 600)
    assert [] == failures
    assert (98, 0, 2, 0) == await api.counters()
    reasons = [r.reason for r in await api.query("select reason from quarantine order by reason")]
    assert ["messageId is longer" in reasons[0], "is not an integer" in reasons[1]] == [True, True]


async def test_batches_up_to_the_limit_are_taken(api: Api) -> None:
    """Calls of nearly 32 KB each, in batches of what the client thinks is allowed."""
    async with client(api, upload_interval=1.0) as (segment, failures):
        for n in range(40):
            segment.track("ada", "pinged", {"number": n, "text": "x" * 31_000})
    assert [] == failures
    assert ["pinged"] * 40 == await api.events()


async def test_a_wrong_key_is_told_to_the_program(api: Api) -> None:
    """The client reports a refusal that it can't mend, with what it couldn't send."""
    async with client(api) as (segment, failures):
        for consumer in segment.consumers:
            consumer.write_key = "wk_wrong"
        segment.track("ada", "pinged")
    assert [(401, 1)] == [(error.status, len(batch)) for error, batch in failures]
    assert [] == await api.events()


async def test_a_client_that_is_too_fast_waits_and_loses_nothing(database_url: str, temporal_address: str, project: Any) -> None:
    """Its own answer to 429 is to wait as long as it is told to, and to send again."""
    slow = SETTINGS.model_copy(update={"sources": {"website": SourceSettings.model_validate({"rate": "20/s"})}})
    async with serving(database_url, temporal_address, project, slow) as api:
        async with client(api, upload_size=110, upload_interval=0.3) as (segment, failures):
            for n in range(330):
                segment.track("ada", "pinged", {"number": n}, message_id=f"m{n}")
        assert [] == failures
        assert 330 == len(await api.events())
        assert (await api.counters())[3] >= 1


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it didn't come to that in 30 s")


async def test_a_database_that_stops_and_starts_loses_nothing_of_what_the_client_was_given(
    on_its_own: Api, postgres: Stoppable
) -> None:
    """Before, during and after: every call is there once. While it is away the answer is a 503, which the client tries again."""
    answers: Counter[int] = Counter()

    async def ask() -> None:
        answer = await on_its_own.http.post("/v1/track", json={"userId": "bob", "event": "pinged", "messageId": "probe"})
        answers[answer.status_code] += 1

    async with client(on_its_own, upload_size=20, max_retries=30) as (segment, failures):
        for n in range(300):
            segment.track(f"u{n % 7}", "pinged", {"number": n}, message_id=f"m{n}")
            if n == 100:
                await until(lambda: segment.queue.qsize() < 60)
                await asyncio.to_thread(postgres.stop)
                await ask()
        await asyncio.sleep(0.5)
        await ask()
        await asyncio.to_thread(postgres.start)
        await ask()
    assert ({503: 2, 200: 1}, []) == (dict(answers), failures)
    found = await on_its_own.query("select message_id, count(*) as n from events where message_id <> 'probe' group by 1")
    assert {f"m{n}": 1 for n in range(300)} == {r.message_id: r.n for r in found}
