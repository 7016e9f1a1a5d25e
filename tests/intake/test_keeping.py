"""What is kept of computed attributes is at any time what all events of the customer give: late ones and repeats, history, time
that passes, attributes that change, merges taken back, and definitions that a deploy changed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from engine.app.deploying import deploy
from engine.authoring.project import load_project
from engine.core.incoming import Incoming
from engine.delivery import computing
from engine.delivery.deployment import Needs
from engine.delivery.deployments import Deployments
from engine.delivery.people import People
from engine.intake.backfill import Backfill
from engine.intake.commanded import CantMerge
from engine.intake.door import Intake
from engine.store import computed, customers, events
from engine.store.database import Database, connect, fetch, now, run, transaction
from tests.harness import write_project
from tests.intake.recomputed import BY_FIRST, BY_SECOND, EVENTS, FIRST, SECOND, Event, Seen, Worked
from tests.people import opened

JOURNEY = """
    journey: once
    tier: lifecycle
    enter: {event: viewed, where: customer.orders >= 3, again: never}
    steps: [{wait: 30d, id: month}]
"""
ZONES = ("Europe/Rome", "Pacific/Kiritimati", "America/Los_Angeles")
KINDS = ("food", "care", "toys", None)

_runs = itertools.count()

Call = tuple[str, int, int, int]


@dataclass
class Town:
    """A store in which the project is deployed, for all examples of a test."""

    folder: Path
    url: str
    runner: asyncio.Runner = field(default_factory=asyncio.Runner)

    def __post_init__(self) -> None:
        async def begin() -> None:
            files = {"journeys/once.yaml": JOURNEY, "journeys/tracking.yaml": EVENTS + FIRST}
            async with opened(self.folder, self.url, files=files):
                pass

        self.runner.run(begin())

    def play(self, calls: Sequence[Call]) -> None:
        """One example."""

        async def run_all() -> None:
            database = connect(self.url, pool=4)
            try:
                scene = Scene(database, self.folder, f"r{next(_runs)}")
                await scene.redeploy(0)
                for call in calls:
                    await scene.call(*call)
                await scene.check()
            finally:
                await database.dispose()

        self.runner.run(run_all())


@dataclass
class Scene:
    """People of one example. `worked`: how the version that is deployed works attributes out."""

    database: Database
    folder: Path
    name: str
    worked: Worked = field(default_factory=dict)
    made: int = 0
    last: list[Incoming] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.deployments = Deployments()
        self.intake = Intake(self.database, self.deployments)

    async def call(self, kind: str, one: int, other: int, third: int) -> None:
        """What `kind` says, with three numbers that say of whom and what."""
        if kind == "deploy":
            await self.redeploy(third)
        elif kind == "pass":
            async with transaction(self.database) as c:
                await run(c, "update clock set logical_epoch = logical_epoch + make_interval(hours => :h)", h=(third + 1) * 31)
        elif kind == "fill":
            await Backfill(self.database, self.deployments).page()
        elif kind == "look":
            await self.check()
        elif kind == "repeat":
            await self.intake.accept(self.last)
        elif kind in ("merge", "unmerge"):
            with suppress(CantMerge):
                await (self._merge(one, other) if kind == "merge" else self._unmerge(third))
        elif kind == "move":
            traits = {"timezone": ZONES[third % 3], "favourite": KINDS[other % 3]}
            await self._tell(Incoming("identify", "test", "", traits=traits, identifiers=self._who(one)))
        else:
            await self._tell(*[await self._event(kind, one, other + n, third) for n in range(1 + third % 3)])

    async def _event(self, kind: str, one: int, other: int, third: int) -> Incoming:
        """A purchase or a view; `late` ones lie up to two months back, `history` enrolls nobody."""
        name = "viewed" if other % 3 == 0 else "bought"
        bought = {"total": (12, 0.1, 19.99, -3, None)[third % 5], "kind": KINDS[other % 4], "on": "2026-01-31T10:00:00+02:00"}
        viewed = {"product": f"p{third % 4}"}
        async with transaction(self.database) as c:
            at = await now(c) - timedelta(hours=0 if kind == "track" else 7 * (other + 1) * (third + 1) ** 2)
        properties = {k: v for k, v in (viewed if name == "viewed" else bought).items() if v is not None}
        history = kind == "history"
        return Incoming("track", "test", "", name, properties, identifiers=self._who(one), occurred_at=at, history=history)

    def _who(self, number: int) -> dict[str, str]:
        key = "anonymous_id" if number == 3 else "user_id"
        return {key: f"{self.name}-{number}"}

    async def _tell(self, *told: Incoming) -> None:
        values = [{n: getattr(i, n) for n in Incoming.__slots__} for i in told]
        numbered = [Incoming(**{**v, "message_id": f"{self.name}-{self.made + n}"}) for n, v in enumerate(values)]
        self.made += len(told)
        self.last = numbered
        assert [] == [a.quarantined for a in await self.intake.accept(numbered) if a.quarantined]

    async def _merge(self, one: int, other: int) -> None:
        ids = await self._ids()
        if f"{self.name}-{one}" in ids and f"{self.name}-{other}" in ids:
            await self.intake.merge(ids[f"{self.name}-{one}"], ids[f"{self.name}-{other}"], "test")

    async def _unmerge(self, third: int) -> None:
        async with transaction(self.database) as c:
            found = await fetch(
                c,
                "select id from merges where undone_at is null and kept = any(cast(:ids as bigint[])) order by id desc",
                ids=sorted((await self._ids()).values()),
            )
        if found:
            await self.intake.unmerge(found[third % len(found)].id, "test")

    async def _ids(self) -> dict[str, int]:
        async with transaction(self.database) as c:
            found = await fetch(c, "select value, customer_id from identifiers where value like :n", n=f"{self.name}-%")
        return {r.value: r.customer_id for r in found}

    async def redeploy(self, version: int) -> None:
        """The project with the computed attributes of another version."""
        text, self.worked = ((FIRST, BY_FIRST), (SECOND, BY_SECOND))[version % 2]
        write_project(self.folder, {"journeys/tracking.yaml": EVENTS + text, "journeys/once.yaml": JOURNEY})
        await deploy(self.database, load_project(self.folder, {"email", "sms"}), "test")

    async def check(self) -> None:
        """Every attribute of everybody is what all their events give; now, and a day ago."""
        async with transaction(self.database) as c:
            deployment = await self.deployments.current(c)
            ids = sorted(set((await self._ids()).values()))
            people = await customers.lock(c, ids)
            stored = await events.of_names(c, ids, ["bought", "viewed"])
            moment = await now(c)
            needs = Needs(computed=frozenset(self.worked))
            for at in (moment, moment - timedelta(days=1)):
                looked = await People.load(c, deployment, ids, needs, at)
                for i in ids:
                    attributes = people[i].attributes
                    theirs = [Event(r.name, r.occurred_at, r.properties) for r in stored if r.customer_id == i]
                    seen = Seen(theirs, attributes, at, attributes.get("timezone") or "UTC")
                    expected = {name: work(seen) for name, work in self.worked.items()}
                    found = looked.customer(i, attributes)
                    assert expected == {name: found[name] for name in self.worked}


ACTS = ("track", "track", "late", "late", "history", "repeat", "pass", "move", "merge", "unmerge", "deploy", "fill", "look")


def plays(most: int) -> st.SearchStrategy[list[Call]]:
    """What happens."""
    call = st.tuples(st.sampled_from(ACTS), st.integers(0, 3), st.integers(0, 3), st.integers(0, 5))
    return st.lists(call, min_size=3, max_size=most)


CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
QUICK = settings(max_examples=20, derandomize=True, phases=[Phase.generate], suppress_health_check=CHECKS, deadline=None)


@pytest.fixture(params=[computing.ENTRIES, 3], ids=["all is kept", "much is too much"])
def town(request: pytest.FixtureRequest, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    """With the limit as it is, and with one that is soon reached."""
    monkeypatch.setattr(computing, "ENTRIES", request.param)
    made = Town(tmp_path, database_url)
    yield made
    made.runner.close()


@QUICK
@given(plays(14))
def test_what_is_kept_is_what_all_events_give(town: Town, calls: list[Call]) -> None:
    """Whatever happens in whatever order, for everybody and every attribute."""
    town.play(calls)


@pytest.mark.nightly
@settings(max_examples=1_000, database=None, suppress_health_check=CHECKS, deadline=None)
@given(plays(40))
def test_a_long_search(town: Town, calls: list[Call]) -> None:
    """Other calls every night; what fails is made short."""
    town.play(calls)


@pytest.fixture
async def scene(tmp_path: Path, database_url: str) -> Any:
    """A store in which the first version is deployed."""
    files = {"journeys/once.yaml": JOURNEY, "journeys/tracking.yaml": EVENTS + FIRST}
    async with opened(tmp_path, database_url, files=files) as found:
        made = Scene(found.core.database, tmp_path, "s")
        await made.redeploy(0)
        yield made


async def kept(scene: Scene) -> dict[tuple[int, str], str]:
    """(customer, attribute) → the hash of the definition under which something is kept."""
    async with transaction(scene.database) as c:
        found = await fetch(c, "select customer_id, name, definition from computed")
    return {(r.customer_id, r.name): r.definition for r in found}


def bought(user: str, number: int) -> Incoming:
    """A purchase."""
    return Incoming("track", "test", f"b{number}", "bought", {"total": 5, "kind": "food"}, identifiers={"user_id": user})


async def test_only_what_an_event_concerns_is_touched(scene: Scene) -> None:
    """A view leaves what is kept of purchases alone; attributes that aren't kept have no rows."""
    view = Incoming("track", "test", "v1", "viewed", {"product": "a"}, identifiers={"user_id": "ada"})
    await scene.intake.accept([view])
    assert {"begun_with", "recent", "warmth"} == {name for _, name in await kept(scene)}
    await scene.intake.accept([bought("ada", 1)])
    assert set(BY_FIRST) - {"wished", "of_today"} == {name for _, name in await kept(scene)}


