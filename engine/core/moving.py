"""An enrollment goes on with another plan, or at another step of its own: which operation becomes which, and its state then.

    crossings(old, new, named) ─▶ a `move` with these pairs ─▶ `advance` lets it go ─▶ carried(old, new, state, move)

Steps are the same where they have the same id and verb, or where a person has said so (`named`). What (step, visit, attempt)
names stays named: nothing that was sent on the old plan is sent once more on the new one. Source: semantics.md, "Versions". Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from engine.core.enrollment import Input, State
from engine.core.plan import Loop, NextChannel, Op, Plan, Send, Wait, WaitFor
from engine.core.walk import leave

COMPANIONS = (".delivery", ".every")
"""What the ids end with of operations that the compiler puts beside a step of an author's."""

Pairs = tuple[tuple[int, int], ...]

MATCHING = ("event", "replan", "skip")
"""Kinds of inputs that name operations of their plan."""


@dataclass(frozen=True, slots=True)
class Carried:
    """Where somebody goes on. `anew`: the state is parked, and a `retry` lets it arrive at its operation as for the first time.
    `dropped`: what it had waiting on the step that it stood at is no longer to be sent."""

    state: State
    anew: bool
    dropped: bool


def places(plan: Plan) -> dict[str, int]:
    """Step id → number of its operation."""
    return {step: at for at, op in enumerate(plan.ops) if (step := getattr(op, "step", None)) is not None}


def crossings(old: Plan, new: Plan, named: Mapping[str, str]) -> Pairs:
    """(operation of `old`, operation of `new`) for each step at which somebody may change over, in order. `named`: old step → new
    step; a name that one of the plans doesn't have concerns it not."""
    there = places(new)
    pairs = []
    for step, at in places(old).items():
        to = _named(step, named)
        if to in there and (to != step or step in named or kind(new.ops[there[to]]) == kind(old.ops[at])):
            pairs.append((at, there[to]))
    return tuple(pairs)


def kind(op: Op | None) -> tuple[type, str | None]:
    """What an operation does, in so far as somebody may change over from one to another of the same kind in its midst."""
    return type(op), getattr(op, "verb", None)


def to_step(plan: Plan, target: int) -> Pairs:
    """The pairs that bring somebody to operation `target` of the plan that they are on, wherever they stand."""
    return tuple((at, target) for at in range(len(plan.ops) + 1))


def carried(old: Plan, new: Plan, state: State, move: Input) -> Carried:
    """`state`, which was let go, as it goes on with `new`; with the same plan it is a reset, and begins another visit. A later
    move outlasts a reset: it is for where that leads.

    A wait begun on the old plan is worked out again from its start, whatever it was told before. A channel whose place was
    another's begins another visit: on this one that number names what the other was tried for. Raises ValueError where the move
    leads nowhere from here."""
    target = dict(move.matched).get(state.op)
    if target is None:
        raise ValueError(f"the move says nothing of operation {state.op}")
    was, will = old.ops[state.op] if state.op < len(old.ops) else None, new.ops[target]
    reset = old.hash == new.hash
    heads = {at: at for at in range(len(new.ops))} if reset else dict(move.matched)
    held = tuple(
        replace(given, matched=matched_on(old, new, heads.items(), given.kind, given.matched))
        for given in state.held
        if given.kind != "move" or (reset and given.seq > move.seq)
    )
    base = replace(state, op=target, held=held, left=False, confirm=False, deadline=None)
    anew = reset or kind(was) != kind(will) or to_come(state)
    if anew:
        base = replace(base, status="parked", at=_later(state.at, move.at), wake=None, attempt=0, again=False, reason="")
        base = replace(base, visit=state.visit + reset, loops=_loops(new, target, state, heads, itself=False))
        return Carried(base, anew=True, dropped=True)
    attempt, other = _attempt(old, state.op, new, target, state.attempt)
    base = replace(base, loops=_loops(new, target, state, heads, itself=True), attempt=attempt, visit=state.visit + other)
    same = getattr(was, "step", None) == getattr(will, "step", None) and attempt == state.attempt
    if state.status == "parked" or (state.status == "waiting" and state.again and same and was == will):
        return Carried(base, anew=False, dropped=not same)
    return Carried(replace(base, status="running", wake=None, again=False), anew=False, dropped=not same)


