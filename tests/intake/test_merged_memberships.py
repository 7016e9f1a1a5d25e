"""Segments and stages of people who become one, or two again."""

from __future__ import annotations

from pathlib import Path

from tests.intake.members import VIP, inside, people, stages, told
from tests.people import named


async def test_a_merge_moves_who_stays_and_its_undoing_whoever_had_gone(tmp_path: Path, database_url: str) -> None:
    """Counted together they are keen; apart again nobody is, and stages are as before, with their history."""
    async with people(tmp_path, database_url) as at:
        ada = (await at.track("ada", "pinged")).customer
        bob = (await at.track("bob", "pinged")).customer
        made = await at.core.intake.merge(ada, bob, "ops")
        assert ({"keen"}, set()) == (await inside(at, ada), await inside(at, bob))
        assert [] == await stages(at, bob)
        await at.core.intake.unmerge(made.id, "ops")
        assert (set(), set()) == (await inside(at, ada), await inside(at, bob))
        assert ["active", "active"] == [s for s, *_ in await stages(at, bob)]
        assert ["active"] == [s for s, *_ in await stages(at, ada)]


async def test_who_was_in_a_segment_before_a_merge_doesnt_enter_it_again(tmp_path: Path, database_url: str) -> None:
    """A visitor who is keen, and has been through the journey, signs in: nothing is told, and nobody enters once more."""
    again = VIP.replace("again: never", "again: always")
    async with people(tmp_path, database_url, vip=again) as at:
        bob = await at.identify("bob")
        for _ in range(2):
            seen = await at.track("", "pinged", anonymous="x")
        assert 1 == len(await at.query("select 1 from enrollments"))
        await at.query("update enrollments set status = 'ended', ended_at = sojourn_now(), reason = 'completed' returning id")
        assert bob == await at.identify("bob", "x")
        assert ({"keen"}, set()) == (await inside(at, bob), await inside(at, seen.customer))
        assert [("entered", "keen")] == [t for t in await told(at, bob) if t[1] == "keen"]
        assert 1 == len(await at.query("select 1 from enrollments"))


async def test_history_that_makes_one_of_two_enrolls_nobody(tmp_path: Path, database_url: str) -> None:
    """They are keen together from now on, which is written down in silence."""
    async with people(tmp_path, database_url, vip=VIP) as at:
        bob = (await at.track("bob", "pinged")).customer
        await at.track("", "pinged", anonymous="x")
        await at.accept(named("identify", "bob", "x", history=True))
        assert {"keen"} == await inside(at, bob)
        assert [] == await at.query("select 1 from enrollments")
        assert [] == [t for t in await told(at, bob) if t[1] == "keen"]


async def test_a_merge_with_an_objector_tells_no_departure(tmp_path: Path, database_url: str) -> None:
    """Objecting isn't anything that they did: who stays leaves all segments in silence."""
    from engine.intake.standing import stand

    async with people(tmp_path, database_url, bye=VIP.replace("vip", "bye").replace("keen", "keen, when: leaves")) as at:
        ada, bob = (await at.track("ada", "pinged")).customer, await at.identify("bob")
        await at.track("ada", "pinged")
        await stand(at.core.intake, bob, {"objected": True}, "test")
        await at.core.intake.merge(ada, bob, "test")
        assert (set(), []) == (await inside(at, ada), [t for t in await told(at, ada) if t[0] == "left"])
        assert [] == await at.query("select 1 from enrollments")
