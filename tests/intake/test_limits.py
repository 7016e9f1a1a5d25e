"""Limits on journeys at the door: decided under the customer's lock, refusals recorded; against a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from engine.app.deploying import deploy
from engine.app.wiring import open_core
from engine.authoring.project import load_project
from engine.core.incoming import Incoming
from engine.settings.project import Settings
from tests.faults.cast import cast, prepare, until, write_faulty
from tests.harness import POLICY, TRACKING, utc, write_project
from tests.intake.test_door import Doorway, event


def journey(name: str, opens: str, more: str = "again: always") -> dict[str, str]:
    """A journey in which people wait for a month."""
    text = f"journey: {name}\ntier: lifecycle\nenter: {{event: {opens}, {more}}}\nsteps: [{{wait: 30d, id: long}}]\n"
    return {f"journeys/{name}.yaml": text}


THREE = {**journey("low", "pinged"), **journey("middle", "confirmed"), **journey("high", "signed_up")}


@asynccontextmanager
async def door(folder: Path, database_url: str, limits: str, files: dict[str, str]) -> AsyncIterator[Doorway]:
    """A door of a project with these limits."""
    async with open_core(Settings(), database_url) as core:
        project = write_project(folder, {"journeys/policy.yaml": f"{POLICY}limits: [{limits}]\n", **files})
        await deploy(core.database, load_project(project, {"email", "sms"}), "test")
        yield Doorway(core)


async def stands(door: Doorway) -> list[tuple[Any, ...]]:
    """Every enrollment, oldest first: journey, status, reason."""
    return [tuple(r) for r in await door.query("select journey, status, reason from enrollments order by id")]


async def refused(door: Doorway) -> list[tuple[Any, ...]]:
    return [tuple(r) for r in await door.query("select journey, key, rule from refusals order by id")]


async def test_a_full_limit_bars_and_says_so_and_an_end_makes_room(tmp_path: Path, database_url: str) -> None:
    """One at a time, whichever came first; what is refused is recorded with its event; somebody else isn't concerned."""
    limit = "{name: one, journeys: [high, low], at_once: 1}"
    async with door(tmp_path, database_url, limit, THREE) as at:
        await at.accept(event("pinged", 1), event("signed_up", 2), event("confirmed", 3), event("signed_up", 4, "bob"))
        assert ["low", "middle", "high"] == [j for j, *_ in await stands(at)]
        assert [("high", "", "one")] == await refused(at)
        [row] = await at.query("select r.detail, v.name from refusals r join events v on v.id = r.event_id")
        assert ("the limit one allows 1 at a time of high and low, and they were in low (number 1).", "signed_up") == tuple(row)
        await at.query("update enrollments set status = 'ended' where journey = 'low' returning id")
        assert 1 == len((await at.accept(event("signed_up", 5)))[0].enrollments)


async def test_a_parked_enrollment_holds_its_place(tmp_path: Path, database_url: str) -> None:
    """It isn't over: it goes on after the mend."""
    async with door(tmp_path, database_url, "{name: one, journeys: [high, low], at_once: 1}", THREE) as at:
        await at.accept(event("pinged", 1))
        await at.query("update enrollments set status = 'parked' returning id")
        assert () == (await at.accept(event("signed_up", 2)))[0].enrollments


async def test_a_higher_journey_takes_the_place_of_a_lower_one_and_not_the_other_way(tmp_path: Path, database_url: str) -> None:
    """The lowest ends at once with who displaced it, over several batches and within one; the cohort is told by an input."""
    limit = "{name: one, journeys: [high, middle, low], at_once: 1, when_full: displace}"
    async with door(tmp_path, database_url, limit, THREE) as at:
        await at.accept(event("pinged", 1))
        await at.accept(event("confirmed", 2), event("signed_up", 3), event("pinged", 4), event("confirmed", 5))
        assert [
            ("low", "ended", "displaced by middle"),
            ("middle", "ended", "displaced by high"),
            ("high", "live", ""),
        ] == await stands(at)
        assert [("low", "", "one"), ("middle", "", "one")] == await refused(at)
        exits = await at.query(
            "select e.journey, i.reason from inputs i join enrollments e on e.id = i.enrollment_id and i.kind = 'exit'"
        )
        assert {("low", "displaced by middle"), ("middle", "displaced by high")} == {tuple(r) for r in exits}


async def test_of_one_event_the_higher_journey_enters(tmp_path: Path, database_url: str) -> None:
    """An event that opens several lets the highest in, whatever their names; nothing begins only to be displaced."""
    files = {**journey("a_low", "signed_up"), **journey("z_high", "signed_up"), **journey("free", "signed_up")}
    for folder, more in (("bar", ""), ("displace", ", when_full: displace")):
        async with door(
            tmp_path / folder, database_url, f"{{name: one, journeys: [z_high, a_low], at_once: 1{more}}}", files
        ) as at:
            await at.accept(event("signed_up", folder, folder))
            found = await at.query(
                "select e.journey, e.status from enrollments e join identifiers i using (customer_id) where i.value = :user "
                "order by e.journey",
                user=folder,
            )
            assert [("free", "live"), ("z_high", "live")] == [tuple(r) for r in found]


