"""Entries by date against a real PostgreSQL: once a year, in everybody's own zone, followed wherever attribute and zone go."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from engine.intake import fan_out as module
from tests.harness import utc
from tests.intake.office import BIRTHDAY, journey, office


async def test_a_birthday_comes_once_a_year(tmp_path: Path, database_url: str) -> None:
    """Over three years, for a leap day too; whoever gets a birthday later is planned for as it becomes known."""
    async with office(tmp_path, database_url, "2026-01-01 00:00") as at:
        rome = {"timezone": "Europe/Rome"}
        await at.know({"ada": {"birthday": "1990-05-03", **rome}, "leap": {"birthday": "2000-02-29", **rome}, "none": rome})
        await at.deploy(journey(BIRTHDAY))
        await at.work()
        await at.know({"late": {"birthday": "1980-05-03", **rome}})
        for year in (2026, 2027, 2028):
            for day in ("02-28 08:00", "02-29 08:00", "05-03 06:59", "05-03 07:00", "05-03 12:00", "12-31 12:00"):
                if day.startswith("02-29") and year != 2028:
                    continue
                await at.at(f"{year}-{day}")
                await at.query(
                    "update enrollments set status = 'ended', ended_at = sojourn_now() where status = 'live' returning 1"
                )
        told = Counter((u, t.strftime("%Y-%m-%d")) for u, t in await at.entries())
        days = {"ada": "05-03", "late": "05-03"}
        expected = Counter((u, f"{y}-{d}") for u, d in days.items() for y in (2026, 2027, 2028))
        assert expected + Counter([("leap", "2026-02-28"), ("leap", "2027-02-28"), ("leap", "2028-02-29")]) == told


async def test_who_moves_keeps_the_day_and_nobody_has_it_twice(tmp_path: Path, database_url: str) -> None:
    """Eastwards, past nine o'clock there: at once. Westwards after it has come: not again. A new birthday in the same year:
    next year."""
    async with office(tmp_path, database_url, "2026-05-01 00:00") as at:
        people = {"east": "America/New_York", "west": "Asia/Tokyo", "stays": "Asia/Tokyo", "wrong": "Asia/Tokyo"}
        await at.know({u: {"birthday": "1990-05-03", "timezone": z} for u, z in people.items()})
        await at.deploy(journey(BIRTHDAY))
        await at.work()
        await at.at("2026-05-03 00:00")
        assert ["stays", "west", "wrong"] == sorted(await at.who())
        await at.at("2026-05-03 08:00")
        await at.know({"east": {"timezone": "Europe/Rome"}, "west": {"timezone": "Pacific/Honolulu"}})
        await at.know({"wrong": {"birthday": "1990-06-03"}})
        await at.work()
        await at.query("update enrollments set status = 'ended', ended_at = sojourn_now() returning 1")
        await at.at("2026-05-03 20:00")
        await at.at("2026-06-03 20:00")
        assert Counter({"east": 1, "west": 1, "stays": 1, "wrong": 1}) == Counter(await at.who())
        await at.at("2027-06-03 20:00")
        assert ("wrong", 2) == next((u, n) for u, n in Counter(await at.who()).items() if u == "wrong")


async def test_a_date_that_is_no_anniversary_comes_once_and_follows_the_attribute(tmp_path: Path, database_url: str) -> None:
    """Ninety days before a contract ends; moved, it moves; taken away, it is gone; entered late, `on_past` decides."""
    enter = "{date: customer.renews_on, offset: -90d, on_past: enter}"
    async with office(tmp_path, database_url, "2026-05-01 12:00") as at:
        await at.know({u: {"renews_on": "2026-09-01"} for u in ("ada", "moved", "gone")})
        await at.deploy(journey(enter))
        await at.work()
        await at.know({"moved": {"renews_on": "2026-10-01"}, "gone": {"renews_on": None}, "late": {"renews_on": "2026-06-01"}})
        await at.work()
        assert ["late"] == await at.who()
        await at.at("2026-06-03 09:00")
        assert ["ada", "late"] == sorted(await at.who())
        await at.at("2026-07-03 09:00")
        assert ["ada", "late", "moved"] == sorted(await at.who())
        await at.at("2026-12-31 09:00")
        assert 3 == len(await at.who())
        assert [] == await at.query("select 1 from broadcast_people")


async def test_another_rule_begins_anew_and_nobody_has_two_in_a_year(tmp_path: Path, database_url: str) -> None:
    """The hour is changed after some had their day: they don't have it again; the others have it at the new hour. A journey
    that is taken out stops, and goes on when it is back."""
    async with office(tmp_path, database_url, "2026-05-01 00:00") as at:
        await at.know({"ada": {"birthday": "1990-05-03"}, "bob": {"birthday": "1990-05-05"}, "cyd": {"birthday": "1990-05-09"}})
        await at.deploy(journey(BIRTHDAY))
        await at.work()
        await at.at("2026-05-03 10:00")
        await at.deploy(journey(BIRTHDAY.replace("09:00", "18:00")))
        await at.query("update enrollments set status = 'ended', ended_at = sojourn_now() returning 1")
        await at.at("2026-05-05 10:00")
        assert ["ada"] == await at.who()
        await at.at("2026-05-05 18:00")
        assert ["ada", "bob"] == await at.who()
        await at.deploy(journey("{event: signed_up, again: always}"))
        await at.at("2026-05-06 10:00")
        assert [] == await at.query("select 1 from broadcast_people")
        await at.deploy(journey(BIRTHDAY.replace("09:00", "18:00")))
        await at.work()
        await at.at("2026-05-09 18:00")
        assert ["ada", "bob", "cyd"] == await at.who()


async def test_a_page_of_new_birthdays_costs_no_query_each(tmp_path: Path, database_url: str) -> None:
    """The door plans for a batch of 200 in as many statements as for one."""
    async with office(tmp_path, database_url, "2026-05-01 00:00") as at:
        await at.deploy(journey(BIRTHDAY))
        await at.work()

        async def statements(people: dict[str, dict[str, Any]]) -> int:
            count = 0

            def counted(*_: Any) -> None:
                nonlocal count
                count += 1

            engine = at.core.database.sync_engine
            event.listen(engine, "before_cursor_execute", counted)
            try:
                await at.know(people)
            finally:
                event.remove(engine, "before_cursor_execute", counted)
            return count

        one = await statements({"first": {"birthday": "1990-05-03"}})
        many = await statements({f"u{i}": {"birthday": "1990-05-03"} for i in range(200)})
        assert one == many


async def test_entries_in_another_order_are_the_same_entries(tmp_path: Path, database_url: str) -> None:
    """Two entries by one attribute, ninety and sixty days before, each come once, also where a third is written above them
    meanwhile and the journey is deployed again."""
    two = "{date: customer.renews_on, offset: -90d, if: customer.vip}, {date: customer.renews_on, offset: -60d}"
    async with office(tmp_path, database_url, "2026-05-01 12:00") as at:
        await at.know({"ada": {"renews_on": "2026-09-01", "vip": True}})
        await at.deploy(journey(f"[{two}]"))
        await at.work()
        await at.at("2026-06-03 09:00")
        await at.query("update enrollments set status = 'ended', ended_at = sojourn_now() returning 1")
        await at.deploy(journey(f"[{{event: signed_up, again: always}}, {two}]"))
        await at.at("2026-06-04 09:00")
        assert 1 == len(await at.who())
        await at.at("2026-07-03 09:00")
        assert ["2026-06-03", "2026-07-03"] == [t.strftime("%Y-%m-%d") for _, t in await at.entries()]


async def test_who_changes_while_the_day_is_under_way_has_it_once(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages are turned while the same people move from zone to zone and back: nobody waits for anybody for ever, and nobody
    is left out or comes twice."""
    monkeypatch.setattr(module, "BATCH", 7)
    zones = ["Europe/Rome", "Asia/Tokyo", "Europe/Paris", "UTC"]
    async with office(tmp_path, database_url, "2026-05-02 00:00") as at:
        everyone = [f"u{i:02}" for i in range(40)]
        await at.know({u: {"birthday": "1990-05-03"} for u in everyone})
        await at.deploy(journey(BIRTHDAY))
        await at.work()
        await at.query(
            "update clock set real_epoch = clock_timestamp(), logical_epoch = :at returning 1", at=utc("2026-05-03 12:00")
        )

        async def travel(first: int) -> None:
            for step in range(6):
                await at.know({u: {"timezone": zones[(step + first) % 4], "n": f"{first}/{step}"} for u in everyone[first::3]})

        await asyncio.gather(at.work(), *(travel(n) for n in range(3)))
        await at.work()
        assert Counter(everyone) == Counter(await at.who())
        planned = await at.query("select distinct occurrence from broadcast_people")
        assert ["2027"] == [r.occurrence for r in planned]