def to_come(state: State) -> bool:
    """Whether a move has put `state` at its operation anew, and the `retry` by which it comes to it is still on its way."""
    return state.status == "parked" and not state.reason


def in_turn(plan: Plan, asked: Sequence[Input]) -> list[Input]:
    """Those that count of the moves (in order, at least one) that somebody on `plan` was asked to make: the newest, and before it
    the newest reset, where it leads to another plan."""
    *earlier, newest = asked
    resets = [move for move in earlier if is_first(plan, move, newest)]
    return [*resets[-1:], newest]


def is_first(plan: Plan, earlier: Input, later: Input) -> bool:
    """Whether of two moves of somebody on `plan` the earlier one is made first, and the later one from where that leads: a reset
    (to its own plan) before a move to another. Any other later move takes the earlier one's place."""
    return earlier.reason == plan.hash != later.reason


def as_before(state: State) -> State:
    """`state`, which was let go, as it goes on where it stands: nothing that it was asked leads anywhere from there."""
    return replace(without_moves(state), left=False)


def without_moves(state: State) -> State:
    """`state` without the moves that it holds."""
    return replace(state, held=tuple(given for given in state.held if given.kind != "move"))


def behind(new: Plan, there: Carried) -> Carried:
    """`there` behind the send that it stands at: nothing more is tried of that."""
    state = leave(new, there.state, there.state.op + 1)
    return replace(there, state=replace(state, status="parked"), anew=True)


def matched_on(
    old: Plan, new: Plan, pairs: Iterable[tuple[int, int]], kind: str, matched: Iterable[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    """What an input that came on `old` satisfies on `new`: the same alternatives of the same waits; the step that a skip is
    for."""
    if old.hash == new.hash:
        return tuple(matched)
    to = dict(pairs)
    found = []
    for at, choice in matched:
        there = to.get(at)
        if there is None:
            continue
        was, will = old.ops[at], new.ops[there]
        if kind == "skip" or (kind == "replan" and isinstance(will, Wait)):
            found.append((there, choice))
        elif isinstance(was, WaitFor) and isinstance(will, WaitFor) and choice < len(was.alternatives):
            wanted = replace(was.alternatives[choice], target=0, message=None)
            found += [(there, n) for n, one in enumerate(will.alternatives) if replace(one, target=0, message=None) == wanted][:1]
    return tuple(found)


def _named(step: str, named: Mapping[str, str]) -> str:
    """What `step` is called on the new plan; what stands beside a step goes with it."""
    if step in named:
        return named[step]
    for ending in COMPANIONS:
        whole = step.removesuffix(ending)
        if whole != step and whole in named:
            return named[whole] + ending
    return step


def _later(at: datetime | None, moved: datetime) -> datetime:
    return moved if at is None else max(at, moved)


def _loops(new: Plan, target: int, state: State, heads: Mapping[int, int], *, itself: bool) -> tuple[tuple[int, int], ...]:
    """The repeats around `target` with their rounds so far; one that wasn't there before is in its first. `itself`: also the one
    that stands at `target`, where its rounds are known."""
    rounds = {heads[head]: done for head, done in state.loops if head in heads}
    around = [(at, rounds.get(at, 0)) for at, op in enumerate(new.ops) if isinstance(op, Loop) and at < target < op.done]
    if itself and isinstance(new.ops[target], Loop):
        around.append((target, rounds.get(target, 0)))
    return tuple(around)


def _attempt(old: Plan, at: int, new: Plan, target: int, attempt: int) -> tuple[int, bool]:
    """The place among the new channels of the one that is being tried, or whose delivery is awaited; whether that is another
    place, which the old list had another channel in."""
    was, will = _sending(old, at), _sending(new, target)
    if was is None or will is None:
        return 0, False
    channel = was.channels[attempt]
    place = will.channels.index(channel) if channel in will.channels else min(attempt, len(will.channels) - 1)
    return place, place != attempt and will.channels[place] not in was.channels[place : place + 1]


def _sending(plan: Plan, at: int) -> Send | None:
    """The send at operation `at`, or the one whose delivery is awaited there before its next channel is tried."""
    here, then = [*plan.ops[at : at + 2], None, None][:2]
    op = plan.ops[then.send] if isinstance(then, NextChannel) else here
    return op if isinstance(op, Send) else None