async def test_a_restart_takes_its_own_place_and_a_refused_one_leaves_the_old_one_running(
    tmp_path: Path, database_url: str
) -> None:
    """`while_active: restart` under a full limit; where another limit says no, what runs goes on."""
    again = journey("low", "pinged", "again: always, while_active: restart")
    limits = "{name: one, journeys: [low], at_once: 1}, {name: calm, journeys: [low], entries: 2, per: month}"
    async with door(tmp_path, database_url, limits, again) as at:
        await at.accept(event("pinged", 1))
        await at.accept(event("pinged", 2))
        assert [("low", "ended", "restarted"), ("low", "live", "")] == await stands(at)
        await at.accept(event("pinged", 3))
        assert [("low", "ended", "restarted"), ("low", "live", "")] == await stands(at)
        assert [("low", "", "calm")] == await refused(at)


async def test_entries_are_counted_by_the_day_on_which_they_occurred_in_the_customers_zone(
    tmp_path: Path, database_url: str
) -> None:
    """Two a day over both journeys, whatever became of them, in one batch and over several, in whatever order events come."""
    keyed = {**journey("low", "pinged", "again: always, while_active: parallel"), **journey("high", "signed_up", "key: order_id")}
    limit = "{name: calm, journeys: [low, high], entries: 2, per: day}"
    async with door(tmp_path, database_url, limit, keyed) as at:
        await at.accept(Incoming("identify", "test", "i", traits={"timezone": "Asia/Tokyo"}, identifiers={"user_id": "ada"}))

        async def enters(number: int, moment: str, name: str = "pinged", **properties: Any) -> int:
            one = event(name, number, **properties)
            made = Incoming(
                one.kind, one.source, one.message_id, name, properties, identifiers=one.identifiers, occurred_at=utc(moment)
            )
            return len((await at.accept(made))[0].enrollments)

        assert 1 == await enters(1, "2026-03-02 15:30")  # in Tokyo it is the 3rd
        assert 1 == await enters(2, "2026-03-03 14:30", "signed_up", order_id="A")
        assert 0 == await enters(3, "2026-03-03 14:59", "signed_up", order_id="B")
        assert 1 == await enters(4, "2026-03-03 15:00", "signed_up", order_id="B")
        await at.query("update enrollments set status = 'ended' returning id")
        assert 0 == await enters(5, "2026-03-02 16:00")
        assert 1 == await enters(6, "2026-03-02 14:00")
        assert [("high", "B", "calm"), ("low", "", "calm")] == await refused(at)
        later = [event("pinged", 10 + i, "bob") for i in range(5)]
        assert [1, 1, 0, 0, 0] == [len(a.enrollments) for a in await at.accept(*later)]


async def test_a_clock_that_is_ahead_gets_nobody_past_a_limit(tmp_path: Path, database_url: str) -> None:
    """An event that says to be of next week counts as of now, and so do the entries before it."""
    limit = "{name: few, journeys: [low], entries: 2, per: day}"
    async with door(tmp_path, database_url, limit, journey("low", "pinged", "again: always, while_active: parallel")) as at:
        ahead = datetime.now(UTC) + timedelta(days=9)
        for n in range(3):
            [answer] = await at.accept(replace(event("pinged", n), occurred_at=ahead))
            assert (n < 2) == bool(answer.enrollments)


RACE = {
    **journey("busy", "signed_up", "key: order_id"),
    **journey("lower", "pinged", "again: always, while_active: parallel"),
    **journey("counted", "confirmed", "key: order_id"),
    "journeys/policy.yaml": POLICY
    + "limits:\n  - {name: three, journeys: [busy, lower], at_once: 3, when_full: displace}\n"
    + "  - {name: seven, journeys: [counted], entries: 7, per: month}\n",
    "journeys/tracking.yaml": TRACKING,
}


async def test_processes_that_race_for_one_customer_exceed_no_limit(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Three processes with 180 entries of one customer: the three highest are inside at the end, seven
    entries are counted, and every other entry is a recorded refusal."""
    folder = write_faulty(tmp_path, 9, RACE)
    await prepare(folder, database_url, ["ada"])
    play = cast(folder, task_queue_prefix, database_url, temporal_address)
    try:
        names = ("pinged", "signed_up", "confirmed")
        events = [[f"m{i}", "ada", names[i % 3], {"order_id": f"o{i}"} if i % 3 else {"number": i}] for i in range(180)]
        intakes = [play.intake(events[start * 60 : start * 60 + 60], f"part{start}") for start in range(3)]
        await until(lambda: play.in_order() and all(p.ended() for p in intakes), 120, lambda: "intakes still run")
        with psycopg.connect(database_url) as store:
            rows = store.execute("select id, journey, status, reason from enrollments order by id").fetchall()
            refusals = store.execute("select rule, count(*) from refusals group by 1 order by 1").fetchall()
        live = [(j, reason) for _, j, status, reason in rows if status == "live" and j != "counted"]
        assert [("busy", "")] * 3 == live
        assert {"displaced by busy"} >= {reason for _, _, status, reason in rows if status == "ended"}
        assert 7 == sum(j == "counted" for _, j, *_ in rows)
        assert [("seven", 53), ("three", 120 - sum(j != "counted" for _, j, *_ in rows))] == refusals
    finally:
        play.close()
