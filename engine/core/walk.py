"""Where an enrollment goes along its plan, and the command that the operation it arrives at asks for.

Only movement lives here: what an input or an outcome means is `interpreter.py`'s. A new kind of operation gets its case in
`command`, or in `arrive` when it asks for nothing. Everything is pure; times are those handed in.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from engine.core.enrollment import Command, Input, State
from engine.core.plan import Act, Branch, Exit, Jump, Loop, NextChannel, Plan, Send, Split, Wait, WaitFor

Step = tuple[State, tuple[Command, ...]]
"""What `advance` returns: the new state and what it asks for."""

HOPS = 1000
ENDLESS = f"went through {HOPS} operations that ask for nothing: the plan goes in a circle"


def arrive(plan: Plan, state: State) -> Step:
    """Go on from `state.op`, which has just been reached, to the first operation that asks for something.

    Jumps, unconditional exits and counted repeats are walked here. A plan that would be walked for ever parks its member."""
    for _ in range(HOPS):
        if state.op == len(plan.ops):
            return end(state, "completed")
        match plan.ops[state.op]:
            case Jump(target=target):
                state = leave(plan, state, target)
            case Exit(condition=None, reason=reason):
                return end(state, reason)
            case NextChannel(send=at):
                send = plan.ops[at]
                if isinstance(send, Send) and state.attempt + 1 < len(send.channels):
                    return issue(plan, replace(state, op=at, attempt=state.attempt + 1))
                state = leave(plan, state, state.op + 1)
            case Loop() as loop:
                rounds = next((done + 1 for head, done in state.loops if head == state.op), 0)
                if rounds >= loop.times:
                    state = leave(plan, state, loop.done)
                    continue
                outer = tuple(entry for entry in state.loops if entry[0] != state.op)
                state = replace(state, loops=(*outer, (state.op, rounds)))
                if loop.until is not None or (loop.condition is not None and rounds == 0):
                    return issue(plan, state)
                state = leave(plan, state, state.op + 1)
            case _:
                return issue(plan, state)
    return park(state, ENDLESS)


def move(plan: Plan, state: State, target: int, at: datetime | None = None) -> Step:
    """Leave the operation for `target`, whose step starts at `at` (None: when the one before did; never earlier than that)."""
    return arrive(plan, replace(leave(plan, state, target), at=later(state, at)))


def leave(plan: Plan, state: State, target: int) -> State:
    """`state` standing at `target`, with nothing left of the operation before.

    Going back counts a visit, so that (operation, visit) never comes twice; a repeat that `target` is outside of is forgotten.
    Which channel of a send was tried is known until its delivery has been awaited. ValueError when the plan has no such
    place."""
    if not 0 <= target <= len(plan.ops):
        raise ValueError(f"operation {state.op} leads to {target}, the plan has {len(plan.ops)} operations")
    loops = tuple((head, rounds) for head, rounds in state.loops if _inside(plan, head, target))
    return replace(
        state,
        op=target,
        visit=state.visit + (target <= state.op),
        attempt=state.attempt if _awaiting(plan, state.op, target) else 0,
        wake=None,
        loops=loops,
        confirm=False,
        again=False,
        deadline=None,
        reason="",
    )


def behind(plan: Plan, at: int) -> int:
    """The operation behind the step whose operation is `at`: behind its blocks too, and behind the wait for its delivery."""
    match plan.ops[at]:
        case Wait(skip_to=target) | WaitFor(skip_to=target) | Branch(skip_to=target) | Split(skip_to=target) if target >= 0:
            return target
        case Loop(done=target):
            return target
        case Send(step=step):
            match plan.ops[at + 1 : at + 2]:
                case (WaitFor(skip_to=target, alternatives=told),) if any(a.message == step for a in told):
                    return target
    return at + 1


def _awaiting(plan: Plan, at: int, target: int) -> bool:
    """Whether the way from `at` to `target` leads on through one send: to the wait for its delivery, or to its next channel."""
    return any(isinstance(op, NextChannel) and op.send <= at < target for op in plan.ops[target : target + 2])


def _inside(plan: Plan, head: int, target: int) -> bool:
    loop = plan.ops[head]
    return isinstance(loop, Loop) and head <= target < loop.done


def later(state: State, at: datetime | None) -> datetime:
    """`at`, but never before the step started; None means when it started. ValueError before Begin."""
    if state.at is None:
        raise ValueError("the enrollment hasn't begun")
    return state.at if at is None else max(state.at, at)


def issue(plan: Plan, state: State) -> Step:
    """Ask for what the operation needs. Held `again` and `replan` are let go: this command sees what they were about."""
    held = tuple(given for given in state.held if given.kind in ("event", "move", "skip"))
    state = replace(state, status="running", wake=None, again=False, reason="", held=held)
    return state, (command(plan, state),)


def command(plan: Plan, state: State) -> Command:
    """The command that the operation `state` stands at asks for, built from the state alone."""
    place = (state.op, state.visit, state.attempt, later(state, None), state.event)
    match plan.ops[state.op]:
        case Send(channels=channels):
            return Command("deliver", *place, channel=channels[state.attempt])
        case Act():
            return Command("act", *place)
        case WaitFor():
            return Command("evaluate", *place, taken=state.taken, confirm=state.confirm)
        case Loop():
            return Command("evaluate", *place, rounds=dict(state.loops)[state.op])
        case Wait() | Branch() | Split() | Exit():
            return Command("evaluate", *place)
        case Jump() | NextChannel():
            raise ValueError(f"operation {state.op} is a jump, which asks for nothing")


def end(state: State, reason: str) -> Step:
    """Ended for good, by the plan itself: the store is told."""
    return ended(state, reason), (_record(state, "ended", reason),)


def ended(state: State, reason: str) -> State:
    """`state` after its end: nothing is awaited any more."""
    return replace(state, status="ended", reason=reason, wake=None, held=(), loops=(), confirm=False, again=False, deadline=None)


def park(state: State, reason: str) -> Step:
    """Stopped where it stands until a person retries it; what came in is kept."""
    return replace(state, status="parked", reason=reason, wake=None, again=False), (_record(state, "parked", reason),)


def moved(state: State, move: Input | None) -> Command:
    """What the store is told of a state that was let go for `move`. ValueError where there was none."""
    if move is None:
        raise ValueError("it was let go, and nothing says where to")
    return replace(_record(state, "moved", move.reason), event=move.seq)


def _record(state: State, status: str, reason: str) -> Command:
    return Command("record", state.op, state.visit, state.attempt, later(state, None), status=status, reason=reason)
