"""The command `test`, and the pytest plugin that runs the same tests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engine.cli import main, terminal
from tests.cli.commands import environ, sojourn

WRONG = """
- test: two things that don't happen
  journey: welcome
  customer: {email: ada@example.com, timezone: Europe/Rome}
  events:
    - {at: 2026-03-02 10:00, event: signed_up}
  expect:
    - {at: 2026-03-02 10:00, send: email, template: welcome/hello, contains: "Ciao"}
    - {at: 2026-03-06 10:00, send: email, template: welcome/nudge}
"""
LEFT = """
- test: who closes the account is left alone
  journey: welcome
  customer: {email: ada@example.com, timezone: Europe/Rome, consents: {email: {getting_started: withdrawn}}}
  events:
    - {at: 2026-03-02 10:00, event: signed_up}
    - {at: 2026-03-03 10:00, event: account_closed}
  expect:
    - {drop: email, template: welcome/hello, reason: consent}
    - {exit: account_closed}
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project fresh from `init`, in which commands are run."""
    assert 0 == main.run(["init", str(tmp_path / "shop")])
    monkeypatch.chdir(tmp_path / "shop")
    monkeypatch.setattr(terminal.out, "width", 120)
    return tmp_path / "shop"


def test_the_starters_tests_pass_and_wrong_ones_are_shown_side_by_side(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each test with the time that it took, then each failure as a timeline of what was expected and what happened."""
    capsys.readouterr()
    assert 0 == main.run(["test", "--cover", "--at-least", "100%"])
    said = capsys.readouterr().out
    assert "2 tests passed in" in said
    assert "100%  welcome" in said
    (shop / "journeys/tests/wrong.yaml").write_text(WRONG + LEFT)
    assert 1 == main.run(["test", "-k", "two things", "-x"])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("✗ two things that don't happen journeys/tests/wrong.yaml:2 0.")
    assert "2 differ" in lines
    assert "≠ 2026-03-06 10:00 send email welcome/nudge │ 2026-03-05 10:00 send email welcome/nudge" in lines
    assert 1 == sum("Welcome Hello" in line for line in lines)
    assert lines[-1].startswith("0 tests passed, 1 failed in")
    assert 1 == main.run(["test", "-x"])
    assert "2 tests passed, 1 failed, 1 not run in" in capsys.readouterr().out


