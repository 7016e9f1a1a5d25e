"""`advance(plan, state, given, now) -> (state, commands)`: moves one enrollment along its plan.

The state machine in one place. A state is *running* (one command in flight, the one that `reissue` builds), *waiting* (for
`wake` or an input), *parked* (for a retry) or *ended*. What may come is a row of `advance`; what a command's outcome does is
a row of `ANSWERS`; `walk.py` does the moving. Pure, and the same for workflow and simulator: no clock, condition or data here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from engine.core import walk
from engine.core.enrollment import Begin, Command, Given, Input, Outcome, State, Wake
from engine.core.moving import is_first
from engine.core.plan import EARLIER, Branch, Exit, Loop, Plan, Send, Split, Wait, WaitFor
from engine.core.walk import Step


def advance(plan: Plan, state: State, given: Given, now: datetime) -> Step:
    """The state after `given`, and what it asks for.

    What is stale, repeated or unknown leaves the state as it is (an unknown input still counts as seen). Rules: `semantics.md`,
    "Events and inputs". Raises ValueError only for what can't be: an outcome that doesn't fit the operation, a target outside
    the plan; the driver then calls `park`. `now` (aware) tells a due wake from a stale one and nothing else."""
    if state.status == "ended" or state.left:
        return state, ()
    match given:
        case Begin():
            return _begin(plan, state, given)
        case Input():
            return _let_go(*_input(plan, state, given))
        case Wake():
            return _let_go(*_wake(plan, state, now))
        case Outcome():
            return _let_go(*_outcome(plan, state, given))


def reissue(plan: Plan, state: State, now: datetime) -> Command | None:
    """The command in flight of a running state, built from the state alone; None when none is.

    For continue-as-new and for a state rebuilt from the store. Commands carry logical times only, so the answer is the same
    at every `now`: equal to the command that `advance` gave, under the same key."""
    if state.left:
        return walk.moved(state, _move(state))
    return walk.command(plan, state) if state.status == "running" else None


def park(state: State, reason: str, now: datetime) -> Step:
    """`state` stopped because handling it failed (`advance` raised): a driver's way to isolate one member. Ended stays ended."""
    if state.status == "ended":
        return state, ()
    return walk.park(replace(state, at=state.at or now), reason)


def key(enrollment: int, plan: Plan, command: Command) -> str:
    """`enrollment/step/visit/attempt`: names what `command` does for ever. A place without a step is named by its number."""
    op = plan.ops[command.op] if command.op < len(plan.ops) else None
    step = getattr(op, "step", f"#{command.op}")
    return f"{enrollment}/{step}/{command.visit}/{command.attempt}"


# What may come


def _begin(plan: Plan, state: State, given: Begin) -> Step:
    if state.at is not None:
        return state, ()
    return walk.arrive(plan, replace(state, at=given.at, seq=max(state.seq, given.seq)))


def _input(plan: Plan, state: State, given: Input) -> Step:
    if given.seq <= state.seq:
        return state, ()
    state = replace(state, seq=given.seq)
    match given.kind:
        case "exit" | "stop":
            return walk.ended(state, given.reason), ()
        case "retry":
            return _retry(plan, state)
        case "move":
            kept = (held for held in state.held if held.kind != "move" or is_first(plan, held, given))
            return replace(state, held=(*kept, given)), ()
        case "skip":
            return _skip(plan, state, given)
        case "event":
            if not given.matched or given.seq in state.taken:  # an evaluate may have seen it in the store before it came here
                return state, ()
            given = replace(given, at=max(given.at, state.at or given.at))
            return _apply(plan, state, given) if _open(state) else _hold(state, given)
        case "again" if state.again:
            return walk.issue(plan, state)
        case "again" | "replan":
            if state.status == "parked":  # the retry asks afresh in any case
                return state, ()
            return _apply(plan, state, given) if _open(state) else _hold(state, given)


def _wake(plan: Plan, state: State, now: datetime) -> Step:
    if state.status != "waiting" or state.wake is None or now < state.wake:
        return state, ()
    if state.again:
        return walk.issue(plan, state)
    if isinstance(plan.ops[state.op], WaitFor):
        return walk.issue(plan, replace(state, confirm=True, deadline=state.wake))
    return walk.move(plan, state, state.op + 1, state.wake)


def _outcome(plan: Plan, state: State, given: Outcome) -> Step:
    if state.status != "running" or (given.op, given.visit, given.attempt) != (state.op, state.visit, state.attempt):
        return state, ()
    return _release(plan, *_skipped(plan, state, *ANSWERS[given.kind](plan, state, given)))


