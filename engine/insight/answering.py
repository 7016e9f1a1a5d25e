"""Answers to what a replayed enrollment asks for: what is recorded; where that is silent, worked out again and said to be so.

recorded    a decision, a message, a task, an input or an event of its own says it
follows     the plan alone says it: durations, splits, steps without a condition
recomputed  a condition or a moment from data, asked of what is known of the customer today
assumed     nothing is recorded of it, and nothing can be asked: an act that leaves no trace
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Literal

from engine.authoring.expressions import ExpressionError
from engine.core.compact import decode_state
from engine.core.enrollment import Command, Outcome, State
from engine.core.interpreter import key
from engine.core.plan import Act, Branch, Exit, Loop, Moment, Op, Send, Split, Wait, WaitFor
from engine.core.upcoming import over
from engine.delivery.evaluate import Question
from engine.delivery.rulings import elsewhere
from engine.insight.evidence import ahead, spoken_for, straight, ways
from engine.insight.lived import Life
from engine.insight.stretches import fields_of
from engine.store.relay import UNDONE

Basis = Literal["recorded", "follows", "recomputed", "assumed"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An outcome, when it came, and on what it rests; `words` say what the record has of it. `outcome` None: it never came."""

    outcome: Outcome | None
    at: datetime
    basis: Basis
    words: str = ""


