"""Every journey that ships, exercised on the real engine by the tests that stand next to it."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from engine.app.testing.chosen import Chosen, choose, rounds
from engine.app.testing.covering import covered
from engine.app.testing.expectations import compared
from engine.app.testing.playing import play
from engine.app.testing.timeline import OnTimeline
from engine.authoring.project import Compiled, load_project
from engine.authoring.shape_tests import Test as Written
from engine.core.plan import Send
from tests.simulator.played import ADDRESSES

ROOT = Path(__file__).parents[2]

UNREACHED: dict[tuple[str, str], str] = {}
"""(journey, step) of the sends that no test reaches, with the reason."""


@cache
def shipped() -> Compiled:
    """The project at the root of the repository."""
    return load_project(ROOT, {"email", "sms", "push"})


@cache
def written() -> tuple[tuple[tuple[str, ...], Written], ...]:
    """Every test with the journeys that it runs, in the order of the files."""
    return tuple((c.journeys, c.test) for c in choose(shipped(), ROOT))


@cache
def together() -> dict[str, list[Chosen]]:
    """Tests that are played together, under a name."""
    return {f"{'+'.join(r[0].journeys)}-{r[0].number}": r for r in rounds(shipped(), choose(shipped(), ROOT))}


@pytest.mark.parametrize("name", together())
async def test_a_journey_does_what_its_tests_say(name: str, on_timeline: OnTimeline) -> None:
    """On real servers, messages, tasks and exits come as listed, in order, to the minute, and nothing comes beside them."""
    chosen = together()[name]
    async with on_timeline(shipped(), chosen[0].journeys, [c.test for c in chosen]) as played:
        await played.play()
        told = {p.test.test: compared(p.test.expect, await played.lines(p), p.zone) for p in played.passages}
    assert len(chosen) == len(told)
    assert {} == {title: rows for title, rows in told.items() if any(row.wrong for row in rows)}


def test_the_project_that_ships_has_no_problems() -> None:
    """Neither errors nor warnings."""
    assert [] == [p.render() for p in shipped().problems]


def test_every_journey_that_ships_has_two_tests() -> None:
    """At least; one that runs several journeys counts for each."""
    counts = Counter(journey for journeys, _ in written() for journey in journeys)
    assert {} == {journey: counts[journey] for journey in shipped().plans if counts[journey] < 2}


def test_the_titles_of_a_round_differ() -> None:
    """A result is told under its test's title, so no two that are played together share one."""
    assert {} == {name: t for name, t in together().items() if len({c.test.test for c in t}) != len(t)}


def test_every_send_that_ships_is_reached_by_a_test() -> None:
    """Each send's template is expected (sent, deferred or dropped) by a test that runs its journey. No journey has two sends of
    one template, which couldn't be told apart."""
    sends = [(name, op) for name, plan in shipped().plans.items() for op in plan.ops if isinstance(op, Send)]
    templates = Counter((name, op.template) for name, op in sends)
    assert {} == {key: n for key, n in templates.items() if n > 1}
    reached = {(journey, e.template) for journeys, test in written() for journey in journeys for e in test.expect if e.template}
    assert set(UNREACHED) == {(name, op.step) for name, op in sends if (name, op.template) not in reached}


def test_every_step_and_way_that_ships_is_passed_by_a_test() -> None:
    """All that can happen in a journey happens in one of its tests: `sojourn test --cover` names nothing."""
    told = [t for r in play(shipped(), choose(shipped(), ROOT), ADDRESSES) for t in r.told]
    assert {} == {c.journey: c.by_step() for c in covered(shipped().plans, told) if c.missed}