def test_machines_get_json_and_junit(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows as they were compared, with reasons in words; what is covered; the exit code of a threshold that isn't reached."""
    (shop / "journeys/tests/wrong.yaml").write_text(LEFT)
    capsys.readouterr()
    assert 1 == main.run(["test", "journeys/tests/wrong.yaml", "--json", "--at-least", "99", "--junit", "out/junit.xml"])
    told = capsys.readouterr()
    body = json.loads(told.out)
    assert (1, 0, 0, "simulator") == (body["passed"], body["failed"], body["not_run"], body["engine"])
    (one,) = body["tests"]
    assert ("journeys/tests/wrong.yaml", 2, ["welcome"], True) == (one["file"], one["line"], one["journeys"], one["passed"])
    assert ["same", "same"] == [r["says"] for r in one["rows"] if r["expected"]]
    assert "consent for getting started withdrawn" == one["rows"][0]["happened"]["words"]
    assert {"step": "nudge", "way": "no test gets here"} in body["cover"]["journeys"]["welcome"]["missed"]
    assert "and 99 was asked for" in told.err
    assert "1" == ElementTree.parse(shop / "out/junit.xml").getroot().get("tests")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["test", "welcom"], "there is no test file and no journey 'welcom'\ndid you mean 'welcome'?"),
        (["test", "-k", "nowhere"], "none of 2 titles has 'nowhere' in it"),
        (["test", "--at-least", "most"], "--at-least: 'most' is no percentage\nwrite it as 80%"),
        (["test", "--cover", "--engine", "temporal"], "what tests cover is seen on the simulator only"),
        (["test", "--junit", "sojourn.yaml/junit.xml"], "sojourn.yaml/junit.xml can't be written: "),
    ],
)
def test_nonsense_is_refused_in_a_clear_line(
    shop: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Exit code 2, and what to do."""
    capsys.readouterr()
    assert 2 == main.run(arguments)
    assert capsys.readouterr().err.startswith(message)


def test_a_test_file_with_mistakes_shows_them_as_validate_does(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every one at its place, and what to write instead; nothing is played."""
    (shop / "journeys/tests/bad.yaml").write_text(
        """- test: many mistakes
  journey: welcom
  customer: {timezone: Mars/Base, segments: [buildrs], consents: {email: {geting_started: granted}, pigeon: {}}}
  calls: [{url: "http://crm.example", status: okay}]
  until: tomorrow
  events:
    - {at: 2026-13-02 10:00, event: sined_up}
  expect:
    - {at: noon, send: email, template: welcome/helo}
    - {drop: fax, until: then}
    - {journey: nowhere, exit: x}
- test: of nothing
"""
    )
    capsys.readouterr()
    assert 1 == main.run(["test", "--json"]) == main.run(["validate", "--json"])
    told = capsys.readouterr()
    found = [(p["code"], p["line"]) for p in json.loads(told.out)["problems"]]
    moments = [("SJ112", 3), ("SJ112", 4), ("SJ112", 5), ("SJ112", 7), ("SJ112", 9), ("SJ112", 10)]
    names = [("SJ206", 2), ("SJ212", 3), ("SJ203", 3), ("SJ205", 3), ("SJ201", 7), ("SJ202", 9), ("SJ205", 10), ("SJ206", 11)]
    assert sorted([*moments, *names, ("SJ420", 12)]) == sorted(found)
    assert "journeys/tests/bad.yaml:7:12: error SJ112: '2026-13-02 10:00' is not a moment" in told.err


CALLED = "journey: {name}\ntier: lifecycle\nenter: {{api: true, {more}}}\nsteps:\n  - {{task: sales, title: Call}}\n"
CALLS = """
- test: calls that can't be made
  journeys: [welcome, ordered, guided]
  events:
    - {at: 2026-03-02 10:00, enroll: guidet}
    - {at: 2026-03-02 10:00, enroll: welcome}
    - {at: 2026-03-02 10:00, enroll: ordered, by: bob}
    - {at: 2026-03-02 10:00, enroll: guided, key: A1}
- test: one into a journey that the test doesn't run, and some that can
  journeys: [ordered, guided]
  events:
    - {at: 2026-03-02 10:00, enroll: ordered, key: A1}
    - {at: 2026-03-02 10:00, enroll: ordered, order_id: A2}
    - {at: 2026-03-02 10:00, enroll: guided, by: bob}
    - {at: 2026-03-02 10:00, enroll: welcome}
- test: one beside the only journey of the test
  journey: guided
  events:
    - {at: 2026-03-02 10:00, enroll: ordered, order_id: 0}
- test: a key that is there and is nothing
  journey: ordered
  events:
    - {at: 2026-03-02 10:00, enroll: ordered, order_id: 0}
    - {at: 2026-03-02 10:00, enroll: ordered, order_id: null}
    - {at: 2026-03-02 10:00, enroll: ordered, order_id: ""}
"""
STORED = """
- test: what no database holds, and no clock
  journey: welcome
  customer: {first_name: "A\\0"}
  calls: [{url: "http://crm.example", json: {a: ["b\\0"]}}]
  until: 9001-01-01
  events:
    - {at: 0001-01-01, event: signed_up}
    - {at: 2026-03-02 10:00, event: signed_up, "n\\0": 1, plan: ["x\\0"]}
    - {at: 2026-03-02 10:00, enroll: welcome, key: "x\\0"}
"""
ODD = """
- test: lines that are both or neither
  journey: guided
  events:
    - {at: 2026-03-02 10:00, enroll: guided, event: signed_up}
    - {at: 2026-03-02 10:00, by: bob}
"""


def test_calls_that_cant_enroll_are_mistakes_too(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown journey, one without `api: true`, a key that is missing or can't be given; a line that is both or neither."""
    (shop / "journeys/ordered.yaml").write_text(CALLED.format(name="ordered", more="key: order_id"))
    (shop / "journeys/guided.yaml").write_text(CALLED.format(name="guided", more="again: never"))
    (shop / "journeys/tests/calls.yaml").write_text(CALLS)
    (shop / "journeys/tests/odd.yaml").write_text(ODD)
    capsys.readouterr()
    assert 1 == main.run(["test"]) == main.run(["validate", "--json"])
    said = capsys.readouterr()
    found = {(p["code"], p["line"]): f"{p['message']}: {p['hint']}" for p in json.loads(said.out)["problems"]}
    assert {
        ("SJ206", 5): "there is no journey 'guidet': did you mean 'guided'?",
        ("SJ428", 6): "the journey 'welcome' can't be entered by a call: write api: true as an entry of it, also beside others",
        ("SJ428", 7): "key is missing, and 'ordered' has one enrollment per order_id: write key: or order_id:",
        ("SJ428", 8): "the api entry of 'guided' has no key, so none can be given: take it out",
        ("SJ428", 15): "this test doesn't run the journey 'welcome': name it under journeys: too",
        ("SJ428", 19): "this test doesn't run the journey 'ordered': write `journeys: [guided, ordered]` in place of `journey:`",
        ("SJ428", 24): "key is missing, and 'ordered' has one enrollment per order_id: write key: or order_id:",
        ("SJ428", 25): "key is missing, and 'ordered' has one enrollment per order_id: write key: or order_id:",
        ("SJ114", 5): "'enroll' and 'event' can't stand in one item: make two of it: begin the second with its own '-'",
        ("SJ113", 6): "a line of events needs exactly one of: event, enroll: ",
    } == found


def test_what_the_real_engine_couldnt_hold_is_a_mistake(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """NUL characters, in the API's words, and moments that no clock can count from."""
    (shop / "journeys/tests/stored.yaml").write_text(STORED)
    capsys.readouterr()
    assert 1 == main.run(["test"]) == main.run(["validate", "--json"])
    problems = json.loads(capsys.readouterr().out)["problems"]
    nul = "this holds a NUL character: no text may hold a NUL character"
    far = "is too far away for a test: write a year from 1970 to 9000"
    lines = [(4, nul), (5, nul), (6, f"'9001-01-01' {far}"), (8, f"'0001-01-01' {far}"), (9, nul), (9, nul), (10, nul)]
    assert lines == [(p["line"], f"{p['message']}: {p['hint']}") for p in problems if p["code"] == "SJ112"]


def test_an_event_that_doesnt_fit_its_types_is_told_as_such(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The test couldn't be played: it neither passes nor looks as if the journey were wrong."""
    tracking = shop / "journeys/tracking.yaml"
    tracking.write_text(tracking.read_text().replace("account_closed: {}", "account_closed: {properties: {seats: integer}}"))
    (shop / "journeys/tests/wrong.yaml").write_text(LEFT.replace("event: account_closed}", "event: account_closed, seats: many}"))
    capsys.readouterr()
    assert 1 == main.run(["test", "-k", "closes"])
    assert "\naccount_closed isn't taken: " in capsys.readouterr().out


def test_the_real_engine_plays_them_on_servers_of_its_own(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--engine temporal`, as a process: the same verdicts and the same timeline as on the simulator, and nothing is left
    behind."""
    (shop / "journeys/tests/wrong.yaml").write_text(WRONG + LEFT)
    done = sojourn("test", "journeys/tests/wrong.yaml", "--engine", "temporal", "--json", cwd=shop)
    assert (1, "") == (done.returncode, done.stderr)
    capsys.readouterr()
    assert 1 == main.run(["test", "journeys/tests/wrong.yaml", "--json"])
    real, simulated = (json.loads(said)["tests"] for said in (done.stdout, capsys.readouterr().out))
    assert [False, True] == [t["passed"] for t in real]
    assert [[_rounded(r) for r in t["rows"]] for t in real] == [[_rounded(r) for r in t["rows"]] for t in simulated]
    assert not (shop / ".sojourn").exists()


def _rounded(row: dict[str, dict[str, str] | None]) -> object:
    """A row without seconds, and without the links in its text, which are another host's."""
    told = row["happened"] or {}
    return row["says"], row["expected"], {k: v[:16] if k in ("at", "until") else v for k, v in told.items() if k != "text"}


def test_pytest_collects_a_projects_tests_and_no_other_files(shop: Path) -> None:
    """An item for each test, a failure as `sojourn test` shows it; YAML elsewhere is left alone; a project with a mistake is an
    error with its place."""
    (shop / "journeys/tests/wrong.yaml").write_text(WRONG)
    shutil.copytree(shop, shop.parent / "broken")
    (shop.parent / "broken/journeys/tests/wrong.yaml").write_text(WRONG.replace("signed_up", "sined_up"))
    other = shop.parent / "other/journeys/tests"
    other.mkdir(parents=True)
    (other / "foreign.yaml").write_text("- of: somebody else's\n")
    (shop / "templates/tests.yaml").write_text("- nothing of ours\n")
    command = [sys.executable, "-m", "pytest", "-p", "engine.cli.pytest_plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--continue-on-collection-errors", str(shop.parent)],
        cwd=shop.parent,
        env=environ(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (1, True) == (done.returncode, "1 failed, 2 passed, 2 errors in" in done.stdout), done.stdout
    assert "wrong.yaml::two things that don't happen" in done.stdout
    assert "≠ 2026-03-06 10:00  send email welcome/nudge" in done.stdout
    assert "broken/journeys/tests/wrong.yaml" in done.stdout
    assert "did you mean 'signed_up'?" in done.stdout
    assert ("foreign" in done.stdout, "Traceback" in done.stdout) == (False, False)
