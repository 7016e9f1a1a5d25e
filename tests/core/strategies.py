"""Random plans and random lives of an enrollment. A new kind of operation brings its own case in `_step` and in `outcomes`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hypothesis import strategies as st

from engine.core.enrollment import Begin, Command, Given, Input, Outcome, State, Wake
from engine.core.interpreter import advance
from engine.core.plan import (
    Act,
    Alternative,
    Arm,
    Branch,
    Exit,
    Jump,
    Loop,
    NextChannel,
    Op,
    Plan,
    Send,
    Split,
    SplitArm,
    Wait,
    WaitFor,
)
from tests.core.passage import A_DAY, NOON, plan_of

VERBS = ("wait", "wait", "wait_for", "wait_for", "send", "send", "act", "branch", "split", "repeat", "exit")
CONDITIONS = st.sampled_from([None, None, "x"])
FROM_PAST = st.integers(-4, 48)
"""Hours, most of them ahead."""
AHEAD = st.integers(0, 48)
STEPS = st.integers(0, 3)
GAPS = st.integers(1, 2)
INPUTS = st.sampled_from(
    [*["event"] * 12, "again", "again", "replan", "replan", "retry", "retry", "skip", "skip", "stop", "exit"]
)
HAPPENS = st.sampled_from([*["driver"] * 10, *["input"] * 7, "wake", "stale", "repeated"])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A plan as the compiler lays one out: nested blocks, each step with an id of its own."""
    ops: list[Op] = []
    _block(draw, ops, depth=2, least=1)
    return plan_of(*ops)


@st.composite
def wild_plans(draw: st.DrawFn) -> Plan:
    """A plan that no compiler writes: jumps, exits and repeats that lead anywhere inside it."""
    size = draw(st.integers(1, 6))
    place = st.integers(0, size)
    control = st.one_of(
        st.builds(Jump, place),
        st.builds(Loop, st.just("r"), st.integers(0, 3), place, CONDITIONS, CONDITIONS),
        st.builds(Exit, st.just("x"), st.just("over"), CONDITIONS),
    )
    return plan_of(*draw(st.lists(control, min_size=size, max_size=size)))


def _block(draw: st.DrawFn, ops: list[Op], depth: int, least: int = 0) -> None:
    for _ in range(draw(st.integers(least, 3))):
        _step(draw, ops, depth)


def _step(draw: st.DrawFn, ops: list[Op], depth: int) -> None:
    verb = draw(st.sampled_from(VERBS if depth else VERBS[:7]))
    here, step, condition = len(ops), f"s{len(ops)}", draw(CONDITIONS)
    if verb == "send":
        channels = draw(st.sampled_from([("email",), ("email", "push"), ("email", "push", "sms")]))
        ops.append(Send(step, channels, "t", "lifecycle", condition=condition))
        if len(channels) > 1 and draw(st.booleans()):
            told = (Alternative(here + 3, "e", message=step), Alternative(here + 2, "e", message=step))
            ops.append(WaitFor(f"{step}.delivery", told, A_DAY, here + 2, draw(CONDITIONS), "step", here + 3))
            ops.append(NextChannel(here))
    elif verb == "act":
        ops.append(Act(step, "set", {"vars.x": 1}, condition))
    elif verb == "exit":
        ops.append(Exit(step, "enough", condition))
    elif verb == "repeat":
        ops.append(Jump(0))  # its place; known when the body is
        _block(draw, ops, depth - 1)
        ops.append(Jump(here))
        ops[here] = Loop(step, draw(st.integers(0, 3)), len(ops), draw(CONDITIONS), condition)
    elif verb == "wait":
        ops.append(Jump(0))
        if depth:
            _block(draw, ops, depth - 1)
        ops[here] = Wait(step, A_DAY, condition, "skip", len(ops))
    else:
        ops.append(Jump(0))
        starts = _arms(draw, ops, depth)
        ops[here] = _fork(verb, step, condition, starts, len(ops), draw(st.sampled_from(["entry", "step"])))


def _arms(draw: st.DrawFn, ops: list[Op], depth: int) -> list[int]:
    """Two or three blocks, each but the last with a jump behind them all; where each begins."""
    starts, jumps = [], []
    for _ in range(draw(st.integers(2, 3))):
        starts.append(len(ops))
        if depth:
            _block(draw, ops, depth - 1)
        jumps.append(len(ops))
        ops.append(Jump(0))
    for jump in jumps:
        ops[jump] = Jump(len(ops))
    return starts


def _fork(verb: str, step: str, condition: str | None, starts: list[int], end: int, since: str) -> Op:
    *first, last = starts
    if verb == "wait_for":
        alternatives = tuple(Alternative(start, event="e") for start in first)
        return WaitFor(step, alternatives, A_DAY, last, condition, "entry" if since == "entry" else "step", end)
    if verb == "branch":
        return Branch(step, tuple(Arm("x", start) for start in first), last, condition, end)
    return Split(step, step, tuple(SplitArm(str(start), 1, start) for start in starts), 0.1, condition, end)


