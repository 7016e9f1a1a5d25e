"""The bucket of tokens that all workers share, on the real database. Time is made to pass by moving what the database keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from engine.delivery.pacing import AHEAD_SECONDS, BURST_SECONDS, Pace
from engine.store import pacing as store
from engine.store.database import Database, connect, fetch, run, transaction

SLOW = 0.01
"""A token in 100 seconds: how long a statement takes is of no account."""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An engine on the test's database."""
    made = connect(database_url)
    yield made
    await made.dispose()


async def passes(database: Database, seconds: float) -> None:
    """Let `seconds` pass for the channel "email"."""
    async with transaction(database) as c:
        await run(c, "update paces set free_at = free_at - make_interval(secs => :s) where channel = 'email'", s=seconds)


async def clock(database: Database) -> datetime:
    """The database's clock."""
    async with transaction(database) as c:
        moment: datetime = (await fetch(c, "select clock_timestamp()"))[0][0]
    return moment


async def ask(database: Database, rate: float, wanted: int, *, ahead: float = 0.0, enough: int = 1) -> tuple[int, float]:
    """One statement for the channel "email"."""
    burst = max(BURST_SECONDS, 1 / rate)
    return await store.take(database, "email", rate, wanted, enough=enough, ahead=ahead, burst=burst)


async def test_a_rested_channel_has_one_burst_and_then_its_rate(database: Database) -> None:
    """A rested channel lets one message go at once at a slow rate; the next has to be waited for, and comes in its time."""
    assert (1, 0.0) == await ask(database, SLOW, 5)
    tokens, wait = await ask(database, SLOW, 5)
    assert (0, pytest.approx(100, abs=20)) == (tokens, wait)
    await passes(database, 105)
    assert (1, 0.0) == await ask(database, SLOW, 5)
    await passes(database, 100_000)
    assert (1, 0.0) == await ask(database, SLOW, 5), "a day's rest saves up one burst only"


async def test_tokens_taken_ahead_say_when_they_are_due(database: Database) -> None:
    """What is taken beforehand may go when its time has come, and no later."""
    await ask(database, SLOW, 1)
    await passes(database, 70)
    tokens, wait = await ask(database, SLOW, 1, ahead=60)
    assert 1 == tokens
    assert 5 < wait <= 30


async def test_who_may_take_further_ahead_goes_first(database: Database) -> None:
    """The next token is a while away: it isn't given to whoever may not take so far ahead, and is to whoever may. From then on
    the others wait for the one after it."""
    await ask(database, SLOW, 1)
    await passes(database, 60)
    assert 0 == (await ask(database, SLOW, 1))[0]
    assert 1 == (await ask(database, SLOW, 1, ahead=60))[0]
    tokens, wait = await ask(database, SLOW, 1)
    assert 0 == tokens
    assert wait > 100


async def test_too_few_are_none(database: Database) -> None:
    """Where there are fewer than `enough`, nothing is taken, and the wait is until there are so many."""
    await ask(database, 0.5, 20, ahead=50)
    tokens, wait = await ask(database, 0.5, 50, ahead=50, enough=15)
    assert 0 == tokens
    assert 0 < wait <= 18.1
    await passes(database, wait)
    assert 15 <= (await ask(database, 0.5, 50, ahead=50, enough=15))[0]


async def test_a_worker_that_died_with_its_tokens_is_in_nobodys_way(database: Database, database_url: str) -> None:
    """Tokens that were taken and never used are gone with their time: the next ones come when they would have come."""
    dead = connect(database_url)
    assert (1, 0.0) == await ask(dead, SLOW, 1)
    await dead.dispose()
    await passes(database, 100)
    assert (1, 0.0) == await ask(database, SLOW, 1)


