"""`sojourn demo` as a process of its own, in a size for every day: what it prints must agree with what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from engine.app.processes import command_line

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "engine.cli", "demo", "--project", str(ROOT)]
PATIENCE = 180
COUNTED = ("lifecycle", "triggered", "promotional")
"""The tiers that the project's policy caps: one a day, three in seven days."""


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files that holds nothing but the demo's, and that PostgreSQL's account can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="sojourn-test-demo-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def _environ(temporary: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(temporary), "COLUMNS": "80"}


def _left(temporary: Path) -> list[str]:
    """Command lines of processes that still use the folder."""
    pids = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
    return [line for pid in pids if str(temporary) in (line := command_line(pid))]


def _local(message: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(message["sent_at"]).astimezone(ZoneInfo(message["timezone"]))


@pytest.fixture(scope="module")
def told() -> Iterator[tuple[dict[str, Any], str]]:
    """What one small demo printed: as JSON, and its progress."""
    folder = Path(tempfile.mkdtemp(prefix="sojourn-test-demo-"))
    folder.chmod(0o711)
    command = [*COMMAND, "--households", "40", "--days", "8", "--pace", "2.5", "--json", "--keep"]
    done = subprocess.run(command, env=_environ(folder), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, done.stderr), done.stderr
    yield json.loads(done.stdout), done.stderr
    assert _left(folder) == []
    shutil.rmtree(folder)


def test_the_mailbox_holds_as_many_letters_as_the_ledger_sent(told: tuple[dict[str, Any], str]) -> None:
    """Every e-mail that the ledger calls sent lies in the maildir once, and something was sent."""
    result, _ = told
    sent = [m for m in result["messages"] if m["status"] == "sent" and m["channel"] == "email"]
    letters = [p for part in ("new", "cur") for p in (Path(result["folder"]) / "mailbox" / part).iterdir()]
    assert len(sent) == len(letters)
    assert result["letters"] == len(letters)
    assert sent != []


def test_the_figures_add_up_to_the_ledger(told: tuple[dict[str, Any], str]) -> None:
    """The table's figures, added up by journey and status, are those of the messages."""
    result, _ = told
    figures: Counter[tuple[str, str]] = Counter()
    for f in result["figures"]:
        figures[(f["journey"], f["status"])] += f["n"]
    assert Counter((m["journey"], m["status"]) for m in result["messages"]) == figures
    assert {m["status"] for m in result["messages"]} <= {"sent", "deferred", "dropped"}
    assert [f for f in result["figures"] if f["status"] != "sent" and not f["reason"]] == []


def test_no_customer_gets_more_than_the_caps_allow(told: tuple[dict[str, Any], str]) -> None:
    """At most one counted message per local calendar day, and three within any seven days, over the change of the clocks too."""
    result, _ = told
    by_customer: dict[int, list[datetime]] = defaultdict(list)
    for m in result["messages"]:
        if m["status"] == "sent" and m["tier"] in COUNTED:
            by_customer[m["customer_id"]].append(_local(m))
    days = Counter((customer, at.date()) for customer, moments in by_customer.items() for at in moments)
    assert max(days.values()) == 1
    week = timedelta(days=7)
    windows = [sum(timedelta(0) <= other - at < week for other in moments) for moments in by_customer.values() for at in moments]
    assert [n for n in windows if n > 3] == []


def test_nobody_is_written_to_in_quiet_hours(told: tuple[dict[str, Any], str]) -> None:
    """Every message that was sent left between eight and nine in the evening on its customer's own clock."""
    result, _ = told
    hours = [_local(m).hour for m in result["messages"] if m["status"] == "sent"]
    assert [h for h in hours if not 8 <= h < 21] == []


def test_the_live_weeks_are_those_that_the_customers_lived_through(told: tuple[dict[str, Any], str]) -> None:
    """Logical time runs from 6 March 2017 on, whatever today is: American clocks change in the midst of it."""
    result, _ = told
    moments = [datetime.fromisoformat(m["planned_at"]) for m in result["messages"]]
    assert {(at.year, at.month) for at in moments} == {(2017, 3)}
    assert min(moments).day >= 6


def test_progress_is_told_in_plain_lines_where_nobody_watches(told: tuple[dict[str, Any], str]) -> None:
    """Without a terminal each phase is one line, and no line holds a control character."""
    _, progress = told
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f]", progress) is None
    assert sum("events" in line for line in progress.splitlines()) == 1


def test_ctrl_c_ends_everything_and_leaves_nothing(temporary: Path) -> None:
    """Interrupted in its live days the demo ends with 130: no process and no file stays behind."""
    child = subprocess.Popen(
        [*COMMAND, "--households", "5"], env=_environ(temporary), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stderr is not None
    for line in child.stderr:
        if "history" in line:
            break
    time.sleep(1)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=PATIENCE)
    assert child.returncode == 130
    assert list(temporary.iterdir()) == []
    assert _left(temporary) == []


def test_a_project_without_the_sample_is_told_what_to_do(temporary: Path) -> None:
    """Where the sample is missing one line says so, and nothing is started."""
    command = [*COMMAND[:-1], str(temporary)]
    done = subprocess.run(command, env=_environ(temporary), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert "there is no journeys/demo/households.jsonl" in done.stderr
    assert "Traceback" not in done.stderr
