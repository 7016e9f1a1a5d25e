"""A life that was brought to another plan before that was recorded: its replay says so, and claims neither a difference nor
exactness. Moves among the inputs are told as what they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from engine.authoring.expressions import Context
from engine.cli.retracing import _verdict
from engine.core.clock import zone
from engine.core.enrollment import Begin, Input, State
from engine.core.moving import to_step
from engine.core.plan import Act, Exit, Plan, Send, Wait, sealed
from engine.insight.inputs import inputs_told
from engine.insight.lived import Life, Moved, Recorded, _missing, _untold
from engine.insight.retracing import retrace
from engine.insight.stretches import stretches
from engine.store.relay import DONE
from tests.core.passage import A_DAY, wait_for

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
            [asked(2, OLD, TO_TWO), asked(3, NEW, [[0, 0], [1, 1]]), nudge(4, "retry")],
            NEW,
            ["Asked to go on at two.", f"Asked to go on {TO_NEW} {SINCE}.", f"Went on at two, and from there {TO_NEW}."],
        ),
        (
            [asked(2, OLD, TO_TWO), nudge(3, "retry"), asked(4, NEW, [[0, 0]]), nudge(5, "retry")],
            OLD,
            ["Asked to go on at two.", "Went on at two.", f"Asked to go on {TO_NEW} {SINCE}."],
        ),
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
    ids=[
        "asked",
        "reset",
        "a reset that led nowhere",
        "migrated",
        "taken back",
        "a reset and a migration",
        "taken back before it came to its step",
        "beside an operator's retries",
    ],
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


@pytest.mark.parametrize(
    ("rows", "recorded", "untold"),
    [
        ([asked(2, NEW, [[0, 0]]), nudge(3, "retry")], [], True),
        ([asked(2, NEW, [[0, 0]]), nudge(3, "retry")], [(3, 2, 2)], False),
        ([asked(2, NEW, [[0, 0]]), nudge(3, "retry"), nudge(4, "retry")], [(4, 2, 2)], False),
        ([asked(2, NEW, [[0, 0]]), nudge(3, "retry"), asked(4, OLD, TO_TWO), nudge(5, "retry")], [(5, 4, 4)], True),
        ([asked(2, NEW, [[0, 0]]), nudge(3, "replan"), asked(4, OLD, TO_TWO), nudge(5, "retry")], [(3, 2, 2), (5, 4, 4)], False),
        ([asked(2, NEW, [[0, 0]], None)], [], False),
    ],
    ids=["not", "recorded", "beside an operator's retry", "only the second", "both", "not carried out"],
)
def test_a_move_is_followed_where_it_is_recorded(rows: list[Any], recorded: list[tuple[int, ...]], *, untold: bool) -> None:
    """Each hand-over has a row, or the life isn't followed."""
    of = [SimpleNamespace(seq=seq, asked=first, done_to=last) for seq, first, last in recorded]
    assert untold == _untold(rows, of)


WAITING = (wait_for(1, on_timeout=2, step="w"), Act("look", "task", {}), Wait("rest", A_DAY))
BEFORE, AFTER = (sealed(Plan("j", "lifecycle", (*WAITING, Exit(last, "over")), ())) for last in ("end", "other"))
SECOND = timedelta(seconds=1)


def came(seq: int, kind: str, at: datetime, matched: Any = (), note: str | None = None, was: Any = None) -> Recorded:
    """An input that was accepted when it occurred."""
    row = nudge(seq, kind, note)
    row.at, row.matched, row.was, row.event, row.event_name, row.event_at, row.emptied = at, matched, was, {}, "e", at, False
    given = Begin(seq, at) if kind == "begin" else Input(seq, at, kind, matched, AFTER.hash)  # type: ignore[arg-type]  # a kind
    return Recorded(given, at, "e", row)


