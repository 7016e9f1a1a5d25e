"""Broadcasts and dates where two customers become one, and two again: whoever is one person is reached once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.core.incoming import Incoming
from tests.intake.office import BIRTHDAY, ONCE, Office, journey, office, users

NEW_YEAR = "2026-01-01 00:00"
EITHER = pytest.mark.parametrize(("kept", "gone"), [("ada", "bob"), ("bob", "ada")])


async def number(at: Office, user: str) -> int:
    """A customer's id."""
    [row] = await at.query("select customer_id from identifiers where value = :user", user=user)
    return int(row.customer_id)


async def merge(at: Office, kept: str, gone: str) -> Any:
    """As the command does."""
    return await at.core.intake.merge(await number(at, kept), await number(at, gone), "test")


async def entered(at: Office) -> list[int]:
    """Whose enrollments there are, by our own ids."""
    return [r.customer_id for r in await at.query("select customer_id from enrollments order by id")]


async def begun(at: Office) -> None:
    """A broadcast to Ada and Bob whose audience is found, and nobody of it enrolled."""
    await at.know(users(["ada", "bob"], vip=True))
    await at.deploy(journey(ONCE))
    await at.at("2026-11-30 08:30")
    await at.query("update clock set logical_epoch = '2026-12-01 08:30+00' returning 1")
    assert 1 == await at.work(pages=1)
    assert 2 == len(await at.query("select 1 from broadcast_people"))


@EITHER
async def test_two_of_an_audience_who_become_one_are_reached_once(
    tmp_path: Path, database_url: str, kept: str, gone: str
) -> None:
    """The audience was found when they were two."""
    async with office(tmp_path, database_url, "2026-11-01 00:00") as at:
        await begun(at)
        await merge(at, kept, gone)
        await at.work()
        assert [await number(at, kept)] == await entered(at)


@EITHER
async def test_one_of_two_was_reached_already(tmp_path: Path, database_url: str, kept: str, gone: str) -> None:
    """The first page reaches Ada only; then she and Bob become one, whichever stays: the second page reaches nobody."""
    async with office(tmp_path, database_url, "2026-11-01 00:00") as at:
        await begun(at)
        later = "update broadcast_people set due_at = due_at + interval '1 h' where customer_id = :id returning 1"
        await at.query(later, id=await number(at, "bob"))
        await at.work()
        assert 1 == len(await entered(at))
        await merge(at, kept, gone)
        await at.at("2026-12-01 09:45")
        assert 1 == len(await entered(at))
        assert [("done", 2, 1, 0, 0)] == await at.counts()


async def test_who_is_two_again_before_their_turn_is_reached_as_two(tmp_path: Path, database_url: str) -> None:
    """A merge that is taken back leaves the audience as it was found."""
    async with office(tmp_path, database_url, "2026-11-01 00:00") as at:
        await begun(at)
        made = await merge(at, "ada", "bob")
        await at.core.intake.unmerge(made.id, "test")
        await at.work()
        assert ["ada", "bob"] == await at.who()


async def test_who_only_came_along_goes_again(tmp_path: Path, database_url: str) -> None:
    """Bob is in the audience, Ada isn't: she is reached as one person with him, and isn't once they are two."""
    async with office(tmp_path, database_url, "2026-11-01 00:00") as at:
        await begun(at)
        await at.query("delete from broadcast_people where customer_id = :id returning 1", id=await number(at, "ada"))
        made = await merge(at, "ada", "bob")
        assert [await number(at, "ada")] == [r.customer_id for r in await at.query("select customer_id from broadcast_people")]
        await at.core.intake.unmerge(made.id, "test")
        await at.work()
        assert ["bob"] == await at.who()


async def test_nobody_who_is_somebody_else_now_is_in_an_audience(tmp_path: Path, database_url: str) -> None:
    """Neither under the old id nor twice."""
    async with office(tmp_path, database_url, "2026-11-01 00:00") as at:
        await at.know(users(["ada", "bob"], vip=True))
        await merge(at, "ada", "bob")
        await at.deploy(journey("{schedule: {at: 2026-12-01 09:00, timezone: UTC}, audience: customer.country != 'IT'}"))
        await at.at("2026-12-01 09:00")
        assert [await number(at, "ada")] == await entered(at)
        assert [("done", 1, 1, 0, 0)] == await at.counts()


@EITHER
async def test_a_day_comes_once_a_year_for_two_who_are_one(tmp_path: Path, database_url: str, kept: str, gone: str) -> None:
    """Ada had her birthday in March; Bob's would be in May. From April on they are one, with whichever birthday was said last:
    nothing more comes this year, and one in the next."""
    async with office(tmp_path, database_url, NEW_YEAR) as at:
        await at.know({"ada": {"birthday": "1990-03-10"}, "bob": {"birthday": "1991-05-20"}})
        await at.deploy(journey(BIRTHDAY).replace("{date", "{again: always, while_active: parallel, date"))
        await at.work()
        await at.at("2026-03-11 12:00")
        assert ["ada"] == await at.who()
        await at.at("2026-04-01 12:00")
        await merge(at, kept, gone)
        await at.at("2026-12-31 12:00")
        assert 1 == len(await entered(at))
        await at.at("2027-12-31 12:00")
        assert 2 == len(await entered(at))


async def test_two_again_have_their_own_days(tmp_path: Path, database_url: str) -> None:
    """Bob's day went with the merge and comes back with its end."""
    async with office(tmp_path, database_url, NEW_YEAR) as at:
        await at.know({"ada": {"birthday": "1990-03-10"}, "bob": {"birthday": "1991-05-20"}})
        await at.deploy(journey(BIRTHDAY))
        await at.work()
        made = await merge(at, "ada", "bob")
        await at.core.intake.unmerge(made.id, "test")
        await at.at("2026-12-31 12:00")
        assert ["ada", "bob"] == await at.who()


async def test_an_alias_in_the_middle_of_a_page_reaches_one_person_once(tmp_path: Path, database_url: str) -> None:
    """Anonymous and known, both found; `identify` makes them one before the second page."""
    async with office(tmp_path, database_url, "2026-11-01 00:00") as at:
        await at.know(users(["ada"], vip=True))
        anonymous = Incoming("identify", "test", "a1", traits={"vip": True}, identifiers={"anonymous_id": "x"})
        await at.core.intake.accept([anonymous])
        await at.deploy(journey(ONCE))
        await at.at("2026-11-30 08:30")
        await at.query("update clock set logical_epoch = '2026-12-01 08:30+00' returning 1")
        await at.work(pages=1)
        both = Incoming("identify", "test", "a2", identifiers={"user_id": "ada", "anonymous_id": "x"})
        await at.core.intake.accept([both])
        await at.work()
        assert [await number(at, "ada")] == await entered(at)
