"""The sweeps: who moves by time alone, and what a new definition means for everybody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from engine.core.logical import LogicalClock
from engine.intake import sweeping
from engine.intake.awaiting import Awaiting
from engine.intake.backfill import Backfill
from engine.intake.fan_out import LOOK_SECONDS, FanOut
from engine.store import computed, fits
from engine.store.database import run, transaction
from tests.harness import utc, write_project
from tests.intake.members import DAY, FACTS, SEGMENTS, VIP, WAITS, inside, later, people, redeploy, stages, sweep_of, swept, told
from tests.people import named, opened


async def test_silence_moves_people_by_the_sweep(tmp_path: Path, database_url: str) -> None:
    """Ten days without an event, and nothing but time: told once, as time's doing; a second sweep changes nothing."""
    async with people(tmp_path, database_url) as at:
        ada = (await at.track("ada", "pinged")).customer
        bob = (await at.track("bob", "pinged")).customer
        await swept(at)
        await later(at, 9)
        await at.track("bob", "pinged")
        await swept(at)
        assert set() == await inside(at, ada)
        await later(at, 2)
        await swept(at)
        await swept(at)
        assert ({"quiet"}, {"keen"}) == (await inside(at, ada), await inside(at, bob))
        assert [("stage_changed", "active"), ("entered", "quiet"), ("stage_changed", "lost")] == await told(at, ada)
        assert ("lost", "active", "time") == (await stages(at, ada))[-1]
        [row] = await at.query("select cause, event_id from memberships where segment = 'quiet'")
        assert ("time", None) == tuple(row)
        await at.track("ada", "pinged")
        assert ({"keen"}, ("active", "lost", "event")) == (await inside(at, ada), (await stages(at, ada))[-1])


async def test_a_new_definition_is_worked_out_in_silence(tmp_path: Path, database_url: str, monkeypatch: Any) -> None:
    """Nobody is said to have entered what was only deployed; whoever comes after it, or has been worked out, is."""
    monkeypatch.setattr(sweeping, "LOCKED", 3)
    async with people(tmp_path, database_url) as at:
        for i in range(8):
            await at.accept(*(named("track", f"u{i}", name="pinged") for _ in range(2)))
        more = SEGMENTS.replace("segments:\n", "segments:\n  pinged_once: {did: pinged}\n").replace("at_least: 2", "at_least: 1")
        await redeploy(at, tmp_path, more)
        before = await at.query("select count(*) from events")
        sweep = sweep_of(at)
        assert await sweep.round()
        first = await at.identify("u0")
        last = (await at.accept(named("track", "u7", name="pinged")))[0].customer
        assert "pinged_once" in await inside(at, first)
        assert "pinged_once" in await inside(at, last)
        assert ("entered", "pinged_once") not in await told(at, last)
        new = (await at.accept(named("track", "new", name="pinged")))[0].customer
        assert ("entered", "pinged_once") in await told(at, new)
        await swept(at)
        assert [(9,)] == [tuple(r) for r in await at.query("select count(*) from memberships where segment = 'pinged_once'")]
        events = await at.query("select name, customer_id from events where name like 'segment_%' and id > :n", n=before[0][0])
        assert {new, last} >= {r.customer_id for r in events}
        await redeploy(at, tmp_path, SEGMENTS)
        await swept(at)
        assert [] == await at.query("select 1 from memberships where segment = 'pinged_once'")


async def test_a_crash_between_pages_leaves_nobody_out(tmp_path: Path, database_url: str, monkeypatch: Any) -> None:
    """Pages of three, two sweeps at once, and one that breaks in the middle: everybody is told of once."""
    monkeypatch.setattr(sweeping, "PAGE", 3)
    async with people(tmp_path, database_url) as at:
        ids = [(await at.track(f"u{i}", "pinged")).customer for i in range(10)]
        await later(at, 11)
        sweep = sweep_of(at)
        assert await sweep.round()
        really = at.core.intake.accept_within

        async def broken(self: Any, c: Any, batch: Any) -> Any:
            await really(c, batch)
            raise RuntimeError("killed in the middle of a page")

        with monkeypatch.context() as m:
            m.setattr(type(at.core.intake), "accept_within", broken)
            try:
                await sweep.round()
                raise AssertionError("it was to break")
            except RuntimeError:
                pass
        await swept(at)
        for i in ids:
            assert [("entered", "quiet")] == [t for t in await told(at, i) if t[1] == "quiet"]