async def test_a_clock_that_was_put_back_stops_nobody_for_long(database: Database) -> None:
    """What the database wrote under a clock that was a day ahead delays messages by a minute at the most."""
    await ask(database, 1.0, 1)
    await passes(database, -86_400)
    tokens, wait = await ask(database, 1.0, 1)
    assert 0 == tokens
    assert wait <= store.LONGEST_SECONDS + 1


async def test_channels_have_their_own(database: Database) -> None:
    """What one channel used up is no other's."""
    await ask(database, SLOW, 1)
    assert 1 == (await store.take(database, "sms", SLOW, 1, enough=1, ahead=0.0, burst=100.0))[0]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asks=st.lists(
        st.tuples(st.floats(0, 300), st.integers(1, 12), st.sampled_from([0.0, 5.0, 50.0]), st.integers(1, 4)),
        min_size=1,
        max_size=15,
    )
)
async def test_never_faster_than_the_rate(database: Database, asks: list[tuple[float, int, float, int]]) -> None:
    """Whoever asks when, for how many, how far ahead: up to the moment at which any of them may go there are no more than the
    burst and the rate times the time passed; and nobody waits for longer than what is ahead."""
    rate = 0.1
    async with transaction(database) as c:
        await run(c, "delete from paces")
    began, passed, taken = await clock(database), 0.0, 0
    for pause, wanted, ahead, enough in asks:
        await passes(database, pause)
        passed += pause
        tokens, wait = await ask(database, rate, wanted, ahead=ahead, enough=min(enough, wanted))
        real = (await clock(database) - began).total_seconds()
        assert 0 <= tokens <= wanted
        assert tokens == 0 or tokens >= min(enough, wanted)
        assert wait <= (ahead if tokens else store.LONGEST_SECONDS + enough / rate)
        taken += tokens
        assert tokens == 0 or taken <= max(1.0, rate * BURST_SECONDS) + rate * (passed + real + wait) + 1e-3


async def test_two_processes_share_one_rate(database: Database, database_url: str) -> None:
    """Two that each want all they can get have together what the rate allows in the time that it took them."""
    other, rate, each = connect(database_url), 200.0, 120
    began = await clock(database)

    async def work(on: Database) -> None:
        pace, left = Pace(on, "email", rate), each
        while left:
            left -= await pace.take(left, urgent=False, rank=0, patience=30)

    await asyncio.gather(work(database), work(other))
    seconds = (await clock(database) - began).total_seconds()
    await other.dispose()
    assert 2 * each <= rate * (seconds + BURST_SECONDS + AHEAD_SECONDS)


async def test_an_urgent_message_waits_for_no_broadcast(database: Database) -> None:
    """Forty ordinary messages wait, two seconds' worth. One that is urgent comes last and goes among the first."""
    pace, went = Pace(database, "email", 20.0), list[str]()

    async def one(name: str, urgent: bool) -> None:
        assert 1 == await pace.take(1, urgent=urgent, rank=0, patience=60)
        went.append(name)

    waiting = [asyncio.create_task(one("promotion", False)) for _ in range(40)]
    while not went:
        await asyncio.sleep(0.01)
    await one("reset", True)
    assert went.index("reset") < 20
    await asyncio.gather(*waiting)
    assert 41 == len(went)