@dataclass(slots=True)
class Answers:
    """The answers of one stretch of a life. `read`: key → how many of its decisions have been answered with · `earlier`: keys of
    messages that were decided before the stretch began."""

    life: Life
    read: dict[str, int] = field(default_factory=dict)
    earlier: Set[str] = frozenset()

    def to(self, command: Command, state: State, at: datetime) -> Answer:
        """The answer to a command that is asked `at`."""
        op = self.life.plan.ops[command.op]
        parking = self._parking(command, state)
        if isinstance(op, Send):
            return self._deliver(op, command, at, parking)
        answer = self._act(op, command, at) if isinstance(op, Act) else self._evaluate(op, command, state, at)
        until = answer.outcome.until if answer.outcome is not None and answer.outcome.kind == "sleep" else None
        if parking is None or (until is not None and until <= parking.at):
            return answer
        return _parked(command, parking)

    def _parking(self, command: Command, state: State) -> Any:
        """What it was parked for with this command, None where it wasn't: of the parkings there, the first that nothing which the
        state has seen has ended."""
        ends = [r.given.seq for r in self.life.inputs if r.row.kind in ("retry", "skip")]
        there = (command.op, command.visit, command.attempt)
        for one in self.life.parkings:
            if there == (one.op, one.visit, one.attempt) and not any(one.seq < seq <= state.seq for seq in ends):
                return one
        return None

    # Messages

    def _deliver(self, op: Send, command: Command, at: datetime, parking: Any) -> Answer:
        name = key(self.life.id, self.life.plan, command)
        decisions, message = self.life.decisions.get(name, ()), self.life.messages.get(name)
        number = self.read.get(name, 0)
        if number < len(decisions) and (parking is None or decisions[number].at <= parking.at):
            self.read[name] = number + 1
            following = decisions[number + 1 : number + 2]
            last = parking is not None and not (following and following[0].at <= parking.at)
            if decisions[number].decision != "allow" or not last:
                return self._decided(op, command, decisions[number], following, message)
        if parking is not None:
            return _parked(command, parking)
        if message is not None:
            return self._settled(op, command, message, max(at, message.decided_at))
        return self._undecided(op, command, at)

    def _decided(self, op: Send, command: Command, d: Any, following: Any, message: Any) -> Answer:
        words = f"{d.decision}{f': {d.reason}' if d.reason else ''}{f' ({d.rule})' if d.rule else ''}"
        if d.decision == "defer" and op.on_defer == "wait":
            return Answer(_out(command, "again", until=d.until), d.at, "recorded", words)
        if d.decision == "defer":
            kind = "exit" if op.on_defer == "exit" else "next"
            return Answer(_out(command, kind, reason="deferred" if kind == "exit" else ""), d.at, "recorded", words)
        if d.decision == "drop":
            other = command.attempt + 1 < len(op.channels) and elsewhere(d.reason, d.rule)
            return Answer(_out(command, "fallback" if other else "next"), d.at, "recorded", words)
        if not following:
            return self._settled(op, command, message, d.at)
        then = following[0].at
        if self._retried(d.at, then):
            return Answer(_out(command, "park", reason="it failed, and was retried later"), d.at, "recorded", words)
        until = max(then, d.at)
        return Answer(_out(command, "again", until=until), d.at, "recorded", f"{words}, put off by the provider")

    def _settled(self, op: Send, command: Command, m: Any, at: datetime) -> Answer:
        """What the ledger has of a message that was handed over, or of whose decisions nothing is left."""
        words = f"{m.status}{f': {m.reason}' if m.reason else ''}"
        outcome: Outcome | None
        if m.status in ("sent", "unknown"):
            at = m.sent_at or at
            outcome = _out(command, "next", at=at)
        elif m.status == "refused":
            another = command.attempt + 1 < len(op.channels)
            other = another and (m.reason != "refused" or self.life.plan.awaits_delivery(command.op))
            outcome = _out(command, "fallback" if other else "next", at=at)
        elif m.status == "parked":
            outcome = _out(command, "park", reason=m.detail or m.reason or "it failed")
        elif m.status in ("deferred", "reserved") and m.until is not None:
            outcome = _out(command, "again", until=m.until)
        elif m.status == "dropped" and m.reason != "live":
            other = command.attempt + 1 < len(op.channels) and elsewhere(m.reason, "")
            outcome = _out(command, "fallback" if other else "next")
        else:  # it ended meanwhile, or is on its way
            outcome = None
        return Answer(outcome, at, "recorded", words)

    def _undecided(self, op: Send, command: Command, at: datetime) -> Answer:
        """A send of which nothing is recorded: left out by its condition, or never come to."""
        if self._went_on(command, at) or self.ended_by_plan:
            if op.condition is not None and not self.life.pruned:
                return Answer(_out(command, "next"), at, "recorded", "left out: its condition didn't hold")
            return Answer(_out(command, "next"), at, "assumed", "nothing is recorded of it, and later steps are")
        if op.condition is not None and self._holds(op.condition, command) is False:
            return Answer(_out(command, "next"), at, "recomputed", "left out: its condition doesn't hold")
        return Answer(None, at, "recorded", "not decided")

    # Acts

    def _act(self, op: Act, command: Command, at: datetime) -> Answer:
        life = self.life
        name = key(life.id, life.plan, command)
        if name in life.traces:
            return Answer(_out(command, "next"), at, "recorded", f"{op.verb} done")
        failed = op.verb == "call" and life.row.reason == "call_failed" and life.row.ended_at is not None
        if failed and not self._went_on(command, at):
            return Answer(_out(command, "exit", reason="call_failed"), max(at, life.row.ended_at), "recorded")
        if op.verb != "call":  # whatever it did or left undone, it goes on at once
            return Answer(_out(command, "next"), at, "follows", f"no trace of the {op.verb} is kept")
        return Answer(_out(command, "next"), at, "assumed", "call: what came of it isn't kept")

    # Conditions and moments

    def _evaluate(self, op: Op, command: Command, state: State, at: datetime) -> Answer:
        worked = self._worked_out(op, command, state, at)
        if worked.outcome is not None and worked.outcome.kind == "took":
            return worked
        seen = self._stands(command, at) or (self._waited(op, command, at) if isinstance(op, Wait) else None)
        if seen is not None:
            return seen
        if isinstance(op, WaitFor) and (worked.basis == "follows" or command.confirm):
            return worked
        if isinstance(op, Exit):
            return self._left_by(op, command, at) or worked
        if isinstance(op, (Wait, WaitFor)):
            return worked
        choices = ways(self.life.plan, command.op)
        life = self.life
        way = spoken_for(life.plan, command.op, state.visit, life.id, life.traces, choices, command.at, not life.pruned)
        if way is None:
            return worked
        agreed = worked.outcome is not None and _leads(worked.outcome, command.op) == way
        words = "" if agreed or worked.basis != "recomputed" else "today's data would say otherwise"
        return Answer(_out(command, "goto", choice=way), at, "recorded", words)

    def _left_by(self, op: Exit, command: Command, at: datetime) -> Answer | None:
        """Whether an exit with a condition was taken: the enrollment's own reason tells, unless several exits share it."""
        if not self.ended_by_plan or self.life.row.reason != op.reason or self._went_on(command, at):
            return Answer(_out(command, "next"), at, "recorded")
        exits = [one for one in self.life.plan.ops if isinstance(one, Exit) and one.reason == op.reason]
        if len(exits) > 1 or any(isinstance(one, Loop) for one in self.life.plan.ops):
            return None
        return Answer(_out(command, "exit", reason=op.reason), at, "recorded")

    @property
    def ended_by_plan(self) -> bool:
        """Whether the enrollment came to its end along its plan, and nothing from outside ended it."""
        outside = (r.row for r in self.life.inputs if r.row.kind in ("exit", "stop") and r.row.note != UNDONE)
        return self.life.row.status == "ended" and not any(outside)

    def _stands(self, command: Command, at: datetime) -> Answer | None:
        """Until when the wait lasts in which the enrollment is recorded to stand."""
        row = self.life.row
        if row.state is None or row.wake_at is None or row.status != "live" or command.confirm:
            return None
        stood = decode_state(row.state)
        there = (stood.op, stood.visit, stood.event) == (command.op, command.visit, command.event)
        if not there or row.step != getattr(self.life.plan.ops[command.op], "step", None) or row.wake_at <= command.at:
            return None
        return Answer(_out(command, "sleep", until=row.wake_at), at, "recorded", "where it stands")

    def _waited(self, op: Wait, command: Command, at: datetime) -> Answer | None:
        """Until when a wait lasted, or that it was left out, where something behind it tells: a message is planned for the end of
        the wait before it, and whatever came before a wait would have been over was not waited for."""
        plan, life = self.life.plan, self.life
        after = straight(plan, command.op + 1)
        send = plan.ops[after] if command.op < after < len(plan.ops) else None
        name = f"{life.id}/{send.step}/{command.visit}/0" if isinstance(send, Send) else ""
        message = life.messages.get(name) if name not in self.earlier else None
        if isinstance(send, Send) and message is not None:
            if message.planned_at <= command.at:
                return Answer(_out(command, "next"), at, "recorded", "no wait")
            return Answer(over(op, command, message.planned_at), at, "recorded", f"until what {send.step} was planned for")
        if op.condition is None or _from_data(op.until):
            return None
        if f"{life.id}/{op.step}/{command.visit}/0" in life.traces:
            return self._worked_out(replace(op, condition=None), command, State(), at)
        end = self._question(op, command, State(), at).moment(op.until)
        came = [when for name, when in life.traces.items() if when >= command.at and self._behind(name, command)]
        if self.ended_by_plan and life.row.ended_at is not None:
            came.append(life.row.ended_at)
        if end is not None and any(when < end for when in came):
            return Answer(
                _out(command, "next"), at, "recorded", "left out: what comes behind it was done before it would be over"
            )
        return None

    def _behind(self, name: str, command: Command) -> bool:
        """Whether a key is of a step that lies behind the command's within this visit."""
        _, step, visit, _ = name.split("/")
        ops = self.life.plan.ops
        later = ahead(self.life.plan, command.op + 1)
        return int(visit) == command.visit and any(getattr(ops[at], "step", None) == step for at in later)

    def _worked_out(self, op: Op, command: Command, state: State, at: datetime) -> Answer:
        try:
            outcome = self._question(op, command, state, at).answer()
        except (ExpressionError, ValueError) as wrong:
            return Answer(_out(command, "park", reason=f"condition: {wrong}"[:180]), at, "recomputed", "can't be worked out")
        basis: Basis = "recorded" if outcome.kind == "took" else "recomputed" if _reads_data(op, command) else "follows"
        return Answer(outcome, at, basis)

    def _question(self, op: Op, command: Command, state: State, at: datetime) -> Question:
        """The question as the engine asks it, about `op` in the place of the command's operation."""
        life = self.life
        inputs = sorted((r.row for r in life.inputs if r.row.kind == "event" and r.came <= at), key=lambda row: (row.at, row.seq))
        row = self._context_row(command.event)
        plan = life.plan
        if plan.ops[command.op] is not op:
            plan = replace(plan, ops=(*plan.ops[: command.op], op, *plan.ops[command.op + 1 :]))
        return Question(life.deployment, plan, row, life.people.context(row, command.at), command, state, inputs)

    def _holds(self, condition: str, command: Command) -> bool | None:
        life = self.life
        try:
            return bool(
                life.deployment.expression(condition).test(life.people.context(self._context_row(command.event), command.at))
            )
        except (ExpressionError, ValueError):
            return None

    def _context_row(self, event: int) -> Any:
        """The enrollment's row as conditions see it, with the event that ended the last wait."""
        behind = next((r.row for r in self.life.inputs if event and r.row.seq == event), None)
        return SimpleNamespace(
            **fields_of(self.life.row),
            event=None if behind is None else behind.event,
            event_name=None if behind is None else behind.event_name,
            event_at=None if behind is None else behind.event_at,
        )

    def _went_on(self, command: Command, at: datetime) -> bool:
        """Whether anything later than this command is recorded under another key."""
        own = key(self.life.id, self.life.plan, command)
        return any(moment > at for name, moment in self.life.traces.items() if name != own)

    def _retried(self, after: datetime, before: datetime) -> bool:
        return any(r.row.kind == "retry" and after <= r.came <= before for r in self.life.inputs)


def _out(command: Command, kind: Any, **values: Any) -> Outcome:
    return Outcome(kind, command.op, command.visit, command.attempt, **values)


def _parked(command: Command, parking: Any) -> Answer:
    return Answer(_out(command, "park", reason=parking.reason), parking.at, "recorded")


def _leads(outcome: Outcome, op: int) -> int:
    return outcome.choice if outcome.kind == "goto" else op + 1


def _reads_data(op: Op, command: Command) -> bool:
    """Whether an evaluation of `op` reads what may be other today than it was."""
    if getattr(op, "condition", None) is not None and not command.confirm:
        return True
    match op:
        case Wait(until=until):
            return _from_data(until)
        case WaitFor(alternatives=alternatives, timeout=timeout):
            asks = any(a.segment is not None or a.condition is not None for a in alternatives)
            return (asks and not command.confirm) or _from_data(timeout)
        case Branch() | Exit():
            return True
        case Loop(until=loop_until):
            return loop_until is not None
        case Split():
            return False
    return False


def _from_data(moment: Moment) -> bool:
    return moment.expression is not None
