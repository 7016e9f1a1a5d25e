"""What a release would do and does, on a real database without Temporal: who enters by which plan, who is refused, going back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.app.deploying import (
    Overtaken,
    Refused,
    Release,
    Stranded,
    Wishes,
    deploy_if_other,
    history,
    promotion,
    put_in_force,
    release_of,
)
from engine.delivery.deployments import Deployments
from engine.intake.moving import NoSuchStep, ask_next, reset
from engine.store.database import transaction
from tests.app.releases import OTHER, STAY, TWO, Desk
from tests.people import opened


async def test_releases_one_after_the_other(tmp_path: Path, database_url: str) -> None:
    """A canary's share is stable and survives `sojourn up`; promoted, drained, rolled back by number and by hash; each says what
    it changed, and whoever was inside stays on their plan."""
    async with opened(tmp_path, database_url, files={"journeys/once.yaml": STAY}) as people:
        desk = Desk(tmp_path, people)
        users = [f"u{n}" for n in range(60)]
        before = next(iter((await desk.enter("first")).values()))
        tried = await desk.put(desk.compiled(once=OTHER), Wishes(canary=0.3))
        new = tried.journeys[0].new
        assert (0.3, before) == (tried.journeys[0].canary, tried.plans()["once"])
        found = await desk.enter(*users)
        assert {before, new} == set(found.values()), "some of either"
        assert 6 <= sum(plan == new for plan in found.values()) <= 32
        assert before == found["first"]
        assert () == (await deploy_if_other(people.core.database, desk.compiled(), "up")).journeys, "it stays on trial"
        async with transaction(people.core.database) as c:
            promoted = await promotion(c)
        assert {"once": new} == (await desk.put(promoted)).plans()
        assert new == (await desk.enter("second"))["second"]
        drained = await desk.put(desk.compiled(once=OTHER), Wishes(journeys={"once": "drain"}))
        assert {"once": {"drained": True}} == drained.rollout()
        assert "third" not in await desk.enter("third")
        back = await desk.earlier("1")
        assert "rollback to 1" == back.act
        assert before == (await desk.put(back), (await desk.enter("fourth"))["fourth"])[1]
        async with transaction(people.core.database) as c:
            listed = await history(c, 10)
        assert ["rollback to 1", "deploy", "promote", "deploy", "deploy"] == [d.act for d in listed]
        assert [("once", "new")] == list(listed[-1].changed)
        assert ("once", "30% on trial") in listed[3].changed
        assert ("once", "takes nobody") in listed[1].changed
        assert listed[0].hash == listed[-1].hash
        assert "rollback to 3" == (await desk.earlier(listed[2].hash[:9])).act
        assert "rollback to 4" == (await desk.earlier(None)).act
        for wrong, short in (
            ("990099", False),
            ("5", False),
            ("abcdef123", False),
            ("xyz", False),
            ("", False),
            *((digit, False) for digit in "06789"),
            (next(d.hash[:5] for d in listed if not d.hash[:5].isdecimal()).upper(), True),
        ):
            with pytest.raises(Refused) as refused:
                await desk.earlier(wrong)
            assert short == ("write at least 6 characters of a hash" in refused.value.hint)
        audited = await people.query("select act, detail from audit where subject like 'deployment/%' order by id")
        assert [("promote", {}), ("deploy", {"strategy": {"once": "drain"}}), ("rollback", {"to": 1})] == [
            (r.act, r.detail) for r in audited[2:]
        ]


async def test_what_can_not_be_is_refused_and_changes_nothing(tmp_path: Path, database_url: str) -> None:
    """Somebody stranded, another deploy since the preview, names that nothing has, a canary of what isn't changed."""
    async with opened(tmp_path, database_url, files={"journeys/once.yaml": STAY}) as people:
        desk = Desk(tmp_path, people)
        await desk.enter("ada")
        await people.query("update enrollments set step = 'month' returning 1")
        other = desk.compiled(once=OTHER)
        with pytest.raises(Stranded, match="1 at 'month'") as stranded:
            await desk.put(other, Wishes("migrate"))
        assert "once.month=STEP" in stranded.value.hint
        for wishes, said in (
            (Wishes(journeys={"twice": "pin"}), "no journey 'twice'"),
            (Wishes("migrate", named=(("", "year", "weeks"),)), "has a step 'year'"),
            (Wishes("migrate", named=(("once", "month", "week"),)), "has no step 'week'"),
            (Wishes(canary=0.1, canaries=("nobody",)), "no journey 'nobody'"),
            (Wishes(canary=0.1, canaries=("once",), journeys={"once": "migrate"}), "can't have a canary"),
        ):
            with pytest.raises(Refused, match=said):
                await desk.see(other, wishes)
        with pytest.raises(Refused, match="is same"):
            await desk.see(desk.compiled(once=STAY), Wishes(canary=0.1, canaries=("once",)))
        other = desk.compiled(once=OTHER)
        seen = await desk.see(other, Wishes("migrate", named=(("", "month", "weeks"),)))
        assert [("month", "moves", "weeks", 1)] == [(f.step, f.becomes, f.to, f.count) for f in seen.journeys[0].fates]
        assert [1] == [r.n for r in await people.query("select count(*) as n from deployments")]
        await desk.put(desk.compiled(once=STAY, two=TWO))
        with pytest.raises(Overtaken, match="number 2"):
            await desk.put(other, Wishes("migrate", named=(("", "month", "weeks"),)), seen)
        async with transaction(people.core.database) as c:
            with pytest.raises(NoSuchStep, match="no step 'weeks'"):
                await reset(c, Deployments(), [1], "weeks", "test")
        assert [] == await people.query("select 1 from inputs where kind = 'move'")