async def test_what_happened_under_another_version_counts_when_the_first_is_back(scene: Scene) -> None:
    """As after a rollback: what was kept for the first knows nothing of it, and isn't taken for the whole."""
    view = Incoming("track", "test", "v1", "viewed", {"product": "a"}, identifiers={"user_id": "s-ada"})
    await scene.intake.accept([view])
    await scene.redeploy(1)
    await scene.intake.accept([replace(view, message_id="v2")])
    await scene.redeploy(0)
    await scene.check()
    await scene.intake.accept([replace(view, message_id="v3")])
    await scene.check()


async def test_a_batch_takes_one_statement_to_read_and_two_to_write(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its size, once something is kept of everybody in it; and readers take the values without any event."""
    users = [f"u{n}" for n in range(40)]
    await scene.intake.accept([bought(user, n) for n, user in enumerate(users)])
    asked: list[str] = []

    def counting(module: Any, name: str) -> None:
        real = getattr(module, name)

        async def counted(*given: Any, **named: Any) -> Any:
            asked.append(name)
            return await real(*given, **named)

        monkeypatch.setattr(module, name, counted)

    for name in ("tidy", "with_events", "put", "of"):
        counting(computed, name)
    counting(events, "of_names")
    await scene.intake.accept([bought(user, 100 + n) for n, user in enumerate(users)])
    assert ["tidy", "with_events", "put"] == asked
    asked.clear()
    async with transaction(scene.database) as c:
        ids = [r.id for r in await fetch(c, "select id from customers")]
        needs = Needs(computed=frozenset(BY_FIRST) - {"wished", "of_today", "begun_with", "recent"})
        found = await People.load(c, await scene.deployments.current(c), ids, needs, await now(c))
    assert ["of"] == asked
    assert {10} == {found.customer(i, {})["spent"] for i in ids}


async def test_filling_in_goes_on_where_it_was(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a deploy: page by page, by anybody; what isn't defined any more goes; and then there is nothing left to do."""
    monkeypatch.setattr("engine.intake.backfill.PAGE", 2)
    await scene.intake.accept([bought(f"u{n}", n) for n in range(5)])
    old = set((await kept(scene)).values())
    await scene.redeploy(1)
    first = await Backfill(scene.database, Deployments()).page()
    assert (False, 2) == (first.done, first.customers)
    assert 0 < first.share < 1
    await scene.intake.accept([bought("u4", 99)])  # it comes before their turn
    pages = [await Backfill(scene.database, Deployments()).page() for _ in range(3)]
    assert [(False, 4), (True, 5), (True, 5)] == [(p.done, p.customers) for p in pages]
    assert not old & set((await kept(scene)).values())
    assert {"spent", "liked", "last_total", "warmth"} == {name for _, name in await kept(scene)}
    await scene.redeploy(0)
    assert not (await Backfill(scene.database, Deployments()).page()).done, "another deploy begins with the first customer"


async def test_everything_is_made_anew_if_asked(scene: Scene) -> None:
    """What somebody changed by hand is put right, for everybody."""
    await scene.intake.accept([bought(f"{scene.name}-{n}", n) for n in range(3)])
    work = Backfill(scene.database, Deployments())
    assert (await work.page()).done
    async with transaction(scene.database) as c:
        await run(c, "update computed set value = '7', state = state || '{\"n\": 7}'")
    assert (await work.page()).done
    with pytest.raises(AssertionError):
        await scene.check()
    await work.begin_again()
    assert (await work.page()).done
    await scene.check()


async def test_events_that_come_while_it_fills_in_count_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages and events at once, from several connections."""
    monkeypatch.setattr("engine.intake.backfill.PAGE", 3)
    await scene.intake.accept([bought(f"{scene.name}-{n}", n) for n in range(12)])
    await scene.redeploy(1)

    async def fill() -> None:
        while not (await Backfill(scene.database, Deployments()).page()).done:
            pass

    async def come(first: int) -> None:
        for n in range(first, first + 12):
            await Intake(scene.database, Deployments()).accept([bought(f"{scene.name}-{n % 12}", 1000 * first + n)])

    await asyncio.gather(fill(), fill(), come(1), come(2))
    await scene.check()


async def test_a_deploy_waits_for_those_who_follow_the_one_before_it(scene: Scene) -> None:
    """An event and a page of filling in that are under way keep the deployment that they began with; what comes while a deploy
    waits for them follows the new one."""
    await scene.intake.accept([bought(f"{scene.name}-0", 1)])
    async with transaction(scene.database) as holder:
        await customers.lock(holder, sorted((await scene._ids()).values()))
        tasks = []
        for waiting, doing in enumerate(
            (
                scene.intake.accept([bought(f"{scene.name}-0", 2)]),
                Backfill(scene.database, Deployments()).page(),
                scene.redeploy(1),
                Intake(scene.database, Deployments()).accept([bought(f"{scene.name}-0", 3)]),
            ),
            start=1,
        ):
            tasks.append(asyncio.create_task(doing))
            await until_wait(scene.database, waiting)
    await asyncio.gather(*tasks)
    async with transaction(scene.database) as c:
        hashes = {d.hash for d in (await scene.deployments.current(c)).definitions.kept}
        found = await fetch(c, "select definition from computed where name in ('spent', 'last_total')")
    assert {r.definition for r in found} <= hashes
    await scene.check()


async def until_wait(database: Database, sessions: int) -> None:
    """Until so many sessions of the store wait for a lock."""
    asked = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    async with asyncio.timeout(20):
        while True:
            async with transaction(database) as c:
                if (await fetch(c, asked))[0][0] == sessions:
                    return
            await asyncio.sleep(0.01)
