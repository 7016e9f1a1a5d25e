"""Broadcasts page by page, against a real PostgreSQL and without Temporal: whom they reach, when, once; clocks are moved by
hand."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.intake import fan_out as module
from engine.intake.planning import PastSchedule
from engine.store.database import run, transaction
from tests.harness import utc
from tests.intake.office import BIRTHDAY, ONCE, Office, journey, office, users


async def test_a_schedule_reaches_its_audience_once(tmp_path: Path, database_url: str) -> None:
    """Nobody before its time, everybody in the audience at it, nobody a second time; what became of it is counted."""
    async with office(tmp_path, database_url, "2026-11-30 07:00") as at:
        await at.deploy(journey(ONCE))
        await at.know({**users(["ada", "bob"], vip=True), **users(["cyd"], vip=False), **users(["dan"])})
        await at.at("2026-12-01 07:59")
        assert [] == await at.who()
        await at.at("2026-12-01 08:00")
        assert ["ada", "bob"] == await at.who()
        await at.know(users(["eve"], vip=True))
        await at.at("2026-12-01 12:00")
        assert ["ada", "bob"] == await at.who()
        assert [("done", 2, 2, 0, 0)] == await at.counts()
        [entry] = await at.query("select distinct name, properties from events where source = 'broadcast'")
        assert ("$schedule", {"occurrence": "2026-12-01T09:00"}) == tuple(entry)


async def test_local_time_is_everybodys_own(tmp_path: Path, database_url: str) -> None:
    """Nine o'clock comes to Auckland first and to Honolulu last; who has no zone has policy's. The audience is taken at the
    start."""
    async with office(tmp_path, database_url, "2026-11-30 07:00") as at:
        await at.deploy(journey("{schedule: {at: '09:00', days: [tue], timezone: customer}, audience: vips}"))
        zones = {"kiwi": "Pacific/Auckland", "ada": "Europe/Rome", "hula": "Pacific/Honolulu", "ny": "America/New_York"}
        await at.know({**{u: {"vip": True, "timezone": z} for u, z in zones.items()}, **users(["utc"], vip=True)})
        found = []
        for hour in range(40):
            await at.at((utc("2026-11-30 18:00") + timedelta(hours=hour)).strftime("%Y-%m-%d %H:%M"))
            if hour == 1:
                await at.know(
                    {"late": {"vip": True, "timezone": "Pacific/Honolulu"}, "hula": {"vip": True, "timezone": "Europe/Rome"}}
                )
            found = [(u, t.strftime("%d %H")) for u, t in await at.entries()]
        assert [("kiwi", "30 20"), ("ada", "01 08"), ("utc", "01 09"), ("ny", "01 14"), ("hula", "01 19")] == found
        assert ("done", 5, 5, 0, 0) == (await at.counts())[0]


async def test_zones_whose_time_has_passed_are_skipped_and_counted(tmp_path: Path, database_url: str) -> None:
    """A journey that is deployed while the day has begun reaches those whose morning is still to come."""
    async with office(tmp_path, database_url, "2026-12-01 10:00") as at:
        await at.know({"ada": {"vip": True, "timezone": "Europe/Rome"}, "ny": {"vip": True, "timezone": "America/New_York"}})
        await at.deploy(journey("{schedule: {at: '2026-12-01 09:00'}, audience: vips}"))
        await at.work()
        assert [] == await at.who()
        await at.at("2026-12-01 14:00")
        assert ["ny"] == await at.who()
        assert [("done", 1, 1, 0, 1)] == await at.counts()


async def test_a_cron_comes_back_and_enrolls_afresh(tmp_path: Path, database_url: str) -> None:
    """Each occurrence enrolls again whoever isn't inside any more; who is still inside stays where they are."""
    async with office(tmp_path, database_url, "2026-12-07 07:00") as at:
        await at.know(users(["ada", "bob"], vip=True))
        await at.deploy(journey("{schedule: {cron: '0 9 * * tue', timezone: Europe/Rome}, audience: customer.vip}"))
        await at.at("2026-12-08 08:00")
        await at.query(
            "update enrollments set status = 'ended', ended_at = sojourn_now() where id = (select min(id) from enrollments) "
            "returning 1"
        )
        await at.at("2026-12-15 08:00")
        assert Counter({"ada": 2, "bob": 1}) == Counter(await at.who())
        assert [("done", 2, 2, 0, 0), ("done", 2, 1, 1, 0)] == (await at.counts())[:2]


async def test_what_nobody_began_in_time_is_missed(tmp_path: Path, database_url: str) -> None:
    """Three hours of nobody working: the occurrence is said to be missed, and the next one goes."""
    async with office(tmp_path, database_url, "2026-12-07 20:00") as at:
        await at.know(users(["ada"], vip=True))
        await at.deploy(journey("{schedule: {at: '09:00', timezone: UTC}, audience: vips}"))
        await at.fan_out.plan_ahead()
        await at.at("2026-12-08 12:00")
        await at.at("2026-12-09 09:00")
        assert ["missed", "done"] == [state for state, *_ in await at.counts()][:2]
        assert [("ada", "09")] == [(u, t.strftime("%d")) for u, t in await at.entries()]