def _retry(plan: Plan, state: State) -> Step:
    if state.status != "parked":
        return state, ()
    inside = isinstance(plan.ops[state.op], Loop) and state.op in dict(state.loops) if state.op < len(plan.ops) else False
    if inside and state.reason != walk.ENDLESS:  # its round has been counted: arriving again would count another
        return walk.issue(plan, state)
    return walk.arrive(plan, state)


# Leaving for another cohort


def _move(state: State) -> Input | None:
    return next((held for held in state.held if held.kind == "move"), None)


def keeps_a_reset(plan: Plan, state: State, given: Given) -> bool:
    """Whether `given` is a move that lets a reset before it stand, which `state` holds."""
    if not isinstance(given, Input) or given.kind != "move":
        return False
    return any(held.kind == "move" and is_first(plan, held, given) for held in state.held)


def _let_go(state: State, commands: tuple[Command, ...]) -> Step:
    """Let `state` leave where a `move` says so and nothing of it is under way: a command that has only just been asked for is
    asked for again where it goes. That it was parked, the store is told first."""
    move = _move(state)
    if move is None or state.status == "ended" or state.at is None or all(here != state.op for here, _ in move.matched):
        return state, commands
    if state.status == "running" and not commands:
        return state, commands
    told = tuple(command for command in commands if command.kind == "record")
    state = replace(state, left=True)
    return state, (*told, walk.moved(state, move))


def _skip(plan: Plan, state: State, given: Input) -> Step:
    """Past the step it stands in. What is in flight is answered first; a skip of a step that has been left changes nothing, but
    whoever is parked tries again: the store has them as live since the skip."""
    if state.status == "running":
        return replace(state, held=(*state.held, given)), ()
    if state.at is not None and any(op == state.op for op, _ in given.matched):
        return walk.move(plan, state, walk.behind(plan, state.op), given.at)
    return _retry(plan, state)


def _skipped(plan: Plan, before: State, state: State, commands: tuple[Command, ...]) -> Step:
    """A skip that came while a command was in flight, now that its outcome has made `state` of `before`: moot where that has led
    on. Until the step's last try is answered it is kept."""
    skip = next((held for held in state.held if held.kind == "skip"), None)
    stays = (state.op, state.visit) == (before.op, before.visit)
    if skip is None or (stays and state.status == "running"):
        return state, commands
    state = replace(state, held=tuple(held for held in state.held if held.kind != "skip"))
    if stays and state.status != "ended" and any(op == state.op for op, _ in skip.matched):
        return _skip(plan, state, skip)
    return state, commands


# Inputs, taken, held and let go


def _open(state: State) -> bool:
    """Asleep in a wait, with no command unanswered: the only place where an event or a replan can act."""
    return state.status == "waiting" and state.at is not None and not state.again


HELD = 32
"""Events that a state keeps while no command is in flight: parked, deferred or overdue, possibly for months."""


def _hold(state: State, given: Input) -> Step:
    """Keep `given` until the state is open. All of them while a command is in flight: its answer may have been worked out before
    they came. Else some are enough: whatever asks the store next is asked after it took them in, and finds every one there."""
    if state.status != "running" and len(state.held) >= HELD and given.kind != "move":
        return state, ()
    return replace(state, held=(*state.held, given)), ()


def _apply(plan: Plan, state: State, given: Input) -> Step:
    """What an input does to an open state: it ends the wait, has it evaluated again, or is let go (the store has it)."""
    overdue = state.wake is not None and given.at > state.wake
    if given.kind == "event":
        if overdue:  # the wait was over before it occurred: it belongs to what comes next
            return _hold(state, given)
        choice = _alternative(plan, state, given)
        if choice is not None:
            return _take(plan, state, given.seq, choice, given.at)
    elif given.kind == "replan" and not overdue and any(op == state.op for op, _ in given.matched):
        return walk.issue(plan, state)
    return state, ()


def _alternative(plan: Plan, state: State, given: Input) -> int | None:
    """The first alternative of the WaitFor it stands at that `given` satisfies; None when there is none."""
    op = plan.ops[state.op]
    if given.kind != "event" or not isinstance(op, WaitFor) or given.seq in state.taken:
        return None
    choices = sorted(choice for at, choice in given.matched if at == state.op and choice < len(op.alternatives))
    return next((c for c in choices if recent(op, c, given.at, walk.later(state, None))), None)