async def test_the_next_token_is_for_the_urgent(database: Database) -> None:
    """At a token in two seconds, ordinary messages wait for the next one. One that is urgent comes after them and gets it."""
    pace, went = Pace(database, "email", 0.5), list[str]()
    assert 1 == await pace.take(1, urgent=False, rank=0, patience=60)

    async def one(name: str, urgent: bool) -> None:
        if await pace.take(1, urgent=urgent, rank=0, patience=60):
            went.append(name)

    waiting = [asyncio.create_task(one("promotion", False)) for _ in range(5)]
    while len(pace._lanes[False].waiting) < 5:
        await asyncio.sleep(0)
    await one("reset", True)
    assert ["reset"] == went
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_each_lane_asks_for_its_part(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Urgent messages ask further ahead than the others and take what there is; the others leave it until a block is there.
    Neither takes more at once than a rested channel has."""
    asked: dict[bool, tuple[int, int, float]] = {}
    real = store.take
    for urgent in (False, True):

        async def noting(*values: Any, urgent: bool = urgent, **named: Any) -> tuple[int, float]:
            asked[urgent] = (values[3], named["enough"], named["ahead"])
            return await real(*values, **named)

        monkeypatch.setattr(store, "take", noting)
        assert 0 < await Pace(database, "email", 1000.0).take(5000, urgent=urgent, rank=0, patience=60)
    (wanted, enough, ahead), (wanted_too, one, further) = asked[False], asked[True]
    assert int(1000 * (BURST_SECONDS + AHEAD_SECONDS)) == wanted == wanted_too
    assert (1, True) == (one, 1 < enough < 1000 * AHEAD_SECONDS)
    assert further >= 2 * ahead == 2 * AHEAD_SECONDS


async def test_higher_tiers_wait_for_no_lower_ones(database: Database) -> None:
    """Of those who wait in one lane of a process the higher rank goes first, and within a rank who came first."""
    pace, went = Pace(database, "email", 100.0), list[int]()

    async def one(number: int, rank: int) -> None:
        await pace.take(1, urgent=False, rank=rank, patience=60)
        went.append(number)

    await asyncio.gather(*(one(i, 3 if i < 10 else 2) for i in range(20)))
    assert [*range(10, 20), *range(10)] == went


async def test_patience_ends(database: Database) -> None:
    """Who gets nothing in the time that it has is told so, and takes nothing with it."""
    pace = Pace(database, "email", SLOW)
    assert 1 == await pace.take(3, urgent=True, rank=0, patience=60)
    assert 0 == await pace.take(3, urgent=True, rank=0, patience=0.01)
    await passes(database, 105)
    assert (1, 0.0) == await ask(database, SLOW, 5)


async def test_what_was_not_used_serves_the_next(database: Database) -> None:
    """Tokens of messages that the gates kept back go to whoever asks next in the process; after a while they are gone."""
    pace = Pace(database, "email", SLOW)
    assert 1 == await pace.take(1, urgent=False, rank=0, patience=60)
    pace.give_back(1)
    assert 1 == await pace.take(1, urgent=False, rank=0, patience=60)
    pace.give_back(1)
    pace._spare_until -= 1 / SLOW
    assert 0 == await pace.take(1, urgent=False, rank=0, patience=0.01)


async def test_who_is_cancelled_gives_back(database: Database) -> None:
    """A batch that is cancelled in the moment in which it gets its tokens leaves them to the next."""
    pace = Pace(database, "email", SLOW)
    waiting = asyncio.create_task(pace.take(1, urgent=False, rank=0, patience=60))
    while not pace._lanes[False].waiting:
        await asyncio.sleep(0)
    given = pace._lanes[False].waiting[0].tokens
    given.add_done_callback(lambda _: waiting.cancel())
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    assert 1 == await pace.take(1, urgent=True, rank=0, patience=60)


async def test_a_database_that_fails_is_told_to_everybody(database: Database) -> None:
    """Nobody waits for tokens that nobody can take; when it works again, they are given."""
    async with transaction(database) as c:
        await run(c, "alter table paces rename to gone")
    pace = Pace(database, "email", 100.0)
    answers = await asyncio.gather(*(pace.take(1, urgent=False, rank=0, patience=60) for _ in range(3)), return_exceptions=True)
    assert [True] * 3 == [isinstance(a, DBAPIError) for a in answers]
    async with transaction(database) as c:
        await run(c, "alter table gone rename to paces")
    assert 1 == await pace.take(1, urgent=False, rank=0, patience=60)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_impossible_rates(rate: float) -> None:
    """A rate that isn't a positive number is an error."""
    with pytest.raises(ValueError, match="positive"):
        Pace(connect("postgresql://localhost/none"), "email", rate)
