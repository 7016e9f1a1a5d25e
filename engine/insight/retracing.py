"""One enrollment again, step by step: the recorded inputs and outcomes go through the very core that moved it.

Pure but for what `Life` holds; the time is that of the record. Where the record doesn't suffice each step says so
(`answering.Basis`), and at the end the replay is held against the row of the enrollment. Where it was moved, so is where it stood
then, and it goes on with what `core.moving` makes of that.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from typing import Any

from engine.core.compact import EPOCH, encode_command, encode_state
from engine.core.enrollment import Command, Given, State, Wake
from engine.core.interpreter import advance, key, park, reissue
from engine.core.moving import as_before, behind, carried, without_moves
from engine.core.plan import Plan
from engine.core.wire import Json
from engine.insight.answering import Answer, Answers
from engine.insight.inputs import begun
from engine.insight.lived import Life, Moved, Recorded
from engine.insight.stretches import Stretch, stretches
from engine.insight.transitions import Transition, asked, because, input_told, outcome_told, place, step_of
from engine.store.relay import DONE, UNDONE


@dataclass(frozen=True, slots=True)
class Retraced:
    """A whole life, replayed. `differs`: in what a move or the end isn't what is recorded, in words; nothing: it is the same.
    `missing`: what is known to be gone · `compared`: whether it was followed to the end, and held against that."""

    life: Life
    transitions: tuple[Transition, ...]
    state: State
    differs: tuple[str, ...]
    missing: tuple[str, ...]
    compared: bool = True

    @property
    def exact(self) -> bool:
        """Whether each step rests on the record or follows from the plan."""
        return not self.differs and self.compared and all(t.basis in ("recorded", "follows") for t in self.transitions)

    def to_json(self) -> dict[str, Json]:
        """For machines."""
        return {
            "enrollment": self.life.id,
            "journey": self.life.plan.journey,
            "plan": self.life.plan.hash,
            "steps": [
                {
                    "at": t.at.isoformat(),
                    "what": t.what,
                    "before": t.way[0],
                    "after": t.way[1],
                    "plan": t.plan.hash,
                    "state": encode_state(t.after),
                    "commands": [encode_command(c) for c in t.commands],
                    "asked": [asked(t.plan, c) for c in t.commands],
                    "basis": t.basis,
                    "words": t.words,
                }
                for t in self.transitions
            ],
            "exact": self.exact,
            "compared": self.compared,
            "differs": list(self.differs),
            "missing": list(self.missing),
        }


def retrace(life: Life) -> Retraced:
    """Replay `life` up to the moment it was read."""
    run = _Run(life)
    steps = tuple(run.steps())
    delivered = {key(life.id, step.plan, c) for step in steps for c in step.commands if c.kind == "deliver"}
    compared = not (life.untold or run.lost)
    differs = (*run.astray, *(_differences(life, run, delivered) if compared else ()))
    return Retraced(life, steps, run.state, differs, (*life.missing, *run.taken), compared)


def _given(what: Any) -> Given:
    """What goes into the core, of what was on the heap."""
    if isinstance(what, Answer):
        assert what.outcome is not None
        return what.outcome
    given: Given = what if isinstance(what, Wake) else what.given
    return given


@dataclass(slots=True)
class _Run:
    """The heap of what comes: (when, inputs before answers before wakes, order, what). `read`: how many decisions of each message
    have been answered with · `done_to`: the input up to which moves are over · `astray`: where it wasn't let go as recorded ·
    `lost`: nothing tells where it went on · `taken`: what of that an erasure has taken."""

    life: Life
    state: State = field(default_factory=State)
    now: datetime = EPOCH
    coming: list[tuple[datetime, int, int, Any]] = field(default_factory=list)
    order: Iterator[int] = field(default_factory=count)
    read: dict[str, int] = field(default_factory=dict)
    begun: Set[int] = frozenset()
    done_to: int = 0
    astray: list[str] = field(default_factory=list)
    lost: bool = False
    taken: list[str] = field(default_factory=list)

    def steps(self) -> Iterator[Transition]:
        """Stretch by stretch, with the moves between."""
        told = {moved.seq for moved in self.life.moved}
        self.begun = begun([recorded.row for recorded in self.life.inputs]).keys() if self.life.untold else told
        issued: tuple[Command, ...] = ()
        for stretch in stretches(self.life):
            answers = Answers(stretch.life, self.read, stretch.earlier)
            self._feed(stretch)
            self._ask(answers, issued, self.now)
            yield from self._lived(stretch, answers)
            if stretch.moved is None:
                return
            going = self._handed_over(stretch.life, stretch.moved)
            if going is None:
                return
            issued = going.commands
            yield going

    def _feed(self, stretch: Stretch) -> None:
        """What reached it in this stretch, and what had reached it before and wasn't seen. A wait may find an event in the store
        that its cohort hears of later."""
        left = None if stretch.moved is None else stretch.moved.state
        self.coming.clear()
        for recorded in stretch.life.inputs:
            row, seq = recorded.row, recorded.given.seq
            over = row.note == UNDONE or (row.kind == "move" and row.note == DONE and seq <= self.done_to)
            if not over and seq > self.state.seq and (left is None or seq <= left.seq or seq in left.taken):
                self._push(max(recorded.came, self.now), 0, recorded)
        if self.state.status == "waiting" and self.state.wake is not None:
            self._push(self.state.wake, 2, Wake())

    def _lived(self, stretch: Stretch, answers: Answers) -> Iterator[Transition]:
        life, moved = stretch.life, stretch.moved
        while self.coming:
            due, rank, number, what = heapq.heappop(self.coming)
            if isinstance(what, Wake) and (self.state.wake != due or self.state.status != "waiting" or due > life.now):
                continue
            at = max(self.now, due)  # a wait may be over before anybody came to it
            given, before = _given(what), self.state
            after, commands, wrong = self._through(life, what, given, at)
            if moved is not None and _there(moved, before) and not _there(moved, after):  # it was let go before that
                heapq.heappush(self.coming, (due, rank, number, what))
                break
            self.now, self.state = at, after
            if moved is not None and self._just_there(life, moved, commands):
                yield self._told(life.plan, at, what, given, before, (), wrong)
                break
            self._ask(answers, commands, at)
            wake = self.state.wake
            if self.state.status == "waiting" and wake is not None and wake != before.wake:
                self._push(wake, 2, Wake())
            yield self._told(life.plan, at, what, given, before, commands, wrong)
        for _, _, _, what in sorted(self.coming):
            if moved is not None and isinstance(what, Recorded):
                yield self._told(life.plan, max(self.now, what.came), what, what.given, self.state, (), "")

    def _through(self, life: Life, what: Any, given: Given, at: datetime) -> tuple[State, tuple[Command, ...], str]:
        """The state after `given`, what it asks for, and what went wrong. A move waits in the state until its cohort lets it go,
        and when that was is recorded: it changes nothing else."""
        if isinstance(what, Recorded) and what.row.kind == "move":
            return replace(self.state, seq=max(self.state.seq, what.given.seq)), (), ""
        try:
            return *advance(life.plan, self.state, given, at), ""
        except Exception as bug:  # noqa: BLE001 - as the cohort does: the member is parked with the reason
            wrong = f"{type(bug).__name__}: {bug}"
            return *park(self.state, f"internal: {wrong}"[:180], at), wrong

    def _just_there(self, life: Life, moved: Moved, commands: tuple[Command, ...]) -> bool:
        """Whether it has just come to where it was let go with a command that nobody has been given."""
        if not commands or moved.state is None or moved.state.status != "running" or not _there(moved, self.state):
            return False
        decided = [name for c in commands if (name := key(life.id, life.plan, c)) in life.decisions]
        return not any(self.read.get(name, 0) < len(life.decisions[name]) for name in decided)

    def _ask(self, answers: Answers, commands: tuple[Command, ...], at: datetime) -> None:
        for command in commands:
            if command.kind != "record":
                answer = answers.to(command, self.state, max(at, command.at))
                if answer.outcome is not None and answer.at <= answers.life.now:
                    self._push(max(answer.at, at), 1, answer)

    def _handed_over(self, life: Life, moved: Moved) -> Transition | None:
        """It goes on from where it is recorded to have been let go, which the replay should have come to; None where nothing
        tells where."""
        stood, left = self.state, moved.state or replace(self.state, seq=max(self.state.seq, moved.move.seq))
        if _standing(stood) != _standing(left):
            where = f"{place(moved.old, left)}, and the replay at {place(moved.old, stood)}"
            self.astray.append(f"at move {moved.move.seq} it stood at {where}")
        for name, decisions in life.decisions.items():
            self.read[name] = max(self.read.get(name, 0), len(decisions))
        self.now, self.done_to = max(self.now, moved.at), moved.done_to
        words = ""
        if moved.first is not None and any(here == left.op for here, _ in moved.first.matched):
            left = carried(moved.old, moved.old, left, moved.first).state
            words = f"reset to {step_of(moved.old, left.op)}, and from there "
        if not moved.followed:
            self.state, words = as_before(left), "went on as before"
        elif all(here != left.op for here, _ in moved.move.matched):
            self.lost = True
            if moved.state is None:
                self.taken.append(f"where it stood at move {moved.move.seq} was erased: a replay doesn't follow it from there")
            else:
                self.astray.append(f"move {moved.move.seq} says nothing of {place(moved.old, left)}")
            return None
        else:
            there = carried(moved.old, moved.new, left, moved.move)
            self.state = without_moves((behind(moved.new, there) if moved.behind else there).state)
            step = step_of(moved.new, self.state.op)
            other = moved.old.hash != moved.new.hash
            words += f"moved to plan {moved.new.hash} at {step}" if other else f"reset to {step}"
        again = reissue(moved.new, self.state, self.now)
        commands = () if again is None else (again,)
        return Transition(self.now, words, moved.move, stood, self.state, commands, "recorded", moved.new, _why(moved), moved.old)

    def _push(self, at: datetime, rank: int, what: Any) -> None:
        heapq.heappush(self.coming, (at, rank, next(self.order), what))

    def _told(
        self, plan: Plan, at: datetime, what: Any, given: Given, before: State, commands: tuple[Command, ...], wrong: str
    ) -> Transition:
        after = self.state
        if isinstance(what, Answer):
            words = "; ".join(w for w in (what.words, wrong) if w)
            return Transition(at, outcome_told(plan, given), given, before, after, commands, what.basis, plan, words)
        if isinstance(what, Wake):
            return Transition(at, "the time came", given, before, after, commands, "follows", plan, wrong)
        words = what.row.note or wrong
        if what.given.seq in self.begun:
            words = "nobody's act: it went on as the move before asked"
        elif what.row.kind == "retry" and before.status != "parked":
            words = "a person retried it here; where it was parked isn't kept"
        return Transition(at, input_told(what), given, before, after, commands, "recorded", plan, words)


def _there(moved: Moved, state: State) -> bool:
    """Whether a state stands where it was let go: no place comes twice."""
    left = moved.state
    return left is not None and state.at is not None and _place(state) == _place(left) and state.status != "ended"


def _place(state: State) -> tuple[int, int, int]:
    return state.op, state.visit, state.attempt


def _standing(state: State) -> tuple[Any, ...]:
    """What of a state a move has to find as it is recorded. Inputs that were held, and whether a command was under way, depend on
    how fast a worker was."""
    return *_place(state), state.event, state.taken, state.loops, state.status == "parked"


def _why(moved: Moved) -> str:
    if not moved.followed:
        return "a later deploy had taken that plan back, or a later move says nothing of this step"
    return "behind a message that may have arrived" if moved.behind else ""


SHOWN = 5
"""Keys that are named, at the most."""


def _differences(life: Life, run: _Run, delivered: Set[str]) -> Iterator[str]:
    """Where the replay ends otherwise than the enrollment stands, and the messages (by key) that it never `delivered`."""
    row, state = life.row, run.state
    if not life.inputs:
        return
    status = "live" if state.status in ("running", "waiting") else state.status
    if status != row.status:
        yield f"it is {row.status}{because(row.reason)}, and the replay ends {status}{because(state.reason)}"
    elif status == "ended" and state.reason != row.reason:
        yield f"it ended: {row.reason}, and the replay: {state.reason}"
    elif status == "live" and state.status == "waiting" and row.step not in (None, step_of(life.plan, state.op)):
        yield f"it stands at {row.step}, and the replay at {step_of(life.plan, state.op)}"
    left = sorted(life.messages.keys() - delivered)
    if left:
        yield f"the replay never comes to {', '.join(left[:SHOWN])}{' …' if len(left) > SHOWN else ''}"
