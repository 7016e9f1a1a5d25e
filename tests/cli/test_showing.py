"""Lists on a terminal and elsewhere: what may be copied stays whole."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from engine.cli import enrolled, terminal

USER = "0f8fad5b-d9cb-469f-a165-70867728950e"
REASON = "templates/email/welcome/hello.json:1: this isn't JSON: Expecting ',' delimiter: line 1 column 29 (char 28)"


def row(**given: Any) -> Any:
    """A row of `store.chosen.listing`."""
    moment = datetime(2026, 3, 2, 10, tzinfo=UTC)
    values = {
        "id": 12,
        "user": "ben",
        "customer_id": 1,
        "journey": "welcome",
        "key": "",
        "status": "live",
        "reason": "",
        "paused": False,
    }
    return SimpleNamespace(**{**values, "step": "first_project", "entered_at": moment, "wake_at": moment, **given})


def shown(monkeypatch: pytest.MonkeyPatch, width: int, *rows: Any) -> list[str]:
    """The lines that a terminal of this width gets."""
    screen = StringIO()
    monkeypatch.setattr(terminal, "out", Console(file=screen, width=width, height=25, force_terminal=True, color_system=None))
    enrolled.show(rows)
    return screen.getvalue().splitlines()


def test_whatever_is_no_terminal_gets_a_row_to_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Piped or kept in a file, nothing is folded or cut, however narrow the screen is said to be."""
    monkeypatch.setenv("COLUMNS", "80")
    enrolled.show([row(id=13, user=USER, status="parked", reason=REASON.replace(": ", ":\n"))])
    head, line = capsys.readouterr().out.splitlines()
    assert ["number", "customer", "journey", "status", "step", "entered", "next", "reason"] == head.replace("(UTC)", "").split()
    moment = "2026-03-02 10:00"
    assert f"13 {USER} welcome parked first_project {moment} {moment} {REASON}" == " ".join(line.split())


def test_a_terminal_of_eighty_columns_gets_the_day_above_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, customers, journeys and steps stay on one line; only moments take two."""
    lines = shown(monkeypatch, 80, row())
    assert ["12 ben welcome live first_project 2026-03-02 2026-03-02", "10:00 10:00"] == [" ".join(x.split()) for x in lines[-2:]]
    assert 80 >= max(len(line) for line in lines)


def test_a_reason_is_folded_in_its_own_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is room beside the rest, a long reason takes several lines and loses no letter."""
    lines = shown(monkeypatch, 120, row(status="parked", reason=REASON))
    head = next(i for i, line in enumerate(lines) if "reason" in line)
    start = lines[head].index("reason")
    assert REASON.replace(" ", "") == "".join(line[start:] for line in lines[head + 1 :]).replace(" ", "")
    assert 120 >= max(len(line) for line in lines)


def test_a_terminal_too_narrow_for_an_id_folds_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """An id is never broken into two cells: the row becomes one long line."""
    lines = shown(monkeypatch, 80, row(user=USER, status="parked", reason=REASON))
    assert 2 == len(lines)
    assert f" {USER} " in lines[1]
    assert REASON in lines[1]