async def test_the_sweep_waits_for_nobody_and_two_don_t_do_the_same(tmp_path: Path, database_url: str) -> None:
    """While one turns a page another one finds nothing to do."""
    async with people(tmp_path, database_url) as at:
        await at.track("ada", "pinged")
        from engine.store import memberships

        async with transaction(at.core.database) as c:
            assert await memberships.take_sweep(c)
            assert not await sweep_of(at).round()


async def test_what_was_stored_before_its_declaration_stops_nobody(tmp_path: Path, database_url: str) -> None:
    """A text under a name that is a date by now is missing, of customers and of events: for the sweep, a backfill and a batch."""
    async with people(tmp_path, database_url, waits=WAITS.replace("again:", "if: customer.country is none, again:")) as at:
        ada = await at.identify("ada", renewal="soon")
        await at.track("ada", "pinged", number=1, on="soon")
        bob = await at.identify("bob", renewal="2020-01-01")
        facts = FACTS.replace("score: number", "score: number, renewal: date").replace(
            "number: integer", "number: integer, on: date"
        )
        segments = "segments:\n  keen: {did: pinged, at_least: 2}\n"
        segments += "  due: {if: customer.renewal is not none and customer.renewal < now}\n"
        segments += "  undated: {did: pinged, where: event.on is none}\n"
        await redeploy(at, tmp_path, segments, facts + "  total: {sum: event.number, of: pinged}\n")
        await swept(at)
        assert ({"undated"}, {"due"}) == (await inside(at, ada), await inside(at, bob))
        while not (await Backfill(at.core.database, at.core.deployments).page()).done:
            pass
        await at.accept(named("track", "bob", name="signed_up"), named("track", "ada", name="signed_up"))
        await at.accept(named("track", "bob", name="pinged"), named("track", "ada", name="pinged", properties={"number": 2}))
        assert [ada, bob] == await at.owners("enrollments")
        totals = await at.query("select value from computed where customer_id = :id and name = 'total'", id=ada)
        assert [3] == [r.value for r in totals]


async def test_whoever_is_created_while_a_deploy_commits_is_in_what_it_brings(tmp_path: Path, database_url: str) -> None:
    """A deploy waits for the transactions that follow the deployment before it."""
    async with people(tmp_path, database_url) as at:
        deploys: list[asyncio.Task[None]] = []

        async def meanwhile(c: Any, answers: Any) -> None:
            italians = SEGMENTS.replace("stages:", "  italians: {if: customer.country == 'IT'}\nstages:")
            deploys.append(asyncio.create_task(redeploy(at, tmp_path, italians)))
            await asyncio.sleep(0.5)
            assert not deploys[0].done()

        (new,) = await at.core.intake.accept_with([named("identify", "ada", traits={"country": "IT"})], meanwhile)
        await deploys[0]
        await swept(at)
        assert {"italians"} == await inside(at, new.customer)


async def test_the_first_predictions_enroll_nobody_and_a_merge_keeps_them(tmp_path: Path, database_url: str) -> None:
    """They are worked out in silence, as after a deploy; later ones are told; who stays in a merge is in what they were in."""
    facts, risk = FACTS + "predict: {orders: pinged}\n", "segments:\n  risk: {if: customer.churn_risk > 0.7}\n"
    journey = VIP.replace("keen", "risk").replace("never", "always")
    files = {"journeys/tracking.yaml": facts, "journeys/segments.yaml": risk, "journeys/vip.yaml": journey}
    async with opened(tmp_path, database_url, files=files) as at:
        ada, bob, dup = [(await at.track(user, "pinged")).customer for user in ("ada", "bob", "dup")]
        await swept(at)

        async def predict(customer: int, value: float) -> None:
            async with transaction(at.core.database) as c:
                own = (await at.core.deployments.current(c)).definitions.predicted["churn_risk"]
                row = {"customer_id": customer, "name": "churn_risk", "definition": own, "value": value}
                await computed.put(c, [{**row, "state": {"fit": 1, "at": "2026-01-01T00:00:00+00:00"}}])
                if await fits.newest(c, own) is None:
                    await fits.add(c, own, utc("2026-01-01"), 2, {})
                elif customer == bob:
                    await run(c, "update fits set done_at = at")

        await predict(ada, 0.9)
        await swept(at)
        await predict(bob, 0.1)
        await swept(at)
        assert ({"risk"}, []) == (await inside(at, ada), await told(at, ada))
        made = await at.core.intake.merge(ada, dup, "test")
        assert ({"risk"}, []) == (await inside(at, ada), await told(at, ada))
        await at.core.intake.unmerge(made.id, "test")
        assert ({"risk"}, []) == (await inside(at, ada), await told(at, ada))
        await predict(bob, 0.9)
        await swept(at)
        assert [("entered", "risk")] == await told(at, bob)
        assert [(bob,)] == [tuple(r) for r in await at.query("select customer_id from enrollments")]


