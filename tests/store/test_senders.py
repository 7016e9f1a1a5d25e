"""How senders stand, on the real database: warm-up by day for all workers together, and complaints by counters alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from engine.delivery.warming import quota as as_told
from engine.store import clock as clock_store
from engine.store import planned, senders
from engine.store.database import Connection, Database, connect, run, transaction
from tests.harness import utc

LIMIT = {"above": 0.01, "days": 7, "at_least": 100}


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An engine on the test's database, on the evening of a first of March."""
    made = connect(database_url)
    async with transaction(made) as c:
        await clock_store.begin(c, 1, utc("2026-03-01 20:00"))
        await planned.know_channels(c, {"email": "email", "sms": "phone"})
        await senders.know_limits(c, {"email": LIMIT, "sms": None})
    yield made
    await made.dispose()


async def at(c: Connection, moment: str) -> None:
    """Move the logical clock."""
    await run(c, "update clock set real_epoch = clock_timestamp(), logical_epoch = :at", at=utc(moment))


async def take(database: Database, others: int, urgent: int = 0, *, sender: str = "", full: int | None = None) -> int:
    """How many of `others` may go on "email": 10 on the first day, twice as many every second one."""
    told = await senders.take_warm(database, "email", sender, urgent=urgent, others=others, start=10, double=2, full=full)
    return int(told.granted)


async def test_many_workers_never_take_more_than_a_day_has(database: Database) -> None:
    """Twenty at once get the day's ten; what is given back is there again; who may not wait goes, and counts."""
    assert 10 == sum(await asyncio.gather(*(take(database, 1) for _ in range(20))))
    assert (0, 0) == (await take(database, 5, urgent=3), await take(database, 1))
    await senders.give_back(database, "email", "", 0, 5)
    assert 2 == await take(database, 5)
    await senders.give_back(database, "email", "", 7, 5)  # of another day
    assert 0 == await take(database, 5)
    assert 10 == await take(database, 50, sender="a new address")
    assert (3, 0) == (await take(database, 50, urgent=7, sender="another"), await take(database, 50, sender="another"))
    assert 0 == await take(database, 5, urgent=12, sender="a third")


async def test_each_day_has_more_until_there_is_no_limit(database: Database) -> None:
    """Days are UTC's. What a day didn't use is lost; the quota grows with the days, not with what went."""
    assert 10 == await take(database, 50)
    grown = {"2026-03-02 00:00": 14, "2026-03-03 23:59": 20, "2026-03-05 12:00": 40, "2026-03-11 12:00": 320}
    for moment, quota in grown.items():
        async with transaction(database) as c:
            await at(c, moment)
        assert (moment, quota) == (moment, await take(database, 10_000))
        told = await senders.take_warm(database, "email", "", urgent=0, others=1, start=10, double=2, full=None)
        assert (quota, told.quota) == (as_told(10, 2, told.day), as_told(10, 2, told.day)), "a simulation counts the same"
        assert (utc(f"{moment[:10]} 00:00"), 0, 1) == (told.begins, told.granted, (told.ends - told.begins).days)
    async with transaction(database) as c:
        await at(c, "2026-03-13 12:00")
    assert 10_000 == await take(database, 10_000, full=640)
    async with transaction(database) as c:
        await at(c, "2036-03-13 12:00")
    assert 10_000 == await take(database, 10_000), "no number is too large"


async def test_a_channel_rests_from_the_complaint_on_that_is_one_too_many(database: Database) -> None:
    """Not before enough was sent, not at the limit, and once; complaints of long ago and of channels without a limit don't count.
    Lifting it begins anew."""
    async with transaction(database) as c:
        await senders.count_sent(c, "email", 99)
        assert [] == await senders.complained(c, {"email": 50})
        await at(c, "2026-03-08 01:00")  # a week later: all of that is over
        await senders.count_sent(c, "email", 300)
        await senders.count_sent(c, "email", 0)
        assert [] == await senders.complained(c, {"email": 3, "sms": 1000, "fax": 7})
        assert [] == await senders.rests(c)
        (begun,) = await senders.complained(c, {"email": 1})
        assert ("email", 300, 4, 7) == tuple(begun)
        assert [] == await senders.complained(c, {"email": 100}), "it rests already"
        assert ["email"] == [r.channel for r in await senders.rests(c)]
        (email, sms) = await senders.listing(c)
        assert (300, 104, True, None) == (email.sent, email.complained, email.since is not None, sms.since)
        assert 4 == (await senders.end_rest(c, "email")).complained  # type: ignore[union-attr]  # it rested
        assert await senders.end_rest(c, "email") is None
        assert (0, 0) == ((await senders.listing(c))[0].sent, (await senders.listing(c))[0].complained)
