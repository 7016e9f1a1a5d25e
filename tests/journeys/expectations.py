"""What a journey's YAML test expects beside what happened, line by line, in a form whose difference a person can read.

Pure: a line is a dict as it would be written under `expect`. Source of the rules: authoring.md, "Tests, next to the journey".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from engine.authoring.shape_tests import EXPECTED, Expected

Line = dict[str, Any]
"""`at`, one of EXPECTED (or `parked`), and what else is known: journey, template, text, reason, until, title."""

COMPLETE = ("send", "task", "exit", "parked")
"""Lines that fail a test when they happen and aren't listed; of the others a test names those that it cares about."""

TOLERANCE = timedelta(minutes=2)


def moment(written: str, zone: ZoneInfo) -> datetime:
    """A time as a test writes it: in the customer's zone unless it says otherwise."""
    at = datetime.fromisoformat(written)
    return at if at.tzinfo else at.replace(tzinfo=zone)


def compared(expect: Sequence[Expected], lines: Sequence[Line], zone: ZoneInfo) -> tuple[list[Line], list[Line]]:
    """(expected, actual), equal if and only if the test passes. `lines` in order of time.

    An actual line is told by the keys that its expected one has; what isn't expected is told in full."""
    wanted: list[Line] = [e.model_dump(exclude_none=True) for e in expect]
    says_completed = any(w.get("exit") == "completed" for w in wanted)
    certain = [x for x in lines if _kind(x) in COMPLETE and (says_completed or x.get("exit") != "completed")]
    others = [x for x in lines if _kind(x) not in COMPLETE]
    actual: list[Line] = []
    for want in wanted:
        if _kind(want) in COMPLETE:
            if certain:
                actual.append(_as_written(want, certain.pop(0), zone))
        else:
            told = [_as_written(want, x, zone) for x in others]
            if want in told:
                others.pop(told.index(want))
                actual.append(want)
            else:
                actual.append({"instead": [_in_full(x, zone) for x in others]})
    return wanted, actual + [_in_full(x, zone) for x in certain]


def _kind(line: Mapping[str, Any]) -> str:
    return next(k for k in (*EXPECTED, "parked") if k in line)


def _as_written(want: Line, line: Line, zone: ZoneInfo) -> Line:
    """`line` with the keys of `want`; a moment near enough and a text that contains what it should are told as they were
    written."""
    if _kind(want) != _kind(line):
        return _in_full(line, zone)
    told: Line = {}
    for key, value in want.items():
        if key in ("at", "until"):
            found = line.get(key)
            near = found is not None and abs(found - moment(value, zone)) <= TOLERANCE
            told[key] = value if near else _local(found, zone)
        elif key == "contains":
            told[key] = value if value in line.get("text", "") else line.get("text", "")
        else:
            told[key] = line.get(key)
    return told


def _in_full(line: Line, zone: ZoneInfo) -> Line:
    return {k: _local(v, zone) if isinstance(v, datetime) else v for k, v in line.items() if k != "text"}


def _local(at: datetime | None, zone: ZoneInfo) -> str | None:
    return None if at is None else at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
