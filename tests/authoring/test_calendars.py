"""Files with days off: what they say is kept in the policy, and what is wrong in them is told at its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.authoring.project import Compiled
from engine.core.policy import DayOff, policy_hash
from engine.settings.problems import Problem
from tests.authoring.conftest import POLICY

Finding = Callable[..., list[Problem]]
Compiling = Callable[..., Compiled]

ITALY = """\
days_off:
  - 2026-04-06
  - 12-25
  - {date: 12-26, name: Saint Stephen}
  - {from: 2026-08-10, to: 2026-08-21, name: Summer}
  - {from: 12-31, to: 01-01}
"""


def quiet(rule: str) -> str:
    """A policy with one rule of quiet hours."""
    return f"{POLICY}quiet_hours:\n  - {rule}\n"


def test_a_calendar_is_kept_in_the_policy(compiled: Compiling) -> None:
    """Single days and stretches, of one year and of each; alone, or with hours; read once for all who name it."""
    rules = "{days_off: holidays/it.yaml}\n  - {from: 21:00, to: 08:00, days_off: holidays/it.yaml}"
    alone, both = compiled(policy=quiet(rules), **{"holidays/it": ITALY}).policy.quiet_hours
    assert (
        DayOff("2026-04-06", "2026-04-06"),
        DayOff("12-25", "12-25"),
        DayOff("12-26", "12-26", "Saint Stephen"),
        DayOff("2026-08-10", "2026-08-21", "Summer"),
        DayOff("12-31", "01-01"),
    ) == alone.days_off
    assert ("", "", "holidays/it.yaml") == (alone.start, alone.end, alone.calendar)
    assert ("21:00", "08:00", alone.days_off) == (both.start, both.end, both.days_off)


def test_another_day_off_is_another_policy(compiled: Compiling) -> None:
    """The calendar's days are part of what a decision's policy hash names."""
    first = compiled(policy=quiet("{days_off: holidays/it.yaml}"), **{"holidays/it": ITALY}).policy
    second = compiled(policy=quiet("{days_off: holidays/it.yaml}"), **{"holidays/it": ITALY + "  - 11-01\n"}).policy
    assert policy_hash(first) != policy_hash(second)


@pytest.mark.parametrize(("written", "seconds"), [("30m", 1800), ("2h", 7200), ("0s", None)])
def test_a_jitter_is_kept_in_the_policy(compiled: Compiling, written: str, seconds: int | None) -> None:
    """Nothing to spread over is none."""
    found = compiled(policy=f"{POLICY}jitter: {written}\n").policy.jitter
    assert seconds == (found and found.seconds)


@pytest.mark.parametrize(
    ("rule", "code", "underlined", "hint"),
    [
        ("{days_off: holidays/itt.yaml}", "SJ213", "holidays/itt.yaml", "did you mean 'holidays/it.yaml'?"),
        ("{days_off: holidays/zzzzzzzzzzzzzz/q.yml}", "SJ213", "holidays/zzzzzzzzzzzzzz/q.yml", "known here: holidays/it.yaml"),
        ("{days_off: it.yaml}", "SJ213", "it.yaml", "in a folder below journeys/"),
        ("{days_off: ../it.yaml}", "SJ213", "../it.yaml", "in a folder below journeys/"),
        ("{days_off: holidays/../../../it.yaml}", "SJ213", "holidays/../../../it.yaml", "in a folder below journeys/"),
        ("{days_off: /etc/it.yaml}", "SJ213", "/etc/it.yaml", "in a folder below journeys/"),
        ("{days_off: tests/j.yaml}", "SJ213", "tests/j.yaml", "in a folder below journeys/"),
        ("{days_off: holidays/it.ics}", "SJ213", "holidays/it.ics", "in a folder below journeys/"),
        (f"{{days_off: h/{'x' * 300}.yaml}}", "SJ213", None, "in a folder below journeys/"),
        ("{days_off: holidays}", "SJ213", "holidays", "in a folder below journeys/"),
        ('{days_off: ""}', "SJ112", None, ""),
        ("{days_off: [2026-12-25]}", "SJ112", None, ""),
        ("{channels: [sms]}", "SJ111", None, "days_off: with a calendar"),
        ("{from: 21:00}", "SJ111", None, "days_off: with a calendar"),
        ("{to: 21:00, days_off: holidays/it.yaml}", "SJ111", None, "days_off: with a calendar"),
        ("{days: [mon], days_off: holidays/it.yaml}", "SJ420", "days", "say in the calendar"),
    ],
)
def test_what_is_wrong_with_the_name_is_told_where_it_stands(
    problems: Finding, rule: str, code: str, underlined: str | None, hint: str
) -> None:
    """In policy.yaml, with what to write."""
    found = [p for p in problems(policy=quiet(rule), **{"holidays/it": ITALY}) if p.level == "error" and p.code == code]
    assert ["journeys/policy.yaml"] == sorted({p.file for p in found})
    problem = found[0]
    assert hint in problem.hint
    assert underlined in (None, problem.text[problem.column - 1 : problem.column - 1 + problem.length])


def test_a_calendar_that_is_missing_is_told_wherever_it_is_named(problems: Finding) -> None:
    """Once for each rule, and with what to do where there is none at all."""
    found = problems(policy=quiet("{days_off: h/it.yaml}\n  - {days_off: h/it.yaml, channels: [sms]}"))
    assert [("SJ213", 8), ("SJ213", 9)] == [(p.code, p.line) for p in found if p.level == "error"]
    assert "write the file journeys/h/it.yaml with days_off: [2026-12-25, …]" == found[0].hint


@pytest.mark.parametrize(
    ("calendar", "code", "underlined"),
    [
        ("", "SJ108", None),
        ("- 2026-12-25\n", "SJ112", None),
        ("days_off: []\n", "SJ112", None),
        ("days_off: [12-25]\nday_off: [12-26]\n", "SJ110", "day_off"),
        ("days_off: [2026-02-30]\n", "SJ421", "2026-02-30"),
        ("days_off: [2026-2-3]\n", "SJ421", "2026-2-3"),
        ("days_off: [25.12.2026]\n", "SJ421", "25.12.2026"),
        ("days_off: [13-01]\n", "SJ421", "13-01"),
        ("days_off: [٢٠٢٦-12-25]\n", "SJ421", "٢٠٢٦-12-25"),
        ("days_off: [12-25, {date: 02-30}]\n", "SJ421", "02-30"),
        ("days_off: [{date: 12-25, from: 12-24}]\n", "SJ420", None),
        ("days_off: [{from: 12-24}]\n", "SJ420", None),
        ("days_off: [{name: Christmas}]\n", "SJ420", None),
        ("days_off: [{from: 2026-12-24, to: 12-26}]\n", "SJ421", "12-26"),
        ("days_off: [{from: 2026-12-24, to: 2026-12-23}]\n", "SJ421", "2026-12-23"),
        ("days_off: [{date: 12-25, nam: Christmas}]\n", "SJ110", "nam"),
        ("days_off: [[12-25]]\n", "SJ112", None),
        ("days_off: {a: [\n", "SJ101", None),
    ],
)
def test_what_is_wrong_in_a_calendar_is_told_in_it(problems: Finding, calendar: str, code: str, underlined: str | None) -> None:
    """At its file, line and column, once, however many rules name it."""
    rules = "{days_off: holidays/it.yaml}\n  - {days_off: holidays/it.yaml, channels: [sms]}"
    found = [p for p in problems(policy=quiet(rules), **{"holidays/it": calendar}) if p.level == "error"]
    assert [("journeys/holidays/it.yaml", code)] == [(p.file, p.code) for p in found]
    problem = found[0]
    assert underlined in (None, problem.text[problem.column - 1 : problem.column - 1 + problem.length])
