"""Requests that come at once go through the door together, and none has to answer for another."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import pytest
from psycopg.errors import NumericValueOutOfRange
from sqlalchemy.exc import DataError

from engine.api.errors import Refusal
from engine.api.taking import AT_ONCE, WORTHWHILE, Entrance
from engine.core.incoming import Accepted, Door, Incoming
from engine.store.database import fetch, transaction
from tests.api.conftest import Api


def event(name: str, user: str = "ada") -> Incoming:
    """An event whose message id is `name`."""
    return Incoming("track", "website", name, "pinged", identifiers={"user_id": user})


@dataclass
class Counting:
    """The real door; `taken` says which message ids came together. It can't store what is called `poison`."""

    door: Door
    taken: list[list[str]] = field(default_factory=list)

    async def accept(self, batch: list[Incoming]) -> list[Accepted]:
        ids = [i.message_id for i in batch]
        self.taken.append(ids)
        if "poison" in ids:
            raise DataError("insert", {}, NumericValueOutOfRange("a value that no column holds"))
        return await self.door.accept(batch)


async def test_what_comes_at_once_goes_through_together_and_each_gets_its_answers(api: Api) -> None:
    """Sixty requests take a few transactions; a message that two of them hold is new for one and a duplicate for the other."""
    door = Counting(api.core.intake)
    entrance = Entrance(door)
    requests = [[event(f"m{n}", f"u{n}"), event("shared")] for n in range(60)]
    answers = await asyncio.gather(*(entrance.accept(request) for request in requests))
    assert len(door.taken) < 10
    assert [2] * 60 == [len(answer) for answer in answers]
    assert not any(mine.duplicate for mine, _ in answers)
    assert 59 == sum(shared.duplicate for _, shared in answers)
    assert 61 == (await api.query("select count(*) from events"))[0][0]
    assert not entrance.under_way


async def test_what_cannot_be_stored_is_one_requests_matter(api: Api) -> None:
    """The others that went with it are taken."""
    door = Counting(api.core.intake)
    entrance = Entrance(door)
    names = [*(f"m{n}" for n in range(20)), "poison", *(f"n{n}" for n in range(20))]
    answers = await asyncio.gather(*(entrance.accept([event(name)]) for name in names), return_exceptions=True)
    assert ["poison"] == [name for name, answer in zip(names, answers, strict=True) if isinstance(answer, Exception)]
    assert 40 == (await api.query("select count(*) from events"))[0][0]


async def test_whoever_stands_in_a_lock_holds_up_nobody_who_comes_later(api: Api) -> None:
    """All transactions that may be under way at once wait for one customer; another one's event is taken meanwhile."""
    await api.core.intake.accept([event("first")])
    entrance = Entrance(api.core.intake)
    async with transaction(api.core.database) as c:
        await fetch(c, "select id from customers for update")
        stuck = [asyncio.create_task(entrance.accept([event(f"stuck{n}")])) for n in range(AT_ONCE)]
        await asyncio.sleep(0.1)
        began = time.monotonic()
        assert not (await entrance.accept([event("free", "bob")]))[0].duplicate
        assert time.monotonic() - began < 5
        assert not any(task.done() for task in stuck)
    assert [False] * AT_ONCE == [(await task)[0].duplicate for task in stuck]


async def test_few_calls_share_the_next_transaction_and_many_begin_one_of_their_own(api: Api) -> None:
    """Beside a transaction that is under way."""
    await api.core.intake.accept([event("first")])
    door = Counting(api.core.intake)
    entrance = Entrance(door)
    many = [f"many{n}" for n in range(WORTHWHILE)]
    async with transaction(api.core.database) as c:
        await fetch(c, "select id from customers for update")
        asked = [[event("m0")], [event("m1")], [event("m2")], [event(name, "bob") for name in many]]
        waiting = []
        for batch in asked:
            waiting.append(asyncio.create_task(entrance.accept(batch)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert ["m0"] == door.taken[0]
    assert ["m1", "m2"] == door.taken[1][:2], "nothing began for the two alone"
    assert {"m0", "m1", "m2", *many} == {name for taken in door.taken for name in taken}


async def test_whoever_waits_no_longer_is_not_taken(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is given up before its turn leaves nothing behind; one that is under way is finished."""
    await api.core.intake.accept([event("first")])
    monkeypatch.setattr("engine.api.taking.MOST", AT_ONCE)
    monkeypatch.setattr("engine.api.taking.WORTHWHILE", 1)
    monkeypatch.setattr("engine.api.taking.PATIENCE", 0.3)
    entrance = Entrance(api.core.intake)
    async with transaction(api.core.database) as c:
        await fetch(c, "select id from customers for update")
        waiting = []
        for n in range(5):
            waiting.append(asyncio.create_task(entrance.accept([event(f"m{n}")])))
            await asyncio.sleep(0.05 if n < AT_ONCE else 0)
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert [503] * 5 == [a.status for a in answers if isinstance(a, Refusal)]
    while entrance.under_way:
        await asyncio.sleep(0.01)
    found = {r.message_id for r in await api.query("select message_id from events where message_id like 'm%'")}
    assert found == {f"m{n}" for n in range(AT_ONCE)}
