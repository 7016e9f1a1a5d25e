"""Identify, alias, merge, track and unmerge, said by several clients at once in any order: one customer to an identifier, no
event lost, no slot lost, nobody twice in a journey, and no consent that somebody took back."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from engine.store.database import connect
from tests.people import opened
from tests.proofs.joined import FIRST, THEN, Call, Scene, slots, taken

ROOT = Path(__file__).parents[2]
_runs = itertools.count()


def clients(kinds: tuple[str, ...], most: int) -> st.SearchStrategy[list[list[Call]]]:
    """What each of three clients does."""
    calls = st.tuples(st.sampled_from(kinds), st.integers(0, 3), st.integers(0, 3), st.integers(0, 5))
    return st.lists(st.lists(calls, max_size=most), min_size=3, max_size=3)


class Town:
    """A store with journeys deployed, for all examples of a test."""

    def __init__(self, folder: Path, url: str, identity: str) -> None:
        self.runner, self.url = asyncio.Runner(), url

        async def deploy() -> None:
            async with opened(folder, url, identity=identity):
                pass

        self.runner.run(deploy())

    def play(self, first: list[list[Call]], then: list[list[Call]], *, parted: bool) -> None:
        """All clients at once; a pause in which slots are taken; all at once again."""

        async def run() -> None:
            database = connect(self.url, pool=8)
            try:
                name = f"r{next(_runs)}"
                scenes = [Scene(database, name, f"c{n}") for n in range(len(first))]
                # A user's consents are one client's business: then the order in which they were said is known.
                await asyncio.gather(*(s.play(_own(n, calls)) for n, (s, calls) in enumerate(zip(scenes, first, strict=True))))
                before = await slots(scenes[0])
                await scenes[0].check(scenes, parted=False)
                await asyncio.gather(*(s.play(_own(n, calls)) for n, (s, calls) in enumerate(zip(scenes, then, strict=True))))
                assert before == await taken(scenes[0]), "a slot is lost"
                await scenes[0].check(scenes, parted=parted)
            finally:
                await database.dispose()

        self.runner.run(run())


def _own(client: int, calls: list[Call]) -> list[Call]:
    return [(k, client, *rest) if k in ("grant", "withdraw") else (k, one, *rest) for k, one, *rest in calls]  # type: ignore[misc]


@pytest.fixture(params=["", "{merge: [alias, email]}"], ids=["without rules", "with rules"])
def town(request: pytest.FixtureRequest, tmp_path: Path, database_url: str) -> Iterator[Town]:
    """Under both policies."""
    made = Town(tmp_path, database_url, request.param)
    yield made
    made.runner.close()


CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
QUICK = settings(max_examples=12, derandomize=True, phases=[Phase.generate], suppress_health_check=CHECKS, deadline=None)
WITHOUT_UNDO = tuple(k for k in THEN if k != "unmerge")


@QUICK
@given(clients(FIRST, 5), clients(WITHOUT_UNDO, 6))
def test_whoever_says_what_when(town: Town, first: list[list[Call]], then: list[list[Call]]) -> None:
    """Also: each event is its identifier's."""
    town.play(first, then, parted=False)


@QUICK
@given(clients(FIRST, 4), clients(THEN, 6))
def test_and_whoever_takes_it_back(town: Town, first: list[list[Call]], then: list[list[Call]]) -> None:
    """With merges undone on the way."""
    town.play(first, then, parted=True)


@pytest.mark.nightly
@settings(max_examples=1500, database=None, suppress_health_check=CHECKS, deadline=None)
@given(clients(FIRST, 8), clients(THEN, 12))
def test_a_long_search(town: Town, first: list[list[Call]], then: list[list[Call]]) -> None:
    """Other calls every night; what fails is made short."""
    town.play(first, then, parted=True)


async def _used_up(url: str) -> tuple[Scene, int]:
    """Everybody has signed up, and has got something for it: what was said, and how many slots that took."""
    database = connect(url, pool=2)
    scene = Scene(database, "p", "before")
    await scene.play([("sign_up", n, n, third) for n in range(4) for third in (0, 1)])
    found = await slots(scene)
    await database.dispose()
    assert found == 2 * 8, "by the journeys `once` and `order`"
    return scene, found


def test_several_processes_say_who_is_who(tmp_path: Path, database_url: str) -> None:
    """Three of them, forty calls each, about the same eight people, of whom each has used up some of their caps before."""
    town = Town(tmp_path, database_url, "{merge: [alias, email]}")
    before = town.runner.run(_used_up(database_url))
    command = [sys.executable, "-m", "tests.proofs.joined", database_url, "p"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [*command, f"c{n}", str(n), "40"], cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for n in range(3)
    ]
    said = [process.communicate(timeout=120) for process in running]
    assert [0, 0, 0] == [process.returncode for process in running], [err[-2000:] for _, err in said]

    async def check() -> None:
        database = connect(database_url, pool=2)
        scene = Scene(database, "p")
        for out, _ in said:
            for line in out.splitlines():
                message, *identifier = line.split()
                if identifier:
                    scene.said[message] = (identifier[0], identifier[1])
                else:
                    scene.aside.append(message)
        await scene.check([scene, before[0]], parted=False)
        assert before[1] == await taken(scene), "a merge gave somebody a cap anew"
        await database.dispose()

    town.runner.run(check())
    town.runner.close()
