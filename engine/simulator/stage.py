"""What a simulation has in hand at one moment: the deployment, everybody, what is due and what has been asked for.

Time is the heap's: `now` is the moment of what happens, and nothing here reads a clock.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

from engine.core.enrollment import Command, Given, Input, Outcome, State
from engine.core.incoming import Accepted, Incoming
from engine.core.interpreter import advance
from engine.core.logical import LogicalClock
from engine.core.plan import Plan, WaitFor
from engine.core.wire import Json
from engine.delivery.deployment import Deployment, Needs
from engine.delivery.deployments import reads_last_send
from engine.delivery.people import People
from engine.intake.awaiting import Steps, by_time
from engine.simulator.memory import Customer, Enrollment, Memory
from engine.simulator.recalling import Recall
from engine.simulator.told import TIMEOUT, Kind, Told
from engine.simulator.warming import Warming


@dataclass(frozen=True, slots=True)
class Call:
    """A `call` that a journey makes. `key`: its idempotency key."""

    customer: int
    user: str
    journey: str
    enrollment: int
    step: str
    key: str
    method: str
    url: str
    json: Json = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a `call` gets: 2xx with a `body`, or another status."""

    status: int = 200
    body: Json = None


Calls = Callable[[Call], Answer]


def all_is_well(call: Call) -> Answer:
    """Every call is answered with 200 and nothing."""
    return Answer()


WAKE, FORGET, ELSEWHERE, DAY, OCCURRENCE, TURN, LOOK = range(7)
"""What may be due: an enrollment's wake · a goal that can't be reached any more · a customer whom time may move into another
segment or stage · a date of a customer's · an occurrence of a schedule · somebody's turn in it · a look at what `now` decides."""

Due = tuple[datetime, int, int, Any]
"""When, in which order, which of the kinds, and whom it is about."""


@dataclass(slots=True)
class Stage:
    """`accept`: the door, which the acts of journeys use too. `due` ends; `recurring` never does. `sends` wait until everything
    else of this moment is done, so that all that is registered by then counts. `repeats`: (source, message id) of what came, None
    where that isn't looked at."""

    deployment: Deployment
    addresses: Mapping[str, str]
    renders: bool
    calls: Calls
    tell: Callable[[Told], None]
    now: datetime
    clock: LogicalClock
    warming: Warming
    accept: Callable[[Incoming], Accepted] = field(init=False)
    memory: Memory = field(default_factory=Memory)
    due: list[Due] = field(default_factory=list)
    recurring: list[Due] = field(default_factory=list)
    pending: deque[tuple[Enrollment, Command]] = field(default_factory=deque)
    sends: list[tuple[Enrollment, Command]] = field(default_factory=list)
    order: count[int] = field(default_factory=count)
    numbers: count[int] = field(default_factory=lambda: count(1))
    events: count[int] = field(default_factory=lambda: count(1))
    plans: dict[str, Plan] = field(default_factory=dict)
    recall: Recall = field(init=False)
    repeats: set[tuple[str, str]] | None = None
    _by_time: dict[str, Steps] = field(default_factory=dict)
    _watched: frozenset[str] = frozenset()
    _last_send: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.recall = Recall.of(self.deployment)
        self.plans = {plan.hash: plan for plan in self.deployment.plans.values()}
        self._watched = frozenset(name for plan in self.plans.values() for name in plan.events())
        self._last_send = frozenset(plan.hash for plan in self.plans.values() if reads_last_send(plan))

    def looked_for(self, plan: Plan) -> Steps:
        """What of this plan time alone can make true, where no move between segments tells of it."""
        found = self._by_time.get(plan.hash)
        if found is None:
            every = by_time(self.deployment, plan)
            kept = {at: [w for w in those if w.segment is None] for at, those in every.items()}
            found = self._by_time[plan.hash] = {at: those for at, those in kept.items() if those}
        return found

    def is_repeat(self, incoming: Incoming) -> bool:
        """Whether the same source has sent the same before, where that is looked at."""
        if self.repeats is None:
            return False
        name = (incoming.source, incoming.message_id)
        if name in self.repeats:
            return True
        self.repeats.add(name)
        return False

    def cares(self, event: str) -> bool:
        """Whether any plan looks at an event of this name."""
        return event in self._watched

    def reads_last_send(self, plan: Plan) -> bool:
        """Whether the plan asks what became of its last message."""
        return plan.hash in self._last_send

    def people(self, needs: Needs, at: datetime | None = None) -> People:
        """What conditions may know of everybody now, or would `at` a moment to come if nothing happened until then."""
        memory = self.memory
        return People(self.deployment, needs, at or self.now, memory.happened, memory.kept)

    def later(self, at: datetime, kind: int, about: Any, *, ends: bool = True) -> None:
        """Something will be due."""
        heapq.heappush(self.due if ends else self.recurring, (at, next(self.order), kind, about))

    def give(self, enrollment: Enrollment, given: Given) -> None:
        """One step of one enrollment."""
        before = enrollment.state
        after, commands = advance(enrollment.plan, before, given, self.now)
        enrollment.state = after
        self._tell_way(enrollment, before, after, given)
        self.pending.extend((enrollment, command) for command in commands)
        if after.wake is not None and after.status == "waiting" and (after.wake != before.wake or before.status != "waiting"):
            self.later(after.wake, WAKE, enrollment)

    def _tell_way(self, enrollment: Enrollment, before: State, after: State, given: Given) -> None:
        """By which alternative a wait for something has ended, if it has."""
        if before.op >= len(enrollment.plan.ops):
            return
        op = enrollment.plan.ops[before.op]
        if not isinstance(op, WaitFor):
            return
        about = {"op": before.op, "step": op.step}
        if isinstance(given, Outcome) and given.kind == "took":
            self.say("branch", enrollment, **about, choice=str(given.choice))
        elif after.taken != before.taken:  # an input that has just come, or was held
            matched = next(seen.matched for seen in enrollment.inputs if seen.seq == after.taken[-1])
            self.say("branch", enrollment, **about, choice=str(min(n for at, n in matched if at == before.op)))
        elif isinstance(given, Outcome) and given.kind == "timeout":
            self.say("branch", enrollment, **about, choice=TIMEOUT)

    def again(self, enrollment: Enrollment) -> None:
        """Have a message that waits decided now."""
        enrollment.seq += 1
        self.give(enrollment, Input(enrollment.seq, self.now, "again"))

    def wake_deferred(self, customer: Customer, tiers: tuple[str, ...] | None) -> None:
        """Have the customer's messages of these tiers (None: all) that the gates deferred decided afresh."""
        for enrollment in list(customer.stays.values()):
            if enrollment.deferred is not None and (tiers is None or enrollment.deferred["tier"] in tiers):
                self.again(enrollment)

    def say(self, kind: Kind, about: Enrollment, **known: Any) -> None:
        """Tell of something that happens to an enrollment."""
        customer = about.customer
        known.setdefault("at", self.now)
        self.tell(Told(kind=kind, customer=customer.id, user=customer.user, journey=about.journey, enrollment=about.id, **known))


def step_of(plan: Plan, op: int) -> str:
    """The step of an operation; "" where it has none, or behind the last."""
    return plan.step_at(op) or ""
