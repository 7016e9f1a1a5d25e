"""What a journey's YAML test expects beside what happened, row by row, in order of time.

Pure: a line is a dict as it would be written under `expect`. Source of the rules: authoring.md, "Tests, next to the journey".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from engine.authoring.shape_tests import EXPECTED, Expected

Line = dict[str, Any]
"""`at`, one of KINDS, and what else is known: journey, template, text, reason, until, title, words (the reason as a sentence)."""

COMPLETE = ("send", "task", "exit", "parked")
"""Lines that fail a test when they happen and aren't listed; of the others a test names those that it cares about."""

KINDS = (*EXPECTED, "parked", "call")

TOLERANCE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Row:
    """A line that was expected beside the one that happened in its place; None where there is none.

    `says`: how they stand to each other. same · different · missing: expected, and didn't happen · unlisted: happened, and fails
    the test because nobody expected it · beside: happened, and needn't be listed."""

    expected: Line | None
    happened: Line | None
    says: Literal["same", "different", "missing", "unlisted", "beside"]

    @property
    def wrong(self) -> bool:
        """Whether this row fails the test."""
        return self.says in ("different", "missing", "unlisted")


def moment(written: str, zone: ZoneInfo) -> datetime:
    """A time as a test writes it: in the customer's zone unless it says otherwise."""
    at = datetime.fromisoformat(written)
    return at if at.tzinfo else at.replace(tzinfo=zone)


def kind(line: Mapping[str, Any]) -> str:
    """Which of KINDS a line is."""
    return next(k for k in KINDS if k in line)


def compared(expect: Sequence[Expected], lines: Sequence[Line], zone: ZoneInfo) -> list[Row]:
    """What a test expects beside what happened (`lines`, in order of time). It passes where no row is wrong.

    Sends, tasks, exits and parkings are compared in order, and all of them; of deferrals, drops and calls only those that are
    listed."""
    wanted: list[Line] = [e.model_dump(exclude_none=True) for e in expect]
    says_completed = any(w.get("exit") == "completed" for w in wanted)
    certain = [x for x in lines if kind(x) in COMPLETE and (says_completed or x.get("exit") != "completed")]
    others = [x for x in lines if not any(x is c for c in certain)]
    rows = _aligned([w for w in wanted if kind(w) in COMPLETE], certain, zone)
    for want in (w for w in wanted if kind(w) not in COMPLETE):
        found = next((x for x in others if differing(want, x, zone) == ()), None)
        near = found or next((x for x in others if kind(want) == kind(x)), None)
        if near is not None:
            others = [x for x in others if x is not near]
        rows.append(Row(want, near, "same" if found is not None else "different" if near is not None else "missing"))
    rows += [Row(None, x, "beside") for x in others]
    return _in_time(rows, zone)


def differing(want: Line, line: Line, zone: ZoneInfo) -> tuple[str, ...]:
    """The keys of `want` that `line` doesn't fulfil; those beside it in `line` don't matter. Of moments two minutes don't."""
    if kind(want) != kind(line):
        return (kind(want),)
    return tuple(key for key, value in want.items() if not _fulfils(key, value, line, zone))


def _fulfils(key: str, value: Any, line: Line, zone: ZoneInfo) -> bool:
    found = line.get(key)
    if key in ("at", "until"):
        return found is not None and abs(found - moment(value, zone)) <= TOLERANCE
    return value in line.get("text", "") if key == "contains" else bool(found == value)


def _aligned(wanted: Sequence[Line], lines: Sequence[Line], zone: ZoneInfo) -> list[Row]:
    """Both in their own order, with as little between them as may be: so one that is missing doesn't make all that follow it
    differ. Nothing is wrong if and only if the first is the first, the second the second, and so on."""
    n, m = len(wanted), len(lines)
    beside = [[_apart(want, line, zone) for line in lines] for want in wanted]
    cost = [[float(n - i + m - j) for j in range(m + 1)] for i in range(n + 1)]
    for i in range(n - 1, -1, -1):
        for j in range(m - 1, -1, -1):
            cost[i][j] = min(beside[i][j] + cost[i + 1][j + 1], 1 + cost[i + 1][j], 1 + cost[i][j + 1])
    rows: list[Row] = []
    i = j = 0
    while i < n or j < m:
        if i < n and j < m and cost[i][j] == beside[i][j] + cost[i + 1][j + 1]:
            rows.append(Row(wanted[i], lines[j], "different" if beside[i][j] else "same"))
            i, j = i + 1, j + 1
        elif i < n and (j == m or cost[i][j] == 1 + cost[i + 1][j]):
            rows.append(Row(wanted[i], None, "missing"))
            i += 1
        else:
            rows.append(Row(None, lines[j], "unlisted"))
            j += 1
    return rows


def _apart(want: Line, line: Line, zone: ZoneInfo) -> float:
    """How far two lines are apart, where a line that stands alone is 1: those of one kind stand beside each other rather than
    each alone, those of two kinds never do."""
    if kind(want) != kind(line):
        return 3.0
    keys = differing(want, line, zone)
    return 1.5 + len(keys) / 100 if keys else 0.0


def _in_time(rows: Sequence[Row], zone: ZoneInfo) -> list[Row]:
    """In order of time, what happened before what was expected; a row of no time stays behind the one before it."""
    at: datetime | None = None
    placed = []
    for n, row in enumerate(rows):
        if row.happened is not None:
            at = row.happened["at"]
        elif row.expected is not None and "at" in row.expected:
            at = moment(row.expected["at"], zone)
        placed.append((at is not None, at or datetime.min.replace(tzinfo=zone), n, row))
    return [row for _, _, _, row in sorted(placed, key=lambda p: p[:3])]