@pytest.mark.parametrize(
    ("asked_at", "left", "event"),
    [
        (NOON + timedelta(days=1, seconds=1), State("waiting", 0, NOON, NOON + timedelta(days=1), seq=2), None),
        (NOON + SECOND, State("running", 1, NOON + 2 * SECOND, seq=2, event=3, taken=(3,)), NOON + 2 * SECOND),
        (NOON + SECOND, State("running", 1, NOON + 2 * SECOND, seq=3, event=3, taken=(3,)), NOON + 2 * SECOND),
        (NOON + 3 * SECOND, State("waiting", 0, NOON, NOON + timedelta(days=1), seq=2), NOON + 4 * SECOND),
    ],
    ids=["before anybody came to a wait that was over", "before it heard of what it found", "on its way", "before an event came"],
)
def test_where_it_was_let_go_is_where_the_record_says(asked_at: datetime, left: State, event: datetime | None) -> None:
    """A worker comes to a wait, or hears of an event, a moment later than it happened: what is recorded tells which was first."""
    pairs = ((0, 0), (1, 1), (2, 2))
    inputs = [came(1, "begin", NOON), came(2, "move", asked_at, pairs, DONE)]
    if event is not None:
        inputs.append(came(3, "event", event, ((0, 0),)))
    at = max(asked_at, event or asked_at) + SECOND
    inputs.append(came(len(inputs) + 1, "replan", at, (), "moved"))
    state = replace(left, left=True, held=(inputs[1].given,))
    moved = Moved(at, inputs[-1].given.seq, inputs[1].given, True, 2, BEFORE, AFTER, False, state)
    known: Any = SimpleNamespace(context=lambda row, at: Context({}, at))
    row = standing(step="rest")
    told = retrace(Life(row, AFTER, inputs, {}, {}, {}, NOTHING, known, at + timedelta(hours=9), moved=[moved]))
    (move,) = [t for t in told.transitions if t.left is not None]
    assert ((), True, "rest, waiting") == (told.differs, told.exact, told.transitions[-1].way[1])
    assert (left.op, left.event, f"moved to plan {AFTER.hash} at {('w', 'look')[left.op]}") == (
        move.before.op,
        move.before.event,
        move.what,
    )
    heard = [t for t in told.transitions if isinstance(t.given, Input) and t.given.kind == "event"]
    assert (event is not None) + (left.seq < 3 and 3 in left.taken) == len(heard), "what was found is heard of once more"
    assert (event is not None) == sum(c.kind == "act" for t in told.transitions for c in t.commands), "asked for where it is done"


def test_over_several_moves_an_input_counts_for_what_each_plan_made_of_it() -> None:
    """What it matched when it came is kept, and each move's pairs carry it on: also where the last plan knows nothing of it."""
    none = sealed(Plan("j", "lifecycle", (Wait("rest", A_DAY), Exit("end", "over")), ()))
    later = sealed(Plan("j", "lifecycle", (Wait("first", A_DAY), *WAITING), ()))
    inputs = [came(1, "begin", NOON), came(2, "event", NOON, (), was=[[0, 0]])]
    plans = (BEFORE, later, none)
    pairs = (((0, 1), (2, 3)), ((3, 0),))
    moves = []
    for n, (old, new) in enumerate(pairwise(plans)):
        asking = Input(3 + 2 * n, NOON, "move", pairs[n], new.hash)
        moves.append(Moved(NOON, asking.seq + 1, asking, True, asking.seq, old, new, False, State(op=0, at=NOON)))
    whole = Life(standing(), none, inputs, {}, {}, {}, NOTHING, NOTHING, NOON, moved=moves)
    counted = [stretch.life.inputs[1].row.matched for stretch in stretches(whole)]
    assert [[[0, 0]], [[1, 0]], []] == counted


