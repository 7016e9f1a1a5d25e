"""`broadcasts` as a process: what is planned, and what operators may do to it; and a deploy whose only time is over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.app.wiring import open_core
from engine.intake.fan_out import FanOut
from engine.settings.project import Settings
from tests.cli.commands import answer, sojourn
from tests.harness import write_project

SETTINGS = "channels: {email: {use: channels.noop}, sms: {use: channels.noop}}\n"
DAILY = """
journey: daily
tier: lifecycle
enter: {schedule: {at: "09:00", timezone: UTC}, audience: customer.country == "IT"}
steps: [{exit: done}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with settings, so that commands find its channels."""
    return write_project(tmp_path, {"sojourn.yaml": SETTINGS, "journeys/daily.yaml": DAILY})


async def test_what_is_planned_is_listed_paused_resumed_and_cancelled(folder: Path, database_url: str) -> None:
    """Each act says what it did, and what it couldn't."""

    def run(*arguments: str) -> Any:
        return sojourn(*arguments, cwd=folder, SOJOURN_DATABASE_URL=database_url)

    assert (0, "no broadcasts\n") == ((none := run("broadcasts")).returncode, none.stdout)
    assert 0 == run("deploy", "--yes").returncode
    async with open_core(Settings(), database_url) as core:
        assert 1 == await FanOut(core.database, core.deployments, core.intake, core.clock).plan_ahead()
    listed = answer(run("broadcasts", "--json"))
    assert {("daily", "schedule", "planned")} == {(b["journey"], b["kind"], b["stands"]) for b in listed}
    number = str(listed[-1]["id"])
    assert "planned" in run("broadcasts").stdout
    other = run("broadcasts", "--journey", "dayly", "--json")
    assert (1, True) == (other.returncode, "no journey called 'dayly' was ever deployed" in other.stderr)
    paused = run("broadcasts", "pause", number, "99999")
    assert (0, f"{number}: paused\n99999: there is none such\n") == (paused.returncode, paused.stdout)
    again = run("broadcasts", "pause", number)
    assert (1, f"{number}: not paused: it is paused\n") == (again.returncode, again.stdout)
    assert [int(number)] == answer(run("broadcasts", "resume", number, "--json"))["resumed"]
    assert 0 == run("broadcasts", "cancel", number).returncode
    assert 1 == run("broadcasts", "resume", number).returncode
    for wrong, hint in (
        (("stop", number), "pause, resume, cancel"),
        (("pause",), "say which"),
        (("pause", "x"), "not the number"),
    ):
        done = run("broadcasts", *wrong)
        assert (2, True) == (done.returncode, hint in done.stderr)


def test_a_schedule_in_the_past_is_not_deployed(folder: Path, database_url: str) -> None:
    """1, with the journey, its time and what to do; nothing is deployed."""
    path = folder / "journeys/daily.yaml"
    path.write_text(DAILY.replace('{at: "09:00", timezone: UTC}', '"2020-01-01 09:00"'))
    done = sojourn("deploy", "--yes", cwd=folder, SOJOURN_DATABASE_URL=database_url)
    assert 1 == done.returncode
    assert "daily would be sent once, at 2020-01-01 09:00, which is over in UTC" in done.stderr
    assert "write a time to come" in done.stderr
