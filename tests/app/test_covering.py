"""What `sojourn test --cover` names: every step and way of a journey that no test passes, and nothing else. On the simulator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engine.app.testing.chosen import NoSuchTest, choose, rounds
from engine.app.testing.covering import Cover, covered, share, ways_of
from engine.app.testing.junit import junit
from engine.app.testing.playing import Result, play
from engine.app.testing.showing import shown, summary
from engine.authoring.project import Compiled, load_project
from tests.harness import utc, write_project
from tests.simulator.played import ADDRESSES

WAYS = """
journey: ways
tier: lifecycle
enter: {event: signed_up, again: always}
steps:
  - wait: 1d
    id: a_day
  - branch:
      - if: entry.plan == "pro"
        then:
          - task: sales
            title: Call
      - if: entry.plan == "team"
        then:
          - exit: by_hand
      - else:
          - send: email
            if: customer.country != "IT"
            template: hello
            topic: news
            on_defer: skip
  - wait_for:
      - {event: confirmed, then: [{send: email, template: again, topic: news}]}
      - {event: cancelled}
    id: answer
    timeout: 2d
    else:
      - exit: silence
  - split: coin
    holdout: 10%
    arms:
      - {name: heads, weight: 1, then: [{set: {vars.side: heads}}]}
      - {name: tails, weight: 1, then: [{exit: tails}]}
"""

TESTS = """
- test: pro, confirmed while the wait lasts, heads
  journey: ways
  customer: {email: ada@example.com}
  arms: {coin: heads}
  events:
    - {at: 2026-03-02 10:00, event: signed_up, plan: pro}
    - {at: 2026-03-03 12:00, event: confirmed}
  expect:
    - {at: 2026-03-03 10:00, task: sales}
    - {at: 2026-03-03 12:00, send: email, template: again}

- test: free, in Italy, silent
  journey: ways
  customer: {email: bo@example.com, country: IT}
  events:
    - {at: 2026-03-02 10:00, event: signed_up, plan: free}
  expect:
    - {at: 2026-03-05 10:00, exit: silence}
"""

FREE = """
- test: free and elsewhere, cancelled before anybody waits for it
  journey: ways
  customer: {email: cy@example.com, country: FR}
  arms: {coin: tails}
  events:
    - {at: 2026-03-02 10:00, event: signed_up, plan: free}
    - {at: 2026-03-02 12:00, event: cancelled}
  expect:
    - {at: 2026-03-03 10:00, send: email, template: hello}
    - {at: 2026-03-03 10:00, exit: tails}
"""

ODD = """
- test: "an odd \\a title, of a test of which nothing is true"
  journey: ways
  customer: {email: di@example.com}
  arms: {coin: heads}
  until: 2026-03-03 11:00
  events:
    - {at: 2026-03-02 10:00, event: signed_up, plan: team}
  expect:
    - {at: 2026-03-02 10:00, send: email, template: hello}

- test: nobody falls on the edge
  journey: ways
  arms: {coin: edge}