def test_a_replay_that_comes_elsewhere_says_so_and_goes_on_from_the_record() -> None:
    """With what had been decided by then behind it."""
    ops = (Wait("w", A_DAY), Send("hello", ("email",), "hello", "lifecycle", "news"))
    old, new = (sealed(Plan("j", "lifecycle", (*ops, Exit(last, "over")), ())) for last in ("end", "other"))
    hour = timedelta(hours=1)
    asking = came(2, "move", NOON + hour, ((0, 0), (1, 1)), DONE)
    inputs = [came(1, "begin", NOON), asking, came(3, "replan", NOON + hour, (), "moved")]
    left = State("waiting", 1, NOON, NOON + 2 * hour, seq=2, again=True, left=True)
    assert isinstance(asking.given, Input)
    moved = Moved(NOON + hour, 3, asking.given, True, 2, old, new, False, left)
    decided = [
        SimpleNamespace(at=NOON, decision="defer", reason="hold", rule="", until=NOON + 2 * hour),
        SimpleNamespace(at=NOON + 2 * hour, decision="allow", reason="", rule="", until=None),
    ]
    sent = SimpleNamespace(
        status="sent", reason="", detail="", sent_at=NOON + 2 * hour, planned_at=NOON + 24 * hour, decided_at=NOON
    )
    known: Any = SimpleNamespace(context=lambda row, at: Context({}, at))
    row, key = standing(status="ended", reason="over"), "7/hello/0/0"
    whole = Life(row, new, inputs, {key: decided}, {key: sent}, {}, NOTHING, known, NOON + 9 * hour, moved=[moved])
    told = retrace(whole)
    assert ("at move 2 it stood at hello, waiting, and the replay at w, waiting",) == told.differs
    assert ["hello: done"] == [t.what for t in told.transitions if t.what.startswith("hello")]


def test_a_message_of_before_a_move_says_nothing_of_a_wait_after_it() -> None:
    """Its step stands behind that wait now: it was planned on the old plan, for no end of this one."""
    hello, hour = Send("hello", ("email",), "hello", "lifecycle", "news"), timedelta(hours=1)
    old = sealed(Plan("j", "lifecycle", (hello, Wait("w", A_DAY)), ()))
    new = sealed(Plan("j", "lifecycle", (Wait("pause", A_DAY), hello), ()))
    asking = came(2, "move", NOON + hour, ((1, 0),), DONE)
    inputs = [came(1, "begin", NOON), asking, came(3, "replan", NOON + hour, (), "moved")]
    assert isinstance(asking.given, Input)
    left = State("waiting", 1, NOON, NOON + timedelta(days=1), seq=2, left=True)
    moved = Moved(NOON + hour, 3, asking.given, True, 2, old, new, False, left)
    decided = SimpleNamespace(at=NOON, decision="allow", reason="", rule="", until=None)
    sent = SimpleNamespace(status="sent", reason="", detail="", sent_at=NOON, planned_at=NOON, decided_at=NOON)
    known: Any = SimpleNamespace(context=lambda row, at: Context({}, at))
    messages, decisions = {"7/hello/0/0": sent}, {"7/hello/0/0": [decided]}
    row = standing(step="pause")
    told = retrace(Life(row, new, inputs, decisions, messages, {}, NOTHING, known, NOON + 9 * hour, moved=[moved]))
    assert ((), True, "pause, waiting") == (told.differs, told.exact, told.transitions[-1].way[1])


def test_a_replay_that_an_erasure_keeps_from_following_a_move_says_so() -> None:
    """Where it stood is gone, conditions find nothing any more, and the move knows no step where that leads: no difference."""
    ops = (Wait("w", A_DAY), Wait("there", A_DAY))
    old, new = (sealed(Plan("j", "lifecycle", (*ops, Exit(last, "over")), ())) for last in ("end", "other"))
    hour = timedelta(hours=1)
    asking = came(2, "move", NOON + hour, ((1, 1),), DONE)
    inputs = [came(1, "begin", NOON), asking, came(3, "replan", NOON + hour, (), "moved")]
    assert isinstance(asking.given, Input)
    moved = Moved(NOON + hour, 3, asking.given, True, 2, old, new, False, None)
    known: Any = SimpleNamespace(context=lambda row, at: Context({}, at))
    row = standing(status="ended", reason="erased", erased_at=NOON)
    told = retrace(Life(row, new, inputs, {}, {}, {}, NOTHING, known, NOON + 9 * hour, moved=[moved]))
    assert ((), False, False) == (told.differs, told.compared, told.exact)
    assert ("where it stood at move 2 was erased: a replay doesn't follow it from there",) == told.missing
    assert "not compared with the end" in str(_verdict(told)[0])