def targets(op: Op) -> list[int]:
    """Where an outcome `goto` may lead from `op`."""
    if isinstance(op, Branch):
        return [*(arm.target for arm in op.arms), op.otherwise, op.skip_to]
    if isinstance(op, Split):
        return [*(arm.target for arm in op.arms), op.skip_to]
    if isinstance(op, Loop):
        return [op.done]
    return [op.skip_to] if isinstance(op, (Wait, WaitFor)) else []


def kinds(op: Op, confirm: bool) -> list[str]:
    """The kinds of outcome that a command of `op` may have, the usual ones more often."""
    forks = ["goto", "goto"] if targets(op) else []
    always = ["park", "again", *forks]
    match op:
        case Wait():
            return [*always, "sleep", "sleep", "sleep", "next", "exit"]
        case WaitFor():
            return [*always, "sleep", "sleep", "sleep", "took", "next", *(3 * ["timeout"] if confirm else [])]
        case Send():
            return [*always, "next", "next", "next", "fallback", "exit"]
        case Split():
            return always
        case _:
            return [*always, "next", "next", "exit"]


def outcomes(draw: st.DrawFn, plan: Plan, state: State, now: datetime) -> Outcome:
    """An outcome that an honest driver may give to the command in flight of `state`."""
    op = plan.ops[state.op]
    kind = draw(st.sampled_from(kinds(op, state.confirm)))
    answer = Outcome(kind, state.op, state.visit, state.attempt)  # type: ignore[arg-type] # one of the kinds
    match kind:
        case "goto":
            return replace(answer, choice=draw(st.sampled_from(targets(op))))
        case "sleep":
            return replace(answer, until=now + timedelta(hours=draw(FROM_PAST)))
        case "again":
            return replace(answer, until=now + timedelta(hours=draw(AHEAD)))
        case "took" if isinstance(op, WaitFor):
            free = [seq for seq in range(2, state.seq + 3) if seq not in state.taken]
            choice = draw(st.integers(0, len(op.alternatives) - 1))
            return replace(answer, seq=draw(st.sampled_from(free)), choice=choice, at=now - timedelta(hours=draw(AHEAD)))
        case "next":
            return replace(answer, at=draw(st.sampled_from([None, now])))
        case _:
            return replace(answer, reason="why")


def inputs(draw: st.DrawFn, plan: Plan, state: State, now: datetime) -> Input:
    """The next input, most often an event that matches the wait it stands at or one it may come to."""
    waits = [(i, n) for i, op in enumerate(plan.ops) if isinstance(op, WaitFor) for n in range(len(op.alternatives))]
    here = [pair for pair in waits if pair[0] == state.op] or [(state.op, 0)]
    matched = draw(st.sampled_from([tuple(here), tuple(waits), tuple(here[:1]), (), ((99, 0), (state.op, 9))]))
    kind = draw(INPUTS)
    seq = state.seq + draw(GAPS)
    at = now - timedelta(hours=draw(FROM_PAST))
    return Input(seq, at, kind, matched, "left" if kind in ("stop", "exit") else "")  # type: ignore[arg-type] # one of the kinds


@dataclass(frozen=True)
class Life:
    """A plan and everything that happens to one enrollment on it, each with the time at which it is handed over."""

    plan: Plan
    stream: tuple[tuple[Given, datetime], ...]

    def states(self) -> list[tuple[State, tuple[Command, ...]]]:
        """State and commands after each given, from the first."""
        state, steps = State(), []
        for given, now in self.stream:
            state, commands = advance(self.plan, state, given, now)
            steps.append((state, commands))
        return steps


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """A life as drivers make it: outcomes and wakes mixed with inputs, stale and repeated ones among them."""
    plan = draw(plans())
    stream: list[tuple[Given, datetime]] = [(Begin(1, NOON), NOON)]
    now = NOON
    state, _ = advance(plan, State(), *stream[0])
    for _ in range(draw(st.integers(0, 20))):
        now += timedelta(hours=draw(STEPS))
        given = _given(draw, plan, state, now, stream)
        if state.wake is not None and isinstance(given, Wake) and draw(st.booleans()):
            now = max(now, state.wake)
        stream.append((given, now))
        state, _ = advance(plan, state, given, now)
    return Life(plan, tuple(stream))


def _given(draw: st.DrawFn, plan: Plan, state: State, now: datetime, before: list[tuple[Given, datetime]]) -> Given:
    match draw(HAPPENS):
        case "driver" if state.status == "running":
            return outcomes(draw, plan, state, now)
        case "driver" | "wake":
            return Wake()
        case "input":
            return inputs(draw, plan, state, now)
        case "stale":
            return Outcome("next", state.op, state.visit + 1, 0)
        case _:
            return draw(st.sampled_from([given for given, _ in before if not isinstance(given, Outcome)]))
