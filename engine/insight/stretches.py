"""A life in stretches, one from each hand-over to the next: what is recorded of each as it was at its end, on the plan that it
ran on then. Pure.

What a message became, or a task, is known of the whole life; a stretch knows what had come by its end, and where it stood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from engine.core.compact import decode_state, encode_state
from engine.core.enrollment import Input
from engine.core.moving import MATCHING, Pairs, matched_on
from engine.core.plan import Exit, Loop, Plan
from engine.insight.lived import Life, Moved, Recorded


@dataclass(frozen=True, slots=True)
class Stretch:
    """`life` as it stood at the end of a stretch, with what it matched on the plan that it ran on. `earlier`: keys of messages
    that were decided before it began · `moved`: the hand-over that ended it, None for the last."""

    life: Life
    earlier: frozenset[str] = frozenset()
    moved: Moved | None = None


def stretches(life: Life) -> list[Stretch]:
    """The stretches of `life`, in order. One whose moves aren't recorded is told along the plan that it is on now."""
    moves = () if life.untold else life.moved
    first = {key: _first(life, key) for key in life.messages}
    found = []
    for n, moved in enumerate(moves):
        found.append(Stretch(_at_its_end(life, moves, n, first), _before(first, moves, n), moved))
    inputs = [on for one in life.inputs if (on := _on(one, moves, len(moves))) is not None]
    traces = _traces(life.traces, life.row, life.plan)
    last = replace(life, inputs=inputs, traces=traces, parkings=[p for p in life.parkings if not moves or p.at > moves[-1].at])
    return [*found, Stretch(last, _before(first, moves, len(moves)))]


def _at_its_end(life: Life, moves: Sequence[Moved], n: int, first: Mapping[str, datetime]) -> Life:
    moved = moves[n]
    by = {key for key, at in first.items() if at <= moved.at}
    row = _row(life.row, moved)
    traces = {key: at for key, at in life.traces.items() if (key in by if key in first else at <= moved.at)}
    since = moves[n - 1].at if n else None
    return replace(
        life,
        row=row,
        plan=moved.old,
        inputs=[on for one in life.inputs if (on := _on(one, moves, n)) is not None],
        decisions={key: [d for d in ds if d.at <= moved.at] for key, ds in life.decisions.items() if key in by},
        messages={key: m for key, m in life.messages.items() if key in by},
        traces=_traces(traces, row, moved.old),
        now=moved.at,
        parkings=[p for p in life.parkings if p.at <= moved.at and (since is None or p.at > since)],
    )


def _first(life: Life, key: str) -> datetime:
    """When a message was decided for the first time."""
    decisions, message = life.decisions.get(key, ()), life.messages[key]
    moment: datetime = decisions[0].at if decisions else message.decided_at or message.planned_at
    return moment


def _before(first: Mapping[str, datetime], moves: Sequence[Moved], n: int) -> frozenset[str]:
    return frozenset(key for key, at in first.items() if n and at <= moves[n - 1].at)


def _row(row: Any, moved: Moved) -> Any:
    """The enrollment's own row as it was when it was let go."""
    state = moved.state
    fields = {**fields_of(row), "plan": moved.old.hash, "status": "live", "reason": "", "ended_at": None}
    if state is None:
        return SimpleNamespace(**{**fields, "state": None, "step": None, "wake_at": None})
    status = "parked" if state.status == "parked" else "live"
    body, step = encode_state(state), moved.old.step_at(state.op)
    stood = {"status": status, "reason": state.reason, "state": body, "step": step, "wake_at": state.wake}
    return SimpleNamespace(**{**fields, **stood})


def fields_of(row: Any) -> dict[str, Any]:
    """The columns of a row, as the store gave it or as it was made here."""
    return dict(vars(row) if isinstance(row, SimpleNamespace) else row._mapping)


def _on(one: Recorded, moves: Sequence[Moved], n: int) -> Recorded | None:
    """An input as it counts in stretch `n`: what it matched when it came, carried over by each move since; None where it came
    later."""
    given = one.given
    if n < len(moves) and given.seq >= moves[n].seq:
        return None
    if not isinstance(given, Input) or given.kind not in MATCHING or not moves:
        return one
    matched: Pairs = tuple((op, choice) for op, choice in (one.row.matched if one.row.was is None else one.row.was))
    for moved in moves[:n]:
        if given.seq < moved.seq and moved.followed:
            matched = matched_on(moved.old, moved.new, moved.move.matched, given.kind, matched)
    row = SimpleNamespace(**{**fields_of(one.row), "matched": [list(pair) for pair in matched]})
    return replace(one, given=replace(given, matched=matched), row=row)


def _traces(traces: Mapping[str, datetime], row: Any, plan: Plan) -> dict[str, datetime]:
    """`traces`, with what the enrollment's row says of where it has been: the last wait that was recorded, the exit it took."""
    found = dict(traces)
    if row.state is not None:
        state = decode_state(row.state)
        step = plan.step_at(state.op)
        if step is not None and state.at is not None:
            found[f"{row.id}/{step}/{state.visit}/0"] = state.at
    if row.status == "ended" and row.ended_at is not None and not any(isinstance(op, Loop) for op in plan.ops):
        exits = [op.step for op in plan.ops if isinstance(op, Exit) and op.reason == row.reason]
        if len(exits) == 1:
            found[f"{row.id}/{exits[0]}/0/0"] = row.ended_at
    return found