async def test_a_canary_and_a_strategy_that_leave_nothing_to_each_other_are_refused(tmp_path: Path, database_url: str) -> None:
    """Rather than one of them winning; of different journeys both hold."""
    async with opened(tmp_path, database_url, files={"journeys/once.yaml": STAY, "journeys/two.yaml": TWO}) as people:
        desk = Desk(tmp_path, people)
        same = desk.compiled()
        with pytest.raises(Refused, match="no journey has changed"):
            await desk.see(same, Wishes(canary=0.5))
        one = desk.compiled(once=STAY.replace("30d", "20d"))
        for wishes, said in (
            (Wishes("migrate", canary=0.5), "--strategy migrate contradict"),
            (Wishes("drain", canary=0.5), "--strategy drain contradict"),
            (Wishes("migrate", canary=0.5, canaries=("once",)), "--strategy migrate contradict"),
            (Wishes(canary=0.5, journeys={"once": "migrate"}), "try nothing: once changed, with a --strategy of its own"),
        ):
            with pytest.raises(Refused, match=said) as refused:
                await desk.see(one, wishes)
            assert "leave one of them out" in refused.value.hint
        both = desk.compiled(two=TWO.replace("30d", "20d"))
        for wishes in (Wishes(canary=0.5, journeys={"two": "migrate"}), Wishes("migrate", canary=0.5, canaries=("once",))):
            seen = (await desk.see(both, wishes)).journeys
            assert [("once", 0.5, "pin"), ("two", None, "migrate")] == [(c.journey, c.canary, c.strategy) for c in seen]


async def test_to_drain_what_has_not_changed_names_it(tmp_path: Path, database_url: str) -> None:
    """For all it means those that change: where it would drain nobody, nothing is deployed."""
    async with opened(tmp_path, database_url, files={"journeys/once.yaml": STAY}) as people:
        desk = Desk(tmp_path, people)
        for files in (desk.compiled(), desk.compiled(two=TWO)):
            with pytest.raises(Refused, match="would drain none") as refused:
                await desk.put(files, Wishes("drain"))
            assert "--strategy JOURNEY=drain" in refused.value.hint
        assert [1] == [r.n for r in await people.query("select count(*) as n from deployments")]
        changed = desk.compiled(once=OTHER)
        assert {"once": {"drained": True}} == (await desk.put(changed, Wishes("drain"))).rollout()
        assert {"two": {"drained": True}} == (await desk.put(changed, Wishes("drain", {"two": "drain"}))).rollout()
        await desk.put(replace(release_of(changed), plans={}), Wishes("drain"))


async def test_a_rollback_passes_over_what_is_as_the_one_in_force(tmp_path: Path, database_url: str) -> None:
    """A trial of which nothing would be left, and what was gone back from; by its number or hash such a one is refused, unless
    somebody inside comes back with it. Who was drained comes in again."""
    async with opened(tmp_path, database_url, files={"journeys/once.yaml": STAY}) as people:
        desk = Desk(tmp_path, people)
        stay = desk.compiled()
        await desk.put(stay)
        with pytest.raises(Refused, match=r"no earlier deployment"):
            await desk.earlier(None)
        other = desk.compiled(once=OTHER)
        await desk.put(other, Wishes(canary=0.5))
        await desk.put(await desk.earlier(None))
        with pytest.raises(Refused, match=r"going back to it changes nothing") as refused:
            await desk.put(await desk.earlier("1"), Wishes(journeys={"once": "migrate"}))
        assert "nobody is inside on another plan of once" == refused.value.hint
        with pytest.raises(Refused, match=r"every earlier deployment is as the one in force \(number 3\)"):
            await desk.earlier(None)
        await desk.put(other)
        await desk.enter("ada")
        back = await desk.earlier(None)
        assert "rollback to 3" == back.act
        await desk.put(back)
        await desk.put(other, Wishes(canary=0.5))
        back = await desk.earlier(None)
        assert "rollback to 5" == back.act
        await desk.put(back)
        assert "rollback to 4" == (await desk.earlier(None)).act, "of 6 nothing is left without its trial"
        for same in ("1", "6"):
            with pytest.raises(Refused, match=rf"deployment {same} is as the one in force \(number 7\): .* changes nothing"):
                await desk.put(await desk.earlier(same))
        async with transaction(people.core.database) as c:
            listed = await history(c, 10)
        assert 7 == len(listed)
        with pytest.raises(Refused, match=r"deployment 7 is the one in force: .* changes nothing"):
            await desk.earlier(listed[-1].hash)
        brought = await desk.put(await desk.earlier("1"), Wishes(journeys={"once": "migrate"}))
        assert 1 == brought.journeys[0].moves()
        await desk.put(stay, Wishes(journeys={"once": "drain"}))
        assert "rollback to 8" == (await desk.earlier(None)).act


