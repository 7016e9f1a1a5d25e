"""A life that was brought to another plan: its replay says so, and claims neither a difference nor exactness."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from engine.core.enrollment import Begin, Input
from engine.core.plan import Exit, Plan, sealed
from engine.insight.lived import Life, Recorded, _missing
from engine.insight.retracing import retrace
from engine.store.relay import DONE

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOTHING: Any = SimpleNamespace()


@pytest.mark.parametrize(("note", "moved"), [(DONE, True), (None, False)])
def test_a_move_that_was_carried_out_is_said_and_not_counted_as_differing(note: str | None, *, moved: bool) -> None:
    """One that hasn't been yet changes nothing of what a replay compares."""
    row: Any = SimpleNamespace(id=7, status="live", reason="", step="w", erased_at=None, last_seq=2, emptied=False, merged=False)
    begun, asked = (SimpleNamespace(kind=kind, note=of, emptied=False) for kind, of in (("begin", None), ("move", note)))
    inputs = [
        Recorded(Begin(1, NOON), NOON, "e", begun),
        Recorded(Input(2, NOON, "move", ((0, 1),), "b"), NOON, "", asked),
    ]
    missing = tuple(_missing(row, inputs, {}, {}))
    plan = sealed(Plan("j", "lifecycle", (Exit("x", "over"),), ()))
    told = retrace(Life(row, plan, inputs, {}, {}, {}, NOTHING, NOTHING, NOON, missing))
    assert (moved, not moved, False) == (any("another plan" in one for one in missing), bool(told.differs), told.exact)
