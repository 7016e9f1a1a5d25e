"""How what happened is held against what a journey's test lists: what fails a test, and what doesn't."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.app.testing.expectations import Line, compared
from engine.authoring.shape_tests import Expected

ROME = ZoneInfo("Europe/Rome")
TEN = datetime(2026, 5, 4, 8, tzinfo=UTC)
SENT: Line = {"at": TEN, "send": "email", "journey": "care", "template": "hello", "text": "Hello Ada"}
LATER: Line = {"at": TEN + timedelta(hours=1), "task": "service", "journey": "care", "title": "Call Ada"}
LEFT: Line = {"at": TEN + timedelta(hours=2), "exit": "unhappy", "journey": "care"}
DONE: Line = {"at": TEN + timedelta(hours=2), "exit": "completed", "journey": "care"}
WAITED: Line = {
    "at": TEN - timedelta(hours=1),
    "defer": "email",
    "journey": "care",
    "template": "hello",
    "reason": "cap",
    "until": TEN,
}

WANT_SENT = {"at": "2026-05-04 10:00", "send": "email", "template": "hello", "contains": "Ada"}
WANT_LATER = {"at": "2026-05-04 11:00", "task": "service"}


def passes(expect: list[dict[str, Any]], lines: list[Line]) -> bool:
    """Whether a test with these lines under `expect` passes."""
    return not any(row.wrong for row in compared([Expected.model_validate(e) for e in expect], lines, ROME))


@pytest.mark.parametrize(
    ("expect", "lines"),
    [
        ([], []),
        ([WANT_SENT, WANT_LATER], [SENT, LATER]),
        ([WANT_SENT, {"exit": "unhappy"}], [SENT, LEFT]),
        ([WANT_SENT], [SENT, DONE]),
        ([WANT_SENT, {"exit": "completed"}], [SENT, DONE]),
        ([WANT_SENT], [{**SENT, "at": TEN + timedelta(seconds=119)}]),
        ([{**WANT_SENT, "at": "2026-05-04T08:00:00Z"}], [SENT]),
        ([WANT_SENT], [WAITED, SENT]),
        ([{"at": "2026-05-04 09:00", "defer": "email", "until": "2026-05-04 10:00", "reason": "cap"}, WANT_SENT], [WAITED, SENT]),
    ],
)
def test_what_is_listed_and_happened_passes(expect: list[dict[str, Any]], lines: list[Line]) -> None:
    """Within two minutes, in the customer's zone; completing needn't be listed, nor do deferrals and drops."""
    assert passes(expect, lines)


@pytest.mark.parametrize(
    ("expect", "lines"),
    [
        ([WANT_SENT], []),
        ([], [SENT]),
        ([], [LEFT]),
        ([], [{"at": TEN, "parked": "template: broken", "journey": "care"}]),
        ([WANT_SENT], [SENT, LATER]),
        ([WANT_LATER, WANT_SENT], [SENT, LATER]),
        ([WANT_SENT], [{**SENT, "at": TEN + timedelta(minutes=3)}]),
        ([WANT_SENT], [{**SENT, "template": "again"}]),
        ([WANT_SENT], [{**SENT, "text": "Hello Ben"}]),
        ([WANT_SENT], [{**SENT, "send": "sms"}]),
        ([{"exit": "completed"}], [LEFT]),
        ([{"exit": "completed"}], []),
        ([{"defer": "email", "reason": "hold"}, WANT_SENT], [WAITED, SENT]),
        ([{"drop": "email"}], []),
        ([{"defer": "email"}, {"defer": "email"}, WANT_SENT], [WAITED, SENT]),
    ],
)
def test_what_is_missing_or_beside_or_otherwise_fails(expect: list[dict[str, Any]], lines: list[Line]) -> None:
    """Sends, tasks, exits and parkings are complete and in order; a deferral or drop that is listed must have happened."""
    assert not passes(expect, lines)


KIND = st.sampled_from([("send", "email"), ("send", "sms"), ("task", "service"), ("task", "sales"), ("exit", "unhappy")])


@given(st.lists(st.tuples(KIND, st.integers(5, 500)), min_size=1, max_size=12), st.data())
def test_one_change_makes_one_row_wrong(drawn: list[tuple[tuple[str, str], int]], data: st.DataObject) -> None:
    """However long a test is: what it expects line by line passes; a line left out, added or moved makes one row wrong and no
    other, and the rows stand in order of time, each line in one of them."""
    minutes, lines, expect = 0, [], []
    for (kind_, value), gap in drawn:
        minutes += gap
        at = TEN + timedelta(minutes=minutes)
        lines.append({"at": at, kind_: value, "journey": "care"})
        expect.append({"at": at.isoformat(), kind_: value})

    def wrong(wanted: list[dict[str, Any]], happened: list[Line]) -> list[str]:
        rows = compared([Expected.model_validate(e) for e in wanted], happened, ROME)
        assert [x["at"] for x in happened] == [r.happened["at"] for r in rows if r.happened is not None]
        assert len(wanted) == sum(r.expected is not None for r in rows)
        return [r.says for r in rows if r.wrong]

    assert [] == wrong(expect, lines)
    n = data.draw(st.integers(0, len(lines) - 1))
    assert ["unlisted"] == wrong(expect[:n] + expect[n + 1 :], lines)
    assert ["missing"] == wrong(expect, lines[:n] + lines[n + 1 :])
    moved = {**expect[n], "at": (TEN - timedelta(days=1)).isoformat()}
    assert ["different"] == wrong([*expect[:n], moved, *expect[n + 1 :]], lines)
