"""One enrollment under test: says what happens to it, keeps what it asks for. Drives the real `advance`, nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from engine.core.clock import Duration
from engine.core.enrollment import Begin, Command, Given, Input, Outcome, State, Wake
from engine.core.interpreter import advance
from engine.core.plan import Alternative, Moment, Op, Plan, Wait, WaitFor

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
A_DAY = Moment(after=Duration(days=1))


def after(**parts: int) -> datetime:
    """NOON plus a timedelta's `parts`."""
    return NOON + timedelta(**parts)


def plan_of(*ops: Op) -> Plan:
    """A plan of just these operations."""
    return Plan("j", "lifecycle", ops, ())


def wait(step: str = "w", skip_to: int = -1) -> Wait:
    """A wait whose length only an outcome tells."""
    return Wait(step, A_DAY, skip_to=skip_to)


def wait_for(*targets: int, on_timeout: int, step: str = "f", **more: object) -> WaitFor:
    """A wait_for with one alternative per target."""
    alternatives = tuple(Alternative(target, event="e") for target in targets)
    return WaitFor(step, alternatives, A_DAY, on_timeout, **more)  # type: ignore[arg-type] # the fields of WaitFor, by name


class Passage:
    """`state` and `asked` (the commands of the last step) after each thing that happened."""

    def __init__(self, *ops: Op) -> None:
        self.plan = plan_of(*ops)
        self.state = State()
        self.asked: tuple[Command, ...] = ()
        self.now = NOON

    def give(self, given: Given, now: datetime | None = None) -> Passage:
        """Hand `given` over at `now` (where it is left out: when it was last)."""
        self.now = now or self.now
        self.state, self.asked = advance(self.plan, self.state, given, self.now)
        return self

    def begin(self, at: datetime = NOON) -> Passage:
        """It starts."""
        return self.give(Begin(1, at))

    def answer(self, kind: str, **more: object) -> Passage:
        """The command in flight has this outcome."""
        state = self.state
        return self.give(Outcome(kind, state.op, state.visit, state.attempt, **more))  # type: ignore[arg-type] # by name

    def event(self, seq: int, at: datetime, *matched: tuple[int, int]) -> Passage:
        """An event that occurred `at` and satisfies `matched`."""
        return self.give(Input(seq, at, "event", matched))

    def wake(self, now: datetime) -> Passage:
        """The clock strikes `now`."""
        return self.give(Wake(), now)

    @property
    def ask(self) -> Command:
        """The one command of the last step."""
        (command,) = self.asked
        return command
