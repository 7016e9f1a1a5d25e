"""A result as people read it: what was expected beside what happened, in order of time, each differing line marked.

Plain text, for terminals, CI logs, JUnit files and pytest alike.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime

from engine.app.testing.expectations import Line, Row, differing, kind
from engine.app.testing.playing import Result
from engine.core.clock import zone as zone_named

MARKS = {"same": " ", "beside": " ", "different": "≠", "missing": "-", "unlisted": "+"}
"""What stands before a row. `-` was expected and didn't happen, `+` happened and wasn't expected."""

WIDTH = 120
LEAST = 34
"""Columns of one side, however narrow the terminal is."""

TEXT = 60
"""So much of a message is shown where it hasn't the words that it should have."""


def shown(result: Result, width: int = WIDTH) -> list[tuple[str, str]]:
    """(mark, line) for each line of a failure: a head, then the two sides, folded where they need to be."""
    if result.wrong:
        return [("≠", line) for line in textwrap.wrap(result.wrong, max(LEAST, width - 4))]
    side = max(LEAST, (width - 5) // 2)
    told = [(" ", f"  {'expected':<{side}} │ happened"), (" ", f"  {'─' * side}─┼─{'─' * side}")]
    keys = SHOWN if len(result.chosen.journeys) == 1 else (*SHOWN, "journey")
    for row in result.rows:
        mark = MARKS[row.says]
        left, right = _folded(_expected(row), side), _folded(_happened(row, result.zone, keys), side)
        for i in range(max(len(left), len(right))):
            one, other = (lines[i] if i < len(lines) else "" for lines in (left, right))
            told.append((mark, f"{mark if i == 0 else ' '} {one:<{side}} │ {other}".rstrip()))
    return told


def _folded(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=" " * 18) if text else []


def _expected(row: Row) -> str:
    """The line as it is written under `expect`."""
    if row.expected is None:
        return "" if row.says == "beside" else "(nothing)"
    return " ".join(_parts({k: v for k, v in row.expected.items() if k != "at"}, row.expected.get("at", "")))


def _happened(row: Row, zone: str, keys: Sequence[str]) -> str:
    """What happened, as these keys tell it: with the reason of a deferral or drop in words, and with what a message says that
    doesn't say what it should."""
    if row.happened is None:
        return "(nothing)"
    line = row.happened
    local = {k: _minute(v, zone) if isinstance(v, datetime) else v for k, v in line.items()}
    told = " ".join(_parts({k: v for k, v in local.items() if k in keys}, str(local["at"])))
    words = [str(line["words"])] if line.get("words") else []
    if row.expected is not None and "contains" in differing(row.expected, line, zone_named(zone)):
        words.append(f"it says: {textwrap.shorten(' '.join(line.get('text', '').split()), TEXT, placeholder=' …')}")
    return " ".join([told, *(f"({w})" for w in words)])


SHOWN = ("send", "defer", "drop", "task", "exit", "parked", "call", "template", "reason", "until", "title", "status")


def _parts(line: Line, at: str) -> Iterator[str]:
    which = kind(line)
    yield f"{_as_minute(at):<16} "
    yield which if not line[which] else f"{which} {line[which]}"
    for key in ("template", "journey", "title", "reason", "status", "until", "contains"):
        value = line.get(key)
        if value:
            plain = key == "template" or key == "status"
            yield str(value) if plain else f"{key}: {_quoted(value) if key in ('title', 'contains') else value}"


def _quoted(value: object) -> str:
    return f'"{value}"'


def _as_minute(written: str) -> str:
    """A time as a test writes it, to the minute and without the letter between its parts, if it is one of no zone."""
    return written.replace("T", " ")[:16] if len(written) in (16, 19) else written


def _minute(at: datetime, zone: str) -> str:
    return at.astimezone(zone_named(zone)).strftime("%Y-%m-%d %H:%M")


def summary(result: Result) -> str:
    """What is wrong, in one line."""
    if result.wrong:
        return result.wrong
    wrong = [row for row in result.rows if row.wrong]
    counts = {says: sum(r.says == says for r in wrong) for says in ("different", "missing", "unlisted")}
    names = {"different": "differ", "missing": "didn't happen", "unlisted": "happened unlisted"}
    return ", ".join(f"{n} {names[says]}" for says, n in counts.items() if n)