def recent(wait: WaitFor, choice: int, at: datetime, start: datetime) -> bool:
    """Whether what occurred `at` isn't too old for a wait that began at `start`, as its alternative `choice`."""
    if wait.since == "entry":
        return True
    return at >= (start if wait.alternatives[choice].message is None else start - EARLIER)


def _take(plan: Plan, state: State, seq: int, choice: int, at: datetime | None) -> Step:
    alternatives = _wait_for(plan, state).alternatives
    if not 0 <= choice < len(alternatives):
        raise ValueError(f"operation {state.op} has no alternative {choice}")
    held = tuple(given for given in state.held if given.seq != seq)
    state = replace(state, event=seq, taken=(*state.taken, seq), held=held)
    return walk.move(plan, state, alternatives[choice].target, at)


def _release(plan: Plan, state: State, commands: tuple[Command, ...]) -> Step:
    """Apply the held inputs, in order, once an outcome has opened the state. What the first to act leaves over stays held."""
    if not _open(state):
        return state, commands
    held, state = state.held, replace(state, held=())
    for given in held:
        if _open(state) and given.kind != "move":
            state, commands = _apply(plan, state, given)
        elif given.kind in ("event", "move") and state.status != "ended":
            state, _ = _hold(state, given)
    return state, commands


# What the outcome of a command does


def _next(plan: Plan, state: State, given: Outcome) -> Step:
    op = plan.ops[state.op]
    if isinstance(op, (WaitFor, Branch, Split)) and op.skip_to >= 0:  # its `if` is false
        return walk.move(plan, state, op.skip_to, given.at)
    return walk.move(plan, state, state.op + 1, given.at)


def _goto(plan: Plan, state: State, given: Outcome) -> Step:
    return walk.move(plan, state, given.choice, given.at)


def _sleep(plan: Plan, state: State, given: Outcome) -> Step:
    if given.until is None or not isinstance(plan.ops[state.op], (Wait, WaitFor)):
        raise ValueError(f"operation {state.op} can't sleep until {given.until}")
    return replace(state, status="waiting", wake=walk.later(state, given.until), confirm=False, deadline=None), ()


def _took(plan: Plan, state: State, given: Outcome) -> Step:
    return _take(plan, state, given.seq, given.choice, given.at)


def _timeout(plan: Plan, state: State, given: Outcome) -> Step:
    """Over, unless an event that occurred in time came in while the store was being asked."""
    deadline = walk.later(state, state.deadline or given.at)
    for held in state.held:
        choice = _alternative(plan, state, held)
        if choice is not None and held.at <= deadline:
            return _take(plan, state, held.seq, choice, held.at)
    return walk.move(plan, replace(state, event=0), _wait_for(plan, state).on_timeout, deadline)


def _again(plan: Plan, state: State, given: Outcome) -> Step:
    if given.until is None:
        raise ValueError(f"operation {state.op} is to be tried again, but not when")
    state = replace(state, status="waiting", wake=given.until, again=True)
    if any(held.kind == "again" for held in state.held):  # it came after this try had been decided
        return walk.issue(plan, state)
    return state, ()


def _fallback(plan: Plan, state: State, given: Outcome) -> Step:
    op = plan.ops[state.op]
    if not isinstance(op, Send):
        raise ValueError(f"operation {state.op} has no channels to fall back to")
    if state.attempt + 1 < len(op.channels):
        return walk.issue(plan, replace(state, attempt=state.attempt + 1))
    return walk.move(plan, state, state.op + 1, given.at)


def _exit(plan: Plan, state: State, given: Outcome) -> Step:
    op = plan.ops[state.op]
    reason = given.reason or (op.reason if isinstance(op, Exit) else "")
    return walk.end(replace(state, at=walk.later(state, given.at)), reason)


def _park(plan: Plan, state: State, given: Outcome) -> Step:
    return walk.park(state, given.reason)


ANSWERS: dict[str, Callable[[Plan, State, Outcome], Step]] = {
    "next": _next,
    "goto": _goto,
    "sleep": _sleep,
    "took": _took,
    "timeout": _timeout,
    "again": _again,
    "fallback": _fallback,
    "exit": _exit,
    "park": _park,
}
"""What each kind of outcome does to the running state whose command it answers."""


def _wait_for(plan: Plan, state: State) -> WaitFor:
    op = plan.ops[state.op]
    if not isinstance(op, WaitFor):
        raise ValueError(f"operation {state.op} waits for no event")
    return op
