"""Every journey that ships, exercised on the real engine by the tests that stand next to it."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest

from engine.authoring.project import Compiled, load_project
from engine.authoring.shape_tests import Test as Written
from engine.core.plan import Send, plan_to_json
from tests.journeys.expectations import compared
from tests.journeys.timeline import OnTimeline

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
    tests = [test for tests in shipped().tests.values() for test in tests.root]
    return tuple((tuple(sorted(test.journeys or (test.journey or "",))), test) for test in tests)


@cache
def rounds() -> dict[str, tuple[tuple[str, ...], list[Written]]]:
    """Tests that are played together, under a name: those of the same journeys, because only the journeys that a test names may
    enroll its customer. Where `once_per` looks beyond one customer, each test has a round of its own."""
    found: dict[str, tuple[tuple[str, ...], list[Written]]] = {}
    numbers: dict[str, int] = defaultdict(int)
    for journeys, test in written():
        name = "+".join(journeys)
        if any(_looks_beyond(j) for j in journeys):
            numbers[name] += 1
            name = f"{name}-{numbers[name]}"
        found.setdefault(name, (journeys, []))[1].append(test)
    return found


def _looks_beyond(journey: str) -> bool:
    plan = plan_to_json(shipped().plans[journey])
    return any(e["once_per"] for e in plan["entries"]) or any((op.get("fields") or {}).get("once_per") for op in plan["ops"])


@pytest.mark.parametrize("name", rounds())
async def test_a_journey_does_what_its_tests_say(
    name: str,
    on_timeline: OnTimeline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On real servers, messages, tasks and exits come as listed, in order, to the minute, and nothing comes beside them."""
    monkeypatch.setenv("SOJOURN_SECRET_CRM_TOKEN", "token")
    journeys, tests = rounds()[name]
    async with on_timeline(shipped(), journeys, tests) as played:
        await played.play()
        told = {p.test.test: compared(p.test.expect, await played.lines(p), p.zone) for p in played.passages}
    assert len(tests) == len(told)
    wrong = [title for title, (expected, actual) in told.items() if expected != actual]
    assert {title: told[title][0] for title in wrong} == {title: told[title][1] for title in wrong}


def test_the_project_that_ships_has_no_problems() -> None:
    """Neither errors nor warnings."""
    assert [] == [p.render() for p in shipped().problems]


def test_every_journey_that_ships_has_two_tests() -> None:
    """At least; one that runs several journeys counts for each."""
    counts = Counter(journey for journeys, _ in written() for journey in journeys)
    assert {} == {journey: counts[journey] for journey in shipped().plans if counts[journey] < 2}


def test_the_titles_of_a_round_differ() -> None:
    """A result is told under its test's title, so no two that are played together share one."""
    assert {} == {name: t for name, (_, t) in rounds().items() if len({w.test for w in t}) != len(t)}


def test_every_send_that_ships_is_reached_by_a_test() -> None:
    """Each send's template is expected (sent, deferred or dropped) by a test that runs its journey. No journey has two sends of
    one template, which couldn't be told apart."""
    sends = [(name, op) for name, plan in shipped().plans.items() for op in plan.ops if isinstance(op, Send)]
    templates = Counter((name, op.template) for name, op in sends)
    assert {} == {key: n for key, n in templates.items() if n > 1}
    reached = {(journey, e.template) for journeys, test in written() for journey in journeys for e in test.expect if e.template}
    assert set(UNREACHED) == {(name, op.step) for name, op in sends if (name, op.template) not in reached}
