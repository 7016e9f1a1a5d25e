"""People who don't exist, and what they do: enough of everything that a project's journeys look at to see how they behave.

Made from tracking.yaml's types and from what conditions compare with. It shows whether branches are reached and what caps do to
messages, and says nothing about how many real customers do anything. Deterministic for a seed; nothing here reads a clock.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from engine.app.invented import Inventor
from engine.authoring.expressions import Context, compile_expression
from engine.authoring.model_segments import Did, walk
from engine.authoring.model_tracking import BUILTIN, native
from engine.authoring.project import Compiled
from engine.authoring.types import Type
from engine.core.clock import Duration
from engine.core.incoming import Incoming
from engine.core.plan import Plan, Wait, WaitFor
from engine.core.wire import Json
from engine.simulator.told import Told

SOURCE = "synthetic"

THERE = 0.5
"""The share of people who are known from the beginning; the others come evenly over the days."""
AGREES = 0.85
"""To messages on a channel."""
ENTERS, AGAIN = 0.6, 0.3
"""Does what a journey begins with (shared out over its entries), and does it once more."""
TROUBLE, OVER = 0.06, 0.8
"""Meets with what opens a hold, and of those: with what closes it."""
AWAITED, REACHES, LEAVES, ELSE = 0.45, 0.25, 0.08, 0.3
"""Of those who enter: does what is waited for, what the goal is, what ends it; and (of all) what segments ask for."""
FITS = 0.8
"""How often an event is made to fit the condition under which it counts, and how often that is tried."""
TRIES = 30

OPENS, CLICKS, COMPLETES = 0.4, 0.15, 0.6
"""What becomes of a message, and of a task."""
DID, PAST = 0.4, timedelta(days=200)
"""Did what segments ask for, and once more, in so long a past: where they were there from the beginning."""
SLICE = timedelta(hours=1)
"""Nobody answers faster."""

_BUILTIN = frozenset(one.name for one in BUILTIN)
_HOUR, _DAY = 3600.0, 86400.0


@dataclass(slots=True)
class Synthetic:
    """`customers` people over `days` from `start`. `journeys`: whose events they make (empty: all). `zone`: where most live."""

    compiled: Compiled
    customers: int
    days: int
    start: datetime
    zone: str
    seed: int = 0
    journeys: Collection[str] = ()
    _coming: list[tuple[datetime, int, Incoming]] = field(default_factory=list)
    _made: int = 0
    _invent: Inventor = field(init=False)
    _plans: list[Plan] = field(init=False)
    _watched: frozenset[str] = field(init=False)
    _chance: Random = field(init=False)

    def __post_init__(self) -> None:
        self._invent = Inventor(self.compiled, self.start, self.days, self.zone)
        wanted = [p for name, p in sorted(self.compiled.plans.items()) if not self.journeys or name in self.journeys]
        self._plans = [p for p in wanted if p.status == "live"]
        self._watched = frozenset(name for p in self._plans for name in p.events()) & _BUILTIN
        self._chance = Random(f"{self.seed}/answers")

    @property
    def end(self) -> datetime:
        """When the days are over."""
        return self.start + timedelta(days=self.days)

    def slices(self) -> Iterator[tuple[datetime, list[Incoming]]]:
        """Hour by hour: its end, and what happens in it, in order. What is answered meanwhile (`answer`) comes in later ones."""
        arrivals = sorted((self._arrival(number), number) for number in range(1, self.customers + 1))
        arrivals.reverse()
        moment = self.start
        while moment < self.end:
            moment = min(moment + SLICE, self.end)
            while arrivals and arrivals[-1][0] < moment:
                at, number = arrivals.pop()
                self._live(number, at)
            batch = []
            while self._coming and self._coming[0][0] < moment:
                batch.append(heapq.heappop(self._coming)[2])
            yield moment, batch

    def answer(self, told: Told) -> None:
        """What people do when they get a message or a task, where a journey looks at it."""
        if told.kind == "send":
            about = {name: getattr(told, name) for name in ("journey", "step", "template", "channel", "tier", "topic")}
            for event, share in (("message_delivered", 1.0), ("message_opened", OPENS), ("message_clicked", CLICKS)):
                if event in self._watched and self._chance.random() < share:
                    self._say(told.user, event, about, self._later(told.at, 2 * _DAY))
        elif told.kind == "task" and "task_completed" in self._watched and self._chance.random() < COMPLETES:
            about = {"journey": told.journey, "step": told.step, "queue": told.reason}
            self._say(told.user, "task_completed", about, self._later(told.at, 3 * _DAY))

    def _later(self, at: datetime, most: float) -> datetime:
        return at + timedelta(seconds=round(self._chance.uniform(SLICE.total_seconds(), most)))

    def _arrival(self, number: int) -> datetime:
        chance = Random(f"{self.seed}/arrival/{number}")
        return self.start + timedelta(seconds=0 if chance.random() < THERE else int(chance.random() * self.days * _DAY))

    def _live(self, number: int, at: datetime) -> None:
        """Everything that one person does."""
        chance = Random(f"{self.seed}/{number}")
        user = f"person-{number}"
        traits = self._invent.attributes(chance, number)
        self._add(Incoming("identify", SOURCE, f"{user}/who", traits=traits, identifiers={"user_id": user}, occurred_at=at))
        for channel in sorted({channel for p in self._plans for op in p.ops for channel in getattr(op, "channels", ())}):
            if chance.random() < AGREES:
                agreed = {"channel": channel, "state": "granted", "source": "signup", "confirmed": True}
                self._say(user, "consent_changed", agreed, at)
        if at == self.start:
            self._remember(chance, user)
        did: set[str] = set()
        for plan in self._plans:
            for entry in plan.entries:
                if entry.kind in ("event", "broadcast") and entry.event and entry.event not in did | _BUILTIN:
                    did.add(entry.event)
                    self._begin(chance, user, traits, plan, entry.event, entry.where, at)
                elif entry.kind == "api" and chance.random() < ENTERS:
                    self._enroll(user, plan.journey, self._between(chance, at))
        for rule in self.compiled.policy.holds:
            if rule.opens and rule.opens not in did and chance.random() < TROUBLE:
                opened = self._between(chance, at)
                about = self._invent.properties(chance, rule.opens, {}, self._unique())
                self._say(user, rule.opens, about, opened)
                for then, _, probable in self._closings(rule.opens):
                    if chance.random() < probable:
                        over = self._invent.properties(chance, then, about, self._unique())
                        self._say(user, then, over, self._between(chance, opened))
        for event in self._others():
            if event not in did and chance.random() < ELSE:
                self._say(user, event, self._invent.properties(chance, event, {}, self._unique()), self._between(chance, at))

    def _remember(self, chance: Random, user: str) -> None:
        """What segments and stages may know of somebody's past."""
        for event in self._others():
            while chance.random() < DID:
                moment = self.start - timedelta(seconds=chance.randrange(1, int(PAST.total_seconds())))
                self._say(user, event, self._invent.properties(chance, event, {}, self._unique()), moment)

    def _begin(
        self, chance: Random, user: str, traits: Mapping[str, Json], plan: Plan, event: str, where: str | None, at: datetime
    ) -> None:
        """What a journey begins with, perhaps again, and what may follow."""
        share = self._share(plan, event)
        while chance.random() < share:
            share *= AGAIN
            entered = self._between(chance, at)
            entry = self._fitting(chance, event, where, traits, {}, {}, entered)
            self._say(user, event, entry, entered)
            for then, condition, probable in (*_followed(plan), *self._closings(event)):
                if then in _BUILTIN or chance.random() >= probable:
                    continue
                moment = entered + timedelta(seconds=round(chance.uniform(_HOUR, _length(plan, self.days))))
                about = {name: value for name, value in entry.items() if name.endswith("_id") or name in (plan.key, "id")}
                if then == event and plan.key in about:
                    del about[plan.key]  # the same again is about something else
                self._say(user, then, self._fitting(chance, then, condition, traits, entry, about, moment), moment)

    def _fitting(
        self,
        chance: Random,
        event: str,
        where: str | None,
        traits: Mapping[str, Json],
        entry: Mapping[str, Json],
        about: Mapping[str, Json],
        at: datetime,
    ) -> dict[str, Json]:
        """Properties, mostly such that `where` holds."""
        unique = self._unique()
        found = self._invent.properties(chance, event, about, unique)
        if where is None or chance.random() >= FITS:
            return found
        condition, declared = compile_expression(where), self.compiled.tracking.event(event)
        kinds = dict(declared.properties) if declared is not None else {}
        known = _native(dict(self.compiled.tracking.attributes), traits)
        for _ in range(TRIES):
            seen = {**_native(kinds, found), "occurred_at": at}
            if condition.test(Context(known, at, entry, seen, zone=self.zone)):
                return found
            found = self._invent.properties(chance, event, about, unique)
        return found

    def _share(self, plan: Plan, event: str) -> float:
        """Of people: who does this, with which the journey begins."""
        holds = self.compiled.policy.holds
        rare = any(event == rule.opens or plan.journey == rule.while_in for rule in holds)
        return (TROUBLE if rare else ENTERS) / max(sum(1 for e in plan.entries if e.event), 1)

    def _closings(self, event: str) -> Iterator[tuple[str, str | None, float]]:
        """What closes a hold that this event opens, as `_followed`."""
        for rule in self.compiled.policy.holds:
            if rule.opens == event and rule.closes:
                yield rule.closes, None, OVER

    def _others(self) -> list[str]:
        """Events that segments, stages and computed attributes look at."""
        segments = [s.condition for s in self.compiled.segments.segments]
        segments += [s.condition for s in self.compiled.segments.stages if s.condition is not None]
        names = {part.event for whole in segments for part in walk(whole) if isinstance(part, Did)}
        names |= {event for one in self.compiled.tracking.computed for event in one.events}
        held = {name for rule in self.compiled.policy.holds for name in (rule.opens, rule.closes)}
        return sorted(name for name in names if name not in _BUILTIN | held)

    def _between(self, chance: Random, at: datetime) -> datetime:
        """Some time between `at` and the end, to the second."""
        left = max(int((self.end - at).total_seconds()) - 60, 1)
        return at + timedelta(seconds=1 + chance.randrange(left))

    def _unique(self) -> str:
        self._made += 1
        return str(self._made)

    def _enroll(self, user: str, journey: str, at: datetime) -> None:
        number = self._unique()
        self._add(Incoming("enroll", SOURCE, number, identifiers={"user_id": user}, journey=journey, occurred_at=at))

    def _say(self, user: str, event: str, properties: Mapping[str, Json], at: datetime) -> None:
        number = self._unique()
        named, past = {"user_id": user}, at < self.start
        self._add(Incoming("track", SOURCE, number, event, dict(properties), {}, named, occurred_at=at, history=past))

    def _add(self, incoming: Incoming) -> None:
        assert incoming.occurred_at is not None
        if incoming.occurred_at < self.end:
            self._made += 1
            heapq.heappush(self._coming, (incoming.occurred_at, self._made, incoming))


def _native(kinds: Mapping[str, Type], values: Mapping[str, Json]) -> dict[str, object]:
    """Values as conditions see them."""
    return {name: native(kinds[name], value) if name in kinds else value for name, value in values.items()}


def _followed(plan: Plan) -> Iterator[tuple[str, str | None, float]]:
    """Events that may follow an entry: name, the condition under which they count, how often they come."""
    for op in plan.ops:
        if isinstance(op, WaitFor):
            for one in op.alternatives:
                if one.event:
                    yield one.event, one.where, AWAITED
    for rule in plan.exits:
        if rule.event:
            yield rule.event, rule.where, LEAVES
    if plan.goal is not None:
        yield plan.goal.event, plan.goal.where, REACHES


def _length(plan: Plan, days: int) -> float:
    """Seconds within which what follows an entry comes: about as long as the journey's waits take together."""
    waits = [op.until.after for op in plan.ops if isinstance(op, Wait)] + [
        op.timeout.after for op in plan.ops if isinstance(op, WaitFor)
    ]
    return min(max(sum(map(_seconds, waits)), 2 * _DAY), days * _DAY)


def _seconds(after: Duration | None) -> float:
    return 7 * _DAY if after is None else after.seconds + _DAY * (after.days + 30 * after.months)