async def test_a_crash_between_two_pages_leaves_nobody_out_and_nobody_twice(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the page after which everything stops, in the middle of finding people or of enrolling them: the next turn
    goes on from there. A page that fails half-way leaves nothing."""
    monkeypatch.setattr(module, "BATCH", 7)
    async with office(tmp_path, database_url, "2026-12-01 08:00") as at:
        everyone = [f"u{i:02}" for i in range(40)]
        await at.know(users(everyone, vip=True))
        await at.deploy(journey(ONCE.replace("09:00", "09:30")))
        await at.fan_out.plan_ahead()
        async with transaction(at.core.database) as c:
            await run(c, "update clock set real_epoch = clock_timestamp(), logical_epoch = :at", at=utc("2026-12-01 08:30"))
        really = at.fan_out.intake.accept_within

        async def broken(self: Any, c: Any, batch: Any) -> Any:
            await really(c, batch)
            raise RuntimeError("killed in the middle of a page")

        async def whole(self: Any, c: Any, batch: Any) -> Any:
            return await really(c, batch)

        for crash in range(30):
            monkeypatch.setattr(type(at.fan_out.intake), "accept_within", broken if crash % 3 == 2 else whole)
            with suppress(RuntimeError):
                await at.work(pages=1)
        monkeypatch.setattr(type(at.fan_out.intake), "accept_within", whole)
        await at.work()
        assert Counter(everyone) == Counter(await at.who())
        assert [("done", 40, 40, 0, 0)] == await at.counts()


async def twelve_due(at: Office) -> None:
    """Twelve people of the audience, a broadcast to them, and its time has come."""
    await at.know(users([f"u{i}" for i in range(12)], vip=True))
    await at.deploy(journey(ONCE))
    await at.fan_out.plan_ahead()
    await at.query("update clock set real_epoch = clock_timestamp(), logical_epoch = :at returning 1", at=utc("2026-12-01 08:00"))


async def test_paused_it_stands_and_resumed_it_goes_on(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two pages; a turn that was under way when it was paused does nothing more. Each act leaves a row in the audit
    log."""
    monkeypatch.setattr(module, "BATCH", 5)
    async with office(tmp_path, database_url, "2026-12-01 07:30") as at:
        await twelve_due(at)
        [r] = await at.ready()
        for _ in range(4):  # three pages of finding, one of enrolling
            await at.fan_out.round(r.id, r.turn)
        assert [r.id] == await at.act("pause")
        assert [] == await at.act("pause")
        assert (True, 0.0) == await at.fan_out.round(r.id, r.turn)
        assert 0 == await at.work()
        assert 5 == len(await at.who())
        assert [r.id] == await at.act("resume")
        await at.work()
        assert 12 == len(set(await at.who()))
        assert [] == await at.act("cancel"), "it is over"
        log = await at.query("select act, subject from audit where act <> 'deploy' order by id")
        assert [("pause", f"broadcast/{r.id}"), ("resume", f"broadcast/{r.id}")] == [tuple(r) for r in log]


async def test_cancelled_it_reaches_nobody_more(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those inside stay; it can't be resumed, and planning doesn't bring it back."""
    monkeypatch.setattr(module, "BATCH", 5)
    async with office(tmp_path, database_url, "2026-12-01 07:30") as at:
        await twelve_due(at)
        await at.work(pages=4)
        assert 1 == len(await at.act("cancel"))
        assert [] == await at.act("resume")
        await at.work()
        assert 5 == len(await at.who())
        assert [("cancelled", 12, 5, 0, 0)] == await at.counts()
        assert [] == await at.query("select 1 from broadcast_people")


async def test_a_rate_paces_the_pages(tmp_path: Path, database_url: str) -> None:
    """Ten a second: a page of ten, and the next one a second later; also for whoever takes over."""
    async with office(tmp_path, database_url, "2026-12-01 07:30") as at:
        await at.know(users([f"u{i}" for i in range(25)], vip=True))
        await at.deploy(journey(ONCE.replace("audience", "rate: 10/s, audience")))
        await at.fan_out.plan_ahead()
        await at.query(
            "update clock set real_epoch = clock_timestamp(), logical_epoch = :at returning 1", at=utc("2026-12-01 08:00")
        )
        [r] = await at.ready()
        assert (False, 0.0) == await at.fan_out.round(r.id, r.turn)
        assert (False, 0.0) == await at.fan_out.round(r.id, r.turn)
        assert 10 == len(await at.who())
        over, wait = await at.fan_out.round(r.id, r.turn)
        assert not over
        assert 0 < wait <= 1
        await at.query("update broadcasts set paced_until = clock_timestamp() returning 1")
        await at.fan_out.round(r.id, r.turn)
        assert 20 == len(await at.who())


async def test_an_event_about_a_thing_reaches_whom_it_concerns(tmp_path: Path, database_url: str) -> None:
    """Who looked at that product of late, and nobody else; the catalogue isn't one of them, and the event is what they enter
    with."""
    enter = (
        "{broadcast: cheaper, audience: {did: viewed, within: 30d, where: event.product == entry.product}, key: product, "
        "if: entry.price < 100}"
    )
    async with office(tmp_path, database_url, "2026-12-01 07:30") as at:
        await at.deploy(journey(enter))
        await at.track("ada", "viewed", "2026-11-20 10:00", product="lamp")
        await at.track("bob", "viewed", "2026-11-20 10:00", product="sofa")
        await at.track("cyd", "viewed", "2026-10-20 10:00", product="lamp")
        await at.track("catalogue", "cheaper", product="lamp", price=40)
        await at.track("catalogue", "cheaper", product="sofa", price=400)
        await at.work()
        assert ["ada"] == await at.who()
        assert [("done", 1, 1, 0, 0), ("done", 1, 0, 1, 0)] == sorted(await at.counts(), key=lambda c: -c[2])
        await at.track("catalogue", "cheaper", "2026-12-01 07:30", product="lamp", price=35)
        await at.work()
        assert ["ada"] == await at.who(), "one enrollment per product"
        [row] = await at.query("select e.key, v.name, v.properties from enrollments e join events v on v.id = e.entry_event")
        assert ("lamp", "cheaper", {"product": "lamp", "price": 40}) == tuple(row)


async def test_segments_in_the_words_of_an_audience(tmp_path: Path, database_url: str) -> None:
    """A segment inside a condition, one that asks for another in its `if`, and events that this one counts."""
    async with office(tmp_path, database_url, "2026-12-01 07:30") as at:
        await at.know({**users(["ada", "bob"], vip=True), **users(["cyd"])})
        for i in range(2):
            await at.track("bob", "viewed", product=f"p{i}")
            await at.track("cyd", "viewed", product=f"p{i}")
        await at.deploy(journey(ONCE.replace("vips", "segment('vips') and segment('keen')")))
        await at.at("2026-12-01 08:00")
        assert ["bob"] == await at.who()


async def test_once_in_the_past_is_refused_and_deployed_again_it_is_not(tmp_path: Path, database_url: str) -> None:
    """A new journey whose only time is over fails the deploy, whole; one that went out may stay deployed."""
    async with office(tmp_path, database_url, "2026-12-01 07:00") as at:
        await at.know(users(["ada"], vip=True))
        await at.deploy(journey(ONCE))
        await at.at("2026-12-01 08:00")
        await at.deploy(journey(ONCE, "summary: Another\n"))
        with pytest.raises(PastSchedule, match="would be sent once, at 2026-11-01 09:00, which is over in Europe/Rome"):
            await at.deploy(journey(ONCE.replace("12-01", "11-01")))
        assert 3 == len(await at.query("select 1 from deployments"))
        await at.work()
        assert ["ada"] == await at.who()


async def test_a_closed_journey_and_one_that_is_over_take_nobody(tmp_path: Path, database_url: str) -> None:
    """Neither by a schedule, nor by a date, nor by an event about a thing; a planned occurrence is withdrawn."""
    async with office(tmp_path, database_url, "2026-12-01 07:00") as at:
        await at.know({"ada": {"vip": True, "birthday": "1990-12-02"}})
        enter = f"[{ONCE}, {BIRTHDAY}, {{broadcast: cheaper, audience: vips, again: always}}]"
        await at.deploy(journey(enter))
        await at.work()
        await at.deploy(journey(enter, "status: closed\n"))
        await at.track("catalogue", "cheaper", product="x", price=1)
        await at.at("2026-12-02 12:00")
        assert [] == await at.who()
        assert [] == await at.query("select 1 from broadcasts where state = 'open'")


async def test_several_at_once_turn_each_page_once(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four processes with one turn in their hands, as after a crash that Temporal took too early for one."""
    monkeypatch.setattr(module, "BATCH", 5)
    async with office(tmp_path, database_url, "2026-12-01 07:30") as at:
        everyone = [f"u{i:02}" for i in range(43)]
        await at.know(users(everyone, vip=True))
        await at.deploy(journey(ONCE))
        await at.fan_out.plan_ahead()
        await at.query(
            "update clock set real_epoch = clock_timestamp(), logical_epoch = :at returning 1", at=utc("2026-12-01 08:00")
        )
        [r] = await at.ready()
        over = False
        while not over:
            over = all(o for o, _ in await asyncio.gather(*(at.fan_out.round(r.id, r.turn) for _ in range(4))))
        assert Counter(everyone) == Counter(await at.who())
        assert [("done", 43, 43, 0, 0)] == await at.counts()