async def test_a_deploy_that_changes_nothing_writes_nothing(tmp_path: Path, database_url: str) -> None:
    """Nor does `up`; whoever is to be moved, drained or let in again is a change. What is one is told by its number."""
    async with opened(tmp_path, database_url, files={"journeys/once.yaml": STAY}) as people:
        desk = Desk(tmp_path, people)
        await desk.enter("ada")
        first = release_of(desk.compiled())
        database = people.core.database

        async def put(release: Release, wishes: Wishes) -> int:
            number, changes = await put_in_force(database, release, "test", wishes)
            assert (number == changes.since) == changes.nothing()
            return number

        second, third = release_of(desk.compiled(once=OTHER)), release_of(desk.compiled(once=OTHER.replace("20d", "21d")))
        migrate = Wishes(journeys={"once": "migrate"}, named=(("", "month", "weeks"),))
        drain = Wishes(journeys={"once": "drain"})
        for release, wishes, number in (
            (first, Wishes(), 1),
            (first, Wishes("migrate"), 1),
            (first, Wishes(journeys={"once": "migrate"}), 1),
            (second, Wishes(), 2),
            (second, Wishes(), 2),
            (second, Wishes("migrate"), 2),
            (second, migrate, 3),
            (second, drain, 4),
            (second, drain, 4),
            (second, Wishes(), 5),
            (first, Wishes(canary=0.004), 6),
            (first, Wishes(canary=0.004), 6),
            (first, Wishes(canary=0.999), 7),
            (third, Wishes(canary=0.999), 8),
            (second, Wishes(), 9),
        ):
            assert number == await put(release, wishes), (number, wishes)
        assert (await deploy_if_other(database, desk.compiled(once=OTHER), "up")).nothing()
        async with transaction(database) as c:
            listed = [dict(d.changed).get("once", "") for d in await history(c, 10)]
        again, trials = "takes people in again", ["99.9% on trial", "99.9% on trial", "0.4% on trial"]
        assert ["no longer on trial", *trials, again, "takes nobody", "", "changed", "new"] == listed
        assert [9] == [r.n for r in await people.query("select count(*) as n from deployments")]
        acts = await people.query("select subject from audit where act = 'deploy' order by id")
        assert [f"deployment/{n}" for n in range(1, 10)] == [r.subject for r in acts]
        assert [3] == [r.deployment for r in await people.query("select deployment from moves")]


async def test_everybody_is_asked_once_batch_by_batch(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mover that dies between two batches, or within one, leaves the rest to the next one; who has ended isn't asked; a deploy
    of something else lets the rest go on, one of another plan of the journey ends it."""
    monkeypatch.setattr("engine.intake.moving.BATCH", 3)
    async with opened(tmp_path, database_url, files={"journeys/once.yaml": STAY}) as people:
        desk = Desk(tmp_path, people)
        await desk.enter(*(f"u{n}" for n in range(8)))
        await people.query("update enrollments set status = 'ended' where id = (select min(id) + 1 from enrollments) returning 1")
        moving = Wishes("migrate", named=(("", "month", "weeks"),))
        await desk.put(desk.compiled(once=OTHER), moving)
        known = Deployments()

        async def asked() -> int:
            return (await people.query("select count(*) as n from inputs where kind = 'move'"))[0].n

        async with transaction(people.core.database) as c:
            assert 3 == await ask_next(c, known)
        async with people.core.database.connect() as c:
            assert 3 == await ask_next(c, known), "its process dies before the commit"
        assert 3 == await asked()
        await desk.put(desk.compiled(two=TWO))
        for _ in range(9):
            async with transaction(people.core.database) as c:
                if await ask_next(c, known) is None:
                    break
        assert 7 == await asked()
        assert 7 == len(await people.query("select distinct enrollment_id from inputs where kind = 'move'"))
        await desk.put(desk.compiled(once=OTHER.replace("20d", "21d")), replace(moving, named=()))
        await desk.put(desk.compiled(once=STAY))
        async with transaction(people.core.database) as c:
            assert await ask_next(c, known) is None, "rolled back before anybody was asked"
        assert 7 == await asked()
