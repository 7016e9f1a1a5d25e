"""Who is in which segment and stage: kept with every event and attribute, and told through the door."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.core.incoming import Incoming
from engine.store.database import run, transaction
from tests.harness import utc
from tests.intake.members import FACTS, SEGMENTS, VIP, inside, people, redeploy, stages, told
from tests.people import named


async def test_events_and_attributes_move_people(tmp_path: Path, database_url: str) -> None:
    """Through nested segments and computed attributes too; a stage is the first that matches; whoever is new is in one."""
    async with people(tmp_path, database_url) as at:
        ada = await at.identify("ada")
        assert (set(), [("lead", None, "event")]) == (await inside(at, ada), await stages(at, ada))
        await at.track("ada", "pinged")
        assert set() == await inside(at, ada)
        await at.track("ada", "pinged")
        assert {"keen"} == await inside(at, ada)
        await at.identify("ada", score=12)
        assert {"keen", "scored", "both"} == await inside(at, ada)
        await at.track("ada", "pinged")
        await at.identify("ada", score=3)
        assert {"keen", "many"} == await inside(at, ada)
        said = [("stage_changed", "lead"), ("stage_changed", "active"), ("entered", "keen"), ("entered", "both")]
        said += [("entered", "scored"), ("entered", "many"), ("left", "both"), ("left", "scored")]
        assert sorted(said) == sorted(await told(at, ada))
        assert [("lead", None, "event"), ("active", "lead", "event")] == await stages(at, ada)


async def test_only_what_an_event_can_change_is_looked_at(tmp_path: Path, database_url: str, monkeypatch: Any) -> None:
    """An event that no segment asks for asks for nobody's; one that some ask for, for those only."""
    async with people(tmp_path, database_url) as at:
        await at.identify("ada")
        asked: list[tuple[str, ...]] = []
        from engine.delivery.interpretation import Interpretation

        really = Interpretation.selection

        def noted(self: Interpretation, names: Any) -> Any:
            asked.append(tuple(sorted(names)))
            return really(self, names)

        monkeypatch.setattr(Interpretation, "selection", noted)
        await at.track("ada", "confirmed")
        await at.identify("ada", first_name="Ada")
        assert [] == asked
        await at.identify("ada", score=1)
        assert [("both", "scored")] == asked
        await at.track("ada", "pinged")
        assert ("$stages", "both", "keen", "many", "quiet") == asked[-1]


async def test_history_moves_people_in_silence(tmp_path: Path, database_url: str) -> None:
    """What is imported counts, and says nothing."""
    async with people(tmp_path, database_url) as at:
        who = {"user_id": "ada"}
        told_late = utc("2020-01-01")
        old = [Incoming("track", "old", f"h{i}", "pinged", identifiers=who, history=True, occurred_at=told_late) for i in (1, 2)]
        ada = (await at.accept(*old))[0].customer
        assert {"keen", "quiet"} == await inside(at, ada)
        assert [] == await told(at, ada)


async def test_nobody_else_says_who_moved(tmp_path: Path, database_url: str) -> None:
    """A source that says what only the engine can know, under whatever name, is put aside and enrolls nobody."""
    async with people(tmp_path, database_url, vip=VIP) as at:
        ada = await at.identify("ada")
        said = [("segment_entered", "test"), ("segment_left", "intake"), ("stage_changed", "import:x"), ("goal_reached", "test")]
        for name, source in said:
            made = Incoming("track", source, f"m/{name}", name, {"segment": "keen"}, identifiers={"user_id": "ada"})
            assert "told by the engine alone" in (await at.accept(made))[0].quarantined
        assert ([], []) == ([t for t in await told(at, ada) if t[0] == "entered"], await at.query("select 1 from enrollments"))
        assert "" == (await at.track("ada", "message_replied", text="yes")).quarantined


async def test_the_event_with_the_shortest_chain_counts(tmp_path: Path, database_url: str) -> None:
    """What ends a chain, or is history, doesn't hide in its batch what is to be told."""
    async with people(tmp_path, database_url, vip=VIP) as at:
        for user, last in (("ada", {"depth": 10}), ("bob", {"history": True})):
            who = await at.identify(user)
            await at.track(user, "pinged")
            await at.accept(named("track", user, name="pinged"), named("track", user, name="pinged", **last))
            assert ("entered", "keen") in await told(at, who)
        assert [("vip",), ("vip",)] == [tuple(r) for r in await at.query("select journey from enrollments")]


async def test_history_that_is_put_aside_tells_nothing(tmp_path: Path, database_url: str) -> None:
    """Whoever comes with nothing else is where they belong, in silence; a live call that is put aside tells of them."""
    silent = "segments:\n  silent: {did_not: pinged}\n"
    async with people(tmp_path, database_url, segments=silent, vip=VIP.replace("keen", "silent")) as at:
        wrong = {"name": "pinged", "properties": {"number": "abc"}}
        (old,) = await at.accept(named("track", "old", history=True, **wrong))
        assert ({"silent"}, [], True) == (await inside(at, old.customer), await told(at, old.customer), bool(old.quarantined))
        (new,) = await at.accept(named("track", "new", **wrong))
        assert [("entered", "silent")] == await told(at, new.customer)
        assert [(new.customer,)] == [tuple(r) for r in await at.query("select customer_id from enrollments")]


async def test_stages_end_that_are_no_longer_deployed(tmp_path: Path, database_url: str) -> None:
    """Their history stays."""
    async with people(tmp_path, database_url) as at:
        ada = await at.identify("ada")
        await redeploy(at, tmp_path, SEGMENTS.split("stages:")[0])
        assert [("lead", None, "event")] == await stages(at, ada)
        assert [] == await at.query("select 1 from stage_history where until is null")


async def test_segments_go_on_with_what_is_kept(tmp_path: Path, database_url: str) -> None:
    """When retention has emptied the events, a sum and a count are in segments what they are everywhere else."""
    async with people(tmp_path, database_url) as at:
        segments = "segments:\n  keen: {did: pinged, at_least: 2}\n  big: {if: customer.total >= 10}\n"
        segments += "  odd: {if: customer.odd == 1}\n"
        facts = FACTS + "  total: {sum: event.number, of: pinged}\n  odd: {count: pinged, where: event.number == 51}\n"
        await redeploy(at, tmp_path, segments, facts)
        ada = await at.identify("ada")
        await at.track("ada", "pinged", number=51)
        assert {"big", "odd"} == await inside(at, ada)
        async with transaction(at.core.database) as c:
            await run(c, "update events set properties = '{}' where name = 'pinged'")
        await at.track("ada", "pinged", number=1)
        assert {"big", "odd", "keen"} == await inside(at, ada)
        bob = await at.identify("bob")
        assert set() == await inside(at, bob)
