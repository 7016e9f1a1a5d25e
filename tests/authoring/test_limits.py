"""`limits` of policy.yaml: what they compile to, and what is said of those that can't be meant, at its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.authoring.project import Compiled
from engine.core.policy import JourneyLimit, policy_from_json, policy_to_json
from engine.settings.problems import Problem
from tests.authoring.conftest import HEAD, POLICY

OTHERS = {name: HEAD.replace("journey: j", f"journey: {name}") + "- exit: done" for name in ("k", "l")}


def with_limits(*limits: str) -> dict[str, str]:
    """The shared policy with these limits, one to a line, and the journeys j, k and l."""
    return {"policy": POLICY + "limits:\n" + "".join(f"  - {{{one}}}\n" for one in limits), **OTHERS}


def test_limits_compile_and_survive_json(compiled: Callable[..., Compiled]) -> None:
    """Both forms, with their defaults; journeys keep their order."""
    files = with_limits(
        "name: one, journeys: [k, j], at_once: 1, when_full: displace",
        "name: two, at_once: 2",
        "name: calm, entries: 3, per: week",
    )
    policy = compiled(**files).policy
    assert (
        JourneyLimit("one", ("k", "j"), at_once=1, displaces=True),
        JourneyLimit("two", (), at_once=2),
        JourneyLimit("calm", (), entries=3, per="week"),
    ) == policy.limits
    assert policy == policy_from_json(policy_to_json(policy))


@pytest.mark.parametrize(
    ("limit", "code", "underlined"),
    [
        ("name: a, at_once: 1, entries: 2, per: day", "SJ420", "a"),
        ("name: a, journeys: [j]", "SJ420", "a"),
        ("name: a, at_once: 1, per: day", "SJ420", "per"),
        ("name: a, entries: 1", "SJ111", "entries"),
        ("name: a, entries: 1, per: 7d", "SJ112", "7d"),
        ("name: a, entries: 1, per: day, when_full: bar", "SJ420", "when_full"),
        ("name: a, at_once: 1, when_full: displace, journeys: [j]", "SJ420", "when_full"),
        ("name: a, at_once: 1, when_full: throw", "SJ112", "throw"),
        ("name: a, at_once: 0", "SJ112", "0"),
        ("name: a, at_once: 1, journeys: [j, jay]", "SJ206", "jay"),
        ("name: a, at_once: 1, journeys: [j, k, j]", "SJ411", "j"),
        ("name: a, at_one: 1", "SJ110", "at_one"),
        ("at_once: 1", "SJ111", "at_once"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_underlined(
    problems: Callable[..., list[Problem]], limit: str, code: str, underlined: str
) -> None:
    """One problem, with a code, at the key or value that is wrong, and a hint."""
    (found,) = [p for p in problems(**with_limits(limit)) if p.level == "error"]
    assert (code, "journeys/policy.yaml") == (found.code, found.file)
    assert underlined == found.text[found.column - 1 : found.column - 1 + found.length]


def test_two_limits_of_one_name(problems: Callable[..., list[Problem]]) -> None:
    """`why` names limits, so each has its own."""
    (found,) = problems(**with_limits("name: a, at_once: 1", "name: a, at_once: 2"))
    assert ("SJ411", 9) == (found.code, found.line)


@pytest.mark.parametrize(
    ("limits", "pair", "elsewhere"),
    [
        (("name: x, journeys: [j, k]", "name: y, journeys: [k, j]"), "'k' and 'j'", "the limit 'x'"),
        (("name: x, journeys: [j, l, k]", "name: y, journeys: [k, j]"), "'k' and 'j'", "the limit 'x'"),
        (
            ("name: x, journeys: [j, k]", "name: z, journeys: [k, l]", "name: y, journeys: [l, j]"),
            "'l' and 'j'",
            "what the limits before it say together",
        ),
    ],
)
def test_journeys_that_exclude_each_other_both_ways(
    problems: Callable[..., list[Problem]], limits: tuple[str, ...], pair: str, elsewhere: str
) -> None:
    """Each above the other, in two limits or by way of several: the second place is underlined, the first one named."""
    (found,) = problems(**with_limits(*(f"{one}, at_once: 1, when_full: displace" for one in limits)))
    assert ("SJ440", "journeys/policy.yaml", 7 + len(limits)) == (found.code, found.file, found.line)
    assert f"{pair} exclude each other both ways" == found.message
    assert found.hint.endswith(f"in one order here and in {elsewhere}")
    assert "j" == found.text[found.column - 1 : found.column - 1 + found.length]


def test_one_order_everywhere_and_counts_of_entries_are_no_contradiction(problems: Callable[..., list[Problem]]) -> None:
    """The order of a limit on entries says nothing of who excludes whom."""
    files = with_limits("name: x, journeys: [j, k], at_once: 1", "name: y, journeys: [j, l, k], at_once: 2")
    assert [] == problems(**files)
    assert [] == problems(
        **with_limits("name: x, journeys: [j, k], at_once: 1", "name: y, journeys: [k, j], entries: 1, per: day")
    )