"""


def results(folder: Path, tests: str) -> tuple[Compiled, list[Result]]:
    """The project, and what became of its tests."""
    compiled = load_project(
        write_project(folder, {"journeys/ways.yaml": WAYS, "journeys/tests/ways.yaml": tests}), {"email", "sms"}
    )
    return compiled, list(play(compiled, choose(compiled, folder), ADDRESSES))


def cover(folder: Path, tests: str) -> Cover:
    """What these tests, which pass, cover."""
    compiled, found = results(folder, tests)
    assert [] == [summary(r) for r in found if not r.passed]
    (one,) = covered(compiled.plans, [t for r in found for t in r.told])
    return one


def test_steps_and_ways_that_no_test_passes_are_named(tmp_path: Path) -> None:
    """Arms, `else`, what a wait waits for and its timeout, arms and holdout of a split, an `if` that holds or doesn't; a step
    that nobody gets to is named once, and not with its ways."""
    first = cover(tmp_path / "two", TESTS)
    assert {
        "branch": ['if entry.plan == "team"'],
        "exit.by_hand": [],
        "send.hello": [],
        "answer": ["cancelled"],
        "split.coin": ["arm tails", "held out"],
        "exit.tails": [],
    } == first.by_step()
    ways = {(way.step, way.words) for way in first.ways}
    assert {("send.hello", ""), ("send.hello", "left out, because its if: is false"), ("a_day", ""), ("answer", "")} <= ways
    more = cover(tmp_path / "three", TESTS + FREE)
    assert {"branch": ['if entry.plan == "team"'], "exit.by_hand": [], "split.coin": ["held out"]} == more.by_step()
    assert first.share < more.share == share([more]) < 1.0 == share([])
    assert len(ways_of(load_project(tmp_path / "two", {"email", "sms"}).plans["ways"])) == len(first.ways)


def test_what_failed_is_told_to_people_and_to_ci(tmp_path: Path) -> None:
    """Well-formed XML whatever a title holds: a failure with both sides, an error where nobody could be who the test says, and
    the counts of each suite."""
    _, found = results(tmp_path, TESTS + ODD)
    assert [True, True, False, False] == [r.passed for r in found]
    assert "1 didn't happen, 1 happened unlisted" == summary(found[2])
    lines = [" ".join(line.split()) for _, line in shown(found[2], 100)]
    assert "- 2026-03-02 10:00 send email hello │ (nothing)" in lines
    assert "+ (nothing) │ 2026-03-03 10:00 exit by_hand" in lines
    assert {" ", "-", "+"} == {mark for mark, _ in shown(found[2], 100)}
    assert "arms: nobody gets into 'edge' of the split 'coin': its arms are heads, tails" == found[3].wrong
    file = tmp_path / "junit.xml"
    junit(found, utc("2026-03-09 10:00")).write(file, encoding="utf-8", xml_declaration=True)
    root = ElementTree.parse(file).getroot()
    (suite,) = root.findall("testsuite")
    for counts in (root, suite):
        assert ("4", "1", "1", "0") == tuple(counts.get(n) for n in ("tests", "failures", "errors", "skipped"))
    cases = suite.findall("testcase")
    assert ["1", "12"] == [case.get("line") for case in cases][:2]
    assert {("ways", "journeys/tests/ways.yaml")} == {(case.get("classname"), case.get("file")) for case in cases}
    assert "an odd \ufffd title, of a test of which nothing is true" == cases[2].get("name")
    failure, error = cases[2].find("failure"), cases[3].find("error")
    assert failure is not None
    assert "send email hello" in (failure.text or "")
    assert error is not None
    assert found[3].wrong == error.get("message")


def test_tests_are_chosen_by_file_folder_journey_and_title(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any of them; what isn't there is told with what is near. Tests of the same journeys are played together."""
    compiled, _ = results(tmp_path, TESTS + FREE)
    monkeypatch.chdir(tmp_path)
    every = [c.number for c in choose(compiled, tmp_path)]
    assert [1, 2, 3] == every
    for name in ("ways", "journeys/tests/ways.yaml", "journeys/tests", str(tmp_path / "journeys"), "."):
        assert every == [c.number for c in choose(compiled, tmp_path, [name])]
    assert [3] == [c.number for c in choose(compiled, tmp_path, ["ways"], "ELSEWHERE")]
    assert [[1, 2, 3]] == [[c.number for c in together] for together in rounds(compiled, choose(compiled, tmp_path))]
    for names, text, message in (
        (["wayz"], "", "there is no test file and no journey 'wayz'"),
        ([], "nothing like it", "none of 3 titles has 'nothing like it' in it"),
    ):
        with pytest.raises(NoSuchTest, match=message):
            choose(compiled, tmp_path, names, text)


def test_a_journey_without_a_test_is_told_where_to_write_one(tmp_path: Path) -> None:
    """The file that it would be in."""
    compiled, _ = results(tmp_path, TESTS)
    untested = replace(compiled, plans={**compiled.plans, "ticket": compiled.plans["ways"]})
    with pytest.raises(NoSuchTest, match="the journey 'ticket' has no test") as told:
        choose(untested, tmp_path, ["ticket"])
    assert told.value.hint.startswith("write one into journeys/tests/ticket.yaml: ")
