"""One enrollment again, step by step: the recorded inputs and outcomes go through the very core that moved it.

Pure but for what `Life` holds; the time is that of the record. Where the record doesn't suffice each step says so
(`answering.Basis`), and at the end the replay is held against the row of the enrollment.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

from engine.core.compact import EPOCH, encode_command, encode_state
from engine.core.enrollment import Begin, Command, Given, Input, Outcome, State, Wake
from engine.core.interpreter import advance, key, park
from engine.core.plan import Plan
from engine.core.wire import Json
from engine.insight.answering import Answer, Answers, Basis
from engine.insight.inputs import begun
from engine.insight.lived import Life
from engine.store.relay import UNDONE


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of the core. `at`: when it came · `what`: in words · `given`: what went in · `commands`: what came out · `basis`:
    on what it rests (inputs are recorded, wakes follow)."""

    at: datetime
    what: str
    given: Given
    before: State
    after: State
    commands: tuple[Command, ...]
    basis: Basis
    words: str = ""


@dataclass(frozen=True, slots=True)
class Retraced:
    """A whole life, replayed. `differs`: in what the end isn't what is recorded, in words; nothing: it is the same. `missing`:
    what is known to be gone."""

    life: Life
    transitions: tuple[Transition, ...]
    state: State
    differs: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether each step rests on the record or follows from the plan."""
        return not self.differs and not self.life.moved and all(t.basis in ("recorded", "follows") for t in self.transitions)

    def to_json(self) -> dict[str, Json]:
        """For machines."""
        plan = self.life.plan
        return {
            "enrollment": self.life.id,
            "journey": plan.journey,
            "plan": plan.hash,
            "steps": [
                {
                    "at": t.at.isoformat(),
                    "what": t.what,
                    "before": place(plan, t.before),
                    "after": place(plan, t.after),
                    "state": encode_state(t.after),
                    "commands": [encode_command(c) for c in t.commands],
                    "asked": [asked(plan, c) for c in t.commands],
                    "basis": t.basis,
                    "words": t.words,
                }
                for t in self.transitions
            ],
            "exact": self.exact,
            "compared": not self.life.moved,
            "differs": list(self.differs),
            "missing": list(self.missing),
        }


def retrace(life: Life) -> Retraced:
    """Replay `life` up to the moment it was read."""
    run = _Run(life)
    steps = tuple(run.steps())
    delivered = {key(life.id, life.plan, c) for step in steps for c in step.commands if c.kind == "deliver"}
    return Retraced(life, steps, run.state, tuple(_differences(life, run.state, delivered)), life.missing)


def _given(what: Any) -> Given:
    """What goes into the core, of what was on the heap."""
    if isinstance(what, Answer):
        assert what.outcome is not None
        return what.outcome
    given: Given = what if isinstance(what, Wake) else what.given
    return given


@dataclass(slots=True)
class _Run:
    """The heap of what comes: (when, inputs before answers before wakes, order, what)."""

    life: Life
    state: State = field(default_factory=State)
    now: datetime = EPOCH
    coming: list[tuple[datetime, int, int, Any]] = field(default_factory=list)
    order: Iterator[int] = field(default_factory=count)
    begun: Set[int] = frozenset()

    def steps(self) -> Iterator[Transition]:
        life, answers = self.life, Answers(self.life)
        self.begun = begun([recorded.row for recorded in life.inputs]).keys()
        for recorded in life.inputs:
            if recorded.row.note != UNDONE:
                self._push(recorded.came, 0, recorded)
        while self.coming:
            due, _, _, what = heapq.heappop(self.coming)
            if isinstance(what, Wake) and (self.state.wake != due or self.state.status != "waiting"):
                continue
            at = self.now = max(self.now, due)  # a wait may be over before anybody came to it
            given = _given(what)
            before = self.state
            try:
                self.state, commands = advance(life.plan, before, given, at)
                wrong = ""
            except Exception as bug:  # noqa: BLE001 - as the cohort does: the member is parked with the reason
                wrong = f"{type(bug).__name__}: {bug}"
                self.state, commands = park(before, f"internal: {wrong}"[:180], at)
            for command in commands:
                if command.kind != "record":
                    answer = answers.to(command, self.state, max(at, command.at))
                    if answer.outcome is not None and answer.at <= life.now:
                        self._push(max(answer.at, at), 1, answer)
            wake = self.state.wake
            if self.state.status == "waiting" and wake is not None and wake != before.wake and wake <= life.now:
                self._push(wake, 2, Wake())
            yield self._told(at, what, given, before, commands, wrong)

    def _push(self, at: datetime, rank: int, what: Any) -> None:
        heapq.heappush(self.coming, (at, rank, next(self.order), what))

    def _told(
        self, at: datetime, what: Any, given: Given, before: State, commands: tuple[Command, ...], wrong: str
    ) -> Transition:
        if isinstance(what, Answer):
            words = "; ".join(w for w in (what.words, wrong) if w)
            return Transition(at, _outcome(self.life.plan, given), given, before, self.state, commands, what.basis, words)
        if isinstance(what, Wake):
            return Transition(at, "the time came", given, before, self.state, commands, "follows", wrong)
        words = what.row.note or wrong
        if what.given.seq in self.begun:
            words = "nobody's act: it went on as the move before asked"
        elif what.row.kind == "retry" and before.status != "parked":
            words = "a person retried it here; where it was parked isn't kept"
        return Transition(at, _input(what), given, before, self.state, commands, "recorded", words)


SHOWN = 5
"""Keys that are named, at the most."""


def _differences(life: Life, state: State, delivered: Set[str]) -> Iterator[str]:
    """Where the replay ends otherwise than the enrollment stands, and the messages (by key) that it never `delivered`."""
    row = life.row
    if not life.inputs or life.moved:
        return
    status = "live" if state.status in ("running", "waiting") else state.status
    if status != row.status:
        yield f"it is {row.status}{_because(row.reason)}, and the replay ends {status}{_because(state.reason)}"
    elif status == "ended" and state.reason != row.reason:
        yield f"it ended: {row.reason}, and the replay: {state.reason}"
    elif status == "live" and state.status == "waiting" and row.step not in (None, step_of(life.plan, state.op)):
        yield f"it stands at {row.step}, and the replay at {step_of(life.plan, state.op)}"
    left = sorted(life.messages.keys() - delivered)
    if left:
        yield f"the replay never comes to {', '.join(left[:SHOWN])}{' …' if len(left) > SHOWN else ''}"


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


def step_of(plan: Plan, op: int) -> str:
    """The step at an operation; its number where it has none, "the end" behind the last."""
    return plan.step_at(op) or (f"#{op}" if op < len(plan.ops) else "the end")


def place(plan: Plan, state: State) -> str:
    """Where a state stands, in words."""
    if state.at is None:
        return "before its beginning"
    if state.status == "ended":
        return f"ended: {state.reason}"
    at = step_of(plan, state.op) + (f" (round {state.visit + 1})" if state.visit else "")
    return f"parked at {at}: {state.reason}" if state.status == "parked" else f"{at}, {state.status}"


def asked(plan: Plan, command: Command) -> str:
    """What a command asks for, in words."""
    if command.kind == "record":
        return f"record: {command.status} ({command.reason})"
    channel = f" by {command.channel}" if command.channel else ""
    return f"{command.kind} {step_of(plan, command.op)}{channel}{' (is it really over?)' if command.confirm else ''}"


def _input(recorded: Any) -> str:
    given = recorded.given
    if isinstance(given, Begin):
        return f"began with {recorded.name}"
    assert isinstance(given, Input)
    name = f" {recorded.name}" if recorded.name else ""
    return f"input {given.seq}: {given.kind}{name}{_because(given.reason)}"


def _outcome(plan: Plan, given: Given) -> str:
    assert isinstance(given, Outcome)
    step = step_of(plan, given.op)
    said = {
        "next": "done",
        "goto": f"goes on at {step_of(plan, given.choice)}",
        "sleep": "waits",
        "took": f"input {given.seq} was waited for",
        "timeout": "the wait is over",
        "again": "put off",
        "fallback": "tries the next channel",
        "exit": f"leaves ({given.reason})",
        "park": f"parked ({given.reason})",
    }[given.kind]
    return f"{step}: {said}"