async def test_nobody_is_lost_who_moves_while_a_segment_is_worked_out(tmp_path: Path, database_url: str) -> None:
    """Ada moves in, in silence, before the sweep has come to her; the broadcast to those who are in it waits for the sweep."""
    async with people(tmp_path, database_url) as at:
        await at.identify("ada")
        write_project(tmp_path, {"journeys/vip.yaml": VIP.replace("existing: ignore", "existing: enroll")})
        await redeploy(at, tmp_path, SEGMENTS.replace("at_least: 2", "at_least: 1"))
        fan_out = FanOut(at.core.database, at.core.deployments, at.core.intake, LogicalClock(1.0, utc(DAY), utc(DAY)))
        await fan_out.plan_ahead()
        (row,) = await at.query("select id, turn from broadcasts where kind = 'segment'")
        assert (False, LOOK_SECONDS) == await fan_out.round(row.id, row.turn)
        await at.track("ada", "pinged")
        assert [] == await at.query("select 1 from enrollments where journey = 'vip'")
        await swept(at)
        while not (await fan_out.round(row.id, row.turn))[0]:
            pass
        assert 1 == len(await at.query("select 1 from enrollments where journey = 'vip'"))


async def test_time_alone_makes_an_exit_true(tmp_path: Path, database_url: str) -> None:
    """The sweep of those inside finds it; whom it doesn't concern stays, and a second round finds nobody."""
    journey = "journey: j\ntier: lifecycle\nenter: {event: signed_up, again: never}\nexit: {if: customer.renews_at <= now}\n"
    async with people(tmp_path, database_url, j=journey + "steps: [{wait: 90d, id: long}]\n") as at:
        await at.identify("ada", renews_at="2030-01-01T00:00:00Z")
        for user in ("ada", "bob"):
            await at.track(user, "signed_up")
        awaiting = Awaiting(at.core.database, at.core.deployments, at.core.intake)
        assert not await awaiting.round()
        assert [] == await at.query("select 1 from enrollments where status = 'ended'")
        await later(at, 365 * 6)
        assert not await awaiting.round()
        found = await at.query(
            "select i.value, e.reason from enrollments e join identifiers i using (customer_id) where status = 'ended'"
        )
        assert [("ada", "condition")] == [tuple(r) for r in found]
        assert not await awaiting.round()
        assert [(1,)] == [tuple(r) for r in await at.query("select count(*) from events where name = '$time'")]


async def test_time_says_nothing_twice_while_nobody_relays(tmp_path: Path, database_url: str) -> None:
    """Round after round, as long as the enrollment hasn't been told."""
    wait = WAITS.replace("{segment: keen}", "{if: customer.renews_at is not none and customer.renews_at < now}")
    async with people(tmp_path, database_url, waits=wait) as at:
        await at.identify("ada", renews_at="2020-01-01T00:00:00Z")
        await at.track("ada", "signed_up")
        async with transaction(at.core.database) as c:
            await run(c, "update enrollments set status = 'live', step = 'until_keen'")
            await run(c, "update inputs set relayed_at = clock_timestamp()")
        awaiting = Awaiting(at.core.database, at.core.deployments, at.core.intake)
        for _ in range(3):
            assert not await awaiting.round()
        assert [(1,)] == [tuple(r) for r in await at.query("select count(*) from events where name = '$time'")]
