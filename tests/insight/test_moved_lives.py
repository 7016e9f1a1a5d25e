"""A life that was brought to another plan before that was recorded: its replay says so, and claims neither a difference nor
exactness. Moves among the inputs are told as what they are."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from engine.cli.retracing import _verdict
from engine.core.clock import zone
from engine.core.enrollment import Begin, Input
from engine.core.moving import to_step
from engine.core.plan import Exit, Plan, sealed
from engine.insight.inputs import inputs_told
from engine.insight.lived import Life, Recorded, _missing
from engine.insight.retracing import retrace
from engine.store.relay import DONE

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOTHING: Any = SimpleNamespace()


def life(row: Any, plan: Plan, inputs: list[Recorded], missing: tuple[str, ...] = (), *, untold: bool = False) -> Life:
    """All that is recorded of somebody who was never sent anything."""
    return Life(row, plan, inputs, {}, {}, {}, NOTHING, NOTHING, NOON, missing, untold=untold)


def standing(**values: Any) -> Any:
    """The enrollment's row."""
    fields = {"status": "live", "reason": "", "step": "w", "erased_at": None, "last_seq": 2, "emptied": False, "merged": False}
    return SimpleNamespace(**{"id": 7, "state": None, "ended_at": None, **fields, **values})


@pytest.mark.parametrize("untold", [True, False])
def test_a_move_of_which_nothing_is_recorded_is_said_and_not_counted_as_differing(*, untold: bool) -> None:
    """One that hasn't been carried out yet changes nothing of what a replay compares."""
    begun, asked = (SimpleNamespace(kind=kind, note=None, emptied=False) for kind in ("begin", "move"))
    inputs = [
        Recorded(Begin(1, NOON), NOON, "e", begun),
        Recorded(Input(2, NOON, "move", ((0, 1),), "b"), NOON, "", asked),
    ]
    row = standing()
    missing = tuple(_missing(row, inputs, {}, {}, untold=untold))
    plan = sealed(Plan("j", "lifecycle", (Exit("x", "over"),), ()))
    told = retrace(life(row, plan, inputs, missing, untold=untold))
    assert untold == ("not compared with the end, because it was moved" in str(_verdict(told)[0]))
    assert "as recorded" not in str(_verdict(told)[0])
    assert (untold, not untold, False) == (any("another plan" in one for one in missing), bool(told.differs), told.exact)


def asked(seq: int, plan: Plan, matched: Any, note: str | None = DONE) -> Any:
    """A `move`, as the store has it."""
    return SimpleNamespace(seq=seq, kind="move", at=NOON, reason=plan.hash, matched=matched, note=note, relayed_at=NOON)


def nudge(seq: int, kind: str, note: str | None = "moved") -> Any:
    """What follows it, or, without a note, what an operator did."""
    return SimpleNamespace(
        seq=seq, kind=kind, at=NOON, reason="", matched=[], note=note, relayed_at=NOON, name=None, properties=None
    )


OLD, NEW = (sealed(Plan("j", "lifecycle", (Exit("one", "over"), Exit(last, "over")), ())) for last in ("two", "other"))
TO_TWO = [list(pair) for pair in to_step(OLD, 1)]
TO_NEW = f"with plan {NEW.hash}"
SINCE = "(first deployed on 2 March 2026 at 12:00 (UTC))"


@pytest.mark.parametrize(
    ("rows", "plan", "said"),
    [
        ([asked(2, OLD, TO_TWO, None)], OLD, ["Asked to go on at two."]),
        ([asked(2, OLD, TO_TWO), nudge(3, "retry")], OLD, ["Asked to go on at two.", "Went on at two."]),
        ([asked(2, OLD, TO_TWO), nudge(3, "replan")], OLD, ["Asked to go on at two."]),
        ([asked(2, NEW, [[0, 0]]), nudge(3, "replan")], NEW, [f"Asked to go on {TO_NEW} {SINCE}.", f"Went on {TO_NEW}."]),
        ([asked(2, NEW, [[0, 0]]), nudge(3, "replan")], OLD, [f"Asked to go on {TO_NEW} {SINCE}."]),
        (
            [asked(2, OLD, TO_TWO), nudge(3, "retry", None), nudge(4, "retry"), nudge(5, "retry", None)],
            OLD,
            [
                "Asked to go on at two.",
                "Retried by an operator, after it was parked.",
                "Went on at two.",
                "Retried by an operator, after it was parked.",
            ],
        ),
    ],
    ids=["asked", "reset", "a reset that led nowhere", "migrated", "taken back", "beside an operator's retries"],
)
def test_a_move_is_told_as_what_it_is(rows: list[Any], plan: Plan, said: list[str]) -> None:
    """Where it leads, and once it is done that it did; what only tells a cohort to begin there is nobody's retry."""
    plans = {OLD.hash: OLD, NEW.hash: NEW}
    assert said == [m.text for m in inputs_told(rows, plan, plans, {NEW.hash: NOON}, zone("UTC"))]


def test_a_replay_takes_the_beginning_after_a_move_for_nobodys_retry() -> None:
    """It was never parked."""
    begun = SimpleNamespace(kind="begin", note=None, emptied=False)
    inputs = [
        Recorded(Begin(1, NOON), NOON, "e", begun),
        Recorded(Input(2, NOON, "move", ((0, 1),), OLD.hash), NOON, "", asked(2, OLD, TO_TWO)),
        Recorded(Input(3, NOON, "retry", (), ""), NOON, "", nudge(3, "retry")),
    ]
    told = retrace(life(standing(last_seq=3), OLD, inputs, untold=True))
    assert ["nobody's act: it went on as the move before asked"] == [t.words for t in told.transitions if "retry" in t.what]
