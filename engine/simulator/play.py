"""A project on a clock of its own: events go in, what would happen comes out, with nothing sent and nothing stored.

The interpreter, the gates, the rules of intake, conditions and rendering are the engine's own; here is the clock that moves them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from engine.authoring.project import Compiled
from engine.core.enrollment import Command, Wake
from engine.core.incoming import Incoming
from engine.core.logical import LogicalClock
from engine.delivery.channel import USUAL_ADDRESS
from engine.delivery.deployment import Deployment
from engine.simulator import answering, calendar, door, moving, sending
from engine.simulator.lasting import Lasting, is_void
from engine.simulator.memory import Enrollment
from engine.simulator.stage import (
    DAY,
    ELSEWHERE,
    FORGET,
    LOOK,
    OCCURRENCE,
    TURN,
    WAKE,
    Answer,
    Call,
    Calls,
    Due,
    Stage,
    all_is_well,
)
from engine.simulator.told import Told
from engine.simulator.warming import Begun, Warming

__all__ = ["Answer", "Begun", "Call", "Play", "Told"]


class Play:
    """One simulation, single-threaded: the same input always gives the same output.

    `journeys`: those that are deployed (None: all). `addresses`: channel → the customer attribute that holds the address ("":
    needs none). `calls`: what a `call` is answered. `tell` hears of everything, in order. `repeats`: whether events that come
    twice are noticed, at the price of remembering each. `warming`: channels whose sender is new."""

    def __init__(
        self,
        compiled: Compiled,
        *,
        journeys: Collection[str] | None = None,
        start: datetime,
        renders: bool = True,
        calls: Calls = all_is_well,
        tell: Callable[[Told], None],
        addresses: Mapping[str, str] | None = None,
        repeats: bool = False,
        warming: Mapping[str, Begun] | None = None,
    ) -> None:
        chosen = compiled.plans if journeys is None else {name: compiled.plans[name] for name in journeys}
        start = start.astimezone(UTC)
        deployment = Deployment.of(compiled, chosen)
        where = USUAL_ADDRESS if addresses is None else addresses
        clock = LogicalClock(1.0, start, start)
        self._stage = stage = Stage(deployment, where, renders, calls, tell, start, clock, Warming(dict(warming or {})))
        stage.accept = partial(door.accept, stage)
        stage.repeats = set() if repeats else None
        self._refused: list[tuple[Incoming, str]] = []
        self._lasting: Lasting | None = None
        calendar.begin(stage)

    @property
    def now(self) -> datetime:
        """The moment that has been reached."""
        return self._stage.now

    @property
    def refused(self) -> list[tuple[Incoming, str]]:
        """What wasn't taken in, with the reasons: the door would have put it into quarantine."""
        return self._refused

    def known(self, user: str, customer: int) -> None:
        """Let this user id be the customer of this number, which decides about holdouts and splits. ValueError where either is
        somebody's already."""
        memory = self._stage.memory
        if ("user_id", user) in memory.names or customer in memory.customers:
            raise ValueError(f"{user} or number {customer} is a customer already")
        memory.customer(customer)
        memory.name(customer, [("user_id", user)])

    def take(self, incoming: Iterable[Incoming]) -> None:
        """Let these come in, each at its `occurred_at` (None: now): what is due before happens first."""
        for one in incoming:
            at = self.now if one.occurred_at is None else one.occurred_at.astimezone(UTC)
            if at > self.now:
                self._pass(at)
                self._stage.now = at
            answer = self._stage.accept(one if one.occurred_at is None else replace(one, occurred_at=at))
            if answer.quarantined:
                self._refused.append((one, answer.quarantined))

    def run(self, until: datetime | None = None) -> None:
        """Let time pass until `until`, with what is due then; None: until nothing is to come but what comes again for ever. What
        comes again brings people in as long as something of what was to come at first still is."""
        stage = self._stage
        self._settle()
        self._lasting = Lasting(stage) if until is None else None
        while until is not None or self._ends():
            found = self._next()
            if found is None or (until is not None and found[0] > until):
                break
            self._do(found)
        if self._lasting is not None:
            self._lasting.give_back()
            self._lasting = None
        if until is not None and until > stage.now:
            stage.now = until.astimezone(UTC)

    def _pass(self, at: datetime) -> None:
        """Everything that is due before `at`."""
        self._settle()
        while (found := self._next()) is not None and found[0] < at:
            self._do(found)

    def _next(self) -> Due | None:
        due, recurring = self._stage.due, self._stage.recurring
        if self._lasting is not None:
            self._lasting.set_aside()
        if due and recurring:
            return min(due[0], recurring[0])
        return due[0] if due else recurring[0] if recurring else None

    def _ends(self) -> bool:
        """Whether something is to come that doesn't come again for ever; what nobody waits for any more is forgotten."""
        due = self._stage.due
        while due and is_void(due[0]):
            heapq.heappop(due)
        return bool(due)

    def _do(self, found: Due) -> None:
        """What is due, and everything else that is due at the same moment, before anything is decided."""
        stage = self._stage
        stage.now = max(stage.now, found[0])
        while (one := self._next()) is not None and one[0] <= stage.now:
            heapq.heappop(stage.due if stage.due and stage.due[0] is one else stage.recurring)
            self._happens(one)
        self._settle()

    def _happens(self, one: Due) -> None:
        stage, (_, _, kind, about) = self._stage, one
        if kind == WAKE:
            if not is_void(one):
                stage.give(about, Wake())
        elif kind == ELSEWHERE:
            moving.time_passed(stage, about)
        elif kind == FORGET:
            answering.forget(about.customer, about)
        elif kind == DAY:
            calendar.comes(stage, *about)
        elif kind == OCCURRENCE:
            calendar.occurs(stage, *about)
        elif kind == TURN:
            calendar.takes_turn(stage, about)
        elif kind == LOOK:
            moving.look(stage, about)

    def _settle(self) -> None:
        """Do what is asked for, until nobody asks any more. Messages are decided last, the highest tiers first."""
        stage = self._stage
        while stage.pending or stage.sends:
            if stage.pending:
                self._perform(*stage.pending.popleft())
            else:
                sends, stage.sends = stage.sends, []
                for enrollment, command in sorted(sends, key=lambda s: sending.place(stage, *s)):
                    if enrollment.state.status != "ended":
                        stage.give(enrollment, sending.deliver(stage, enrollment, command))

    def _perform(self, enrollment: Enrollment, command: Command) -> None:
        stage = self._stage
        if command.kind == "record":
            answering.record(stage, enrollment, command)
        elif enrollment.state.status == "ended":
            return
        elif command.kind == "deliver":
            stage.sends.append((enrollment, command))
        elif command.kind == "act":
            stage.give(enrollment, answering.act(stage, enrollment, command))
        else:
            stage.give(enrollment, answering.evaluate(stage, enrollment, command))
            moving.watch(stage, enrollment)
