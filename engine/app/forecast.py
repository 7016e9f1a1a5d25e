"""What a simulation tells, counted: messages by day, what caps and other gates did, time in steps, ways out, ends. Pure.

Days are those of the project's zone. What is counted doesn't grow with the number of messages, but for a number of four bytes for
each stay in a step.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from math import ceil
from typing import Any
from zoneinfo import ZoneInfo

from engine.authoring.graph import awaited
from engine.core.clock import local
from engine.core.plan import Branch, Plan, WaitFor
from engine.simulator.told import Told

Step = tuple[str, str]
"""A journey and a step of it."""

REASONS = {"quiet_hours": "quiet hours", "reachable": "address", "live": "the journey had ended"}
"""Gates whose names don't speak for themselves."""

BY_DAY, BY_WEEK = 45, 400
"""Up to how many days each counts by itself, and each week."""


@dataclass(slots=True)
class Stopped:
    """Messages that a gate put off or dropped, and whose they were."""

    messages: int = 0
    people: set[int] = field(default_factory=set)

    def add(self, customer: int) -> None:
        """One more."""
        self.messages += 1
        self.people.add(customer)


@dataclass(slots=True)
class Figures:
    """Everything that is counted; `tell` hears what a `Play` tells. `limits`: the names of policy's caps. `sent`: (day, tier,
    channel) → messages. `defers`, `drops`: (reason, rule) → whom they stopped. `stays`: step → seconds of each stay that is
    over. `ways`: (journey, step, choice) → people. `people`: who entered anything; `asked`: who had a message before the
    gates."""

    plans: Mapping[str, Plan]
    limits: frozenset[str]
    zone: ZoneInfo
    sent: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    by_step: Counter[Step] = field(default_factory=Counter)
    defers: defaultdict[tuple[str, str], Stopped] = field(default_factory=lambda: defaultdict(Stopped))
    drops: defaultdict[tuple[str, str], Stopped] = field(default_factory=lambda: defaultdict(Stopped))
    stays: defaultdict[Step, array[float]] = field(default_factory=lambda: defaultdict(lambda: array("f")))
    ways: defaultdict[tuple[str, str, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    entered: Counter[str] = field(default_factory=Counter)
    exits: Counter[tuple[str, str]] = field(default_factory=Counter)
    goals: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    people: set[int] = field(default_factory=set)
    asked: set[int] = field(default_factory=set)
    parked: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _standing: dict[int, tuple[str, str, datetime]] = field(default_factory=dict)

    def tell(self, told: Told) -> None:
        """Count one thing."""
        if told.kind == "enter":
            self.entered[told.journey] += 1
            self.people.add(told.customer)
            self._standing[told.enrollment] = (told.journey, "", told.at)
        elif told.kind == "exit":
            self.exits[told.journey, told.reason] += 1
            self._leave(told)
            self._standing.pop(told.enrollment, None)
        elif told.step:
            self._arrive(told)
        self._count(told)

    def _count(self, told: Told) -> None:
        match told.kind:
            case "send":
                self.asked.add(told.customer)
                self.sent[f"{local(told.at, self.zone):%Y-%m-%d}", told.tier, told.channel] += 1
                self.by_step[told.journey, told.step] += 1
            case "defer" | "drop":
                self.asked.add(told.customer)
                (self.defers if told.kind == "defer" else self.drops)[told.reason, told.rule].add(told.customer)
            case "branch":
                self.ways[told.journey, told.step, way(self.plans.get(told.journey), told)].add(told.customer)
            case "goal":
                self.goals[told.journey] += 1
            case "task":
                self.tasks[told.reason] += 1
            case "parked":
                self.parked[told.journey, told.step, told.reason] += 1

    def _arrive(self, told: Told) -> None:
        standing = self._standing.get(told.enrollment)
        if standing is not None and standing[1] != told.step:
            self._leave(told)
            self._standing[told.enrollment] = (told.journey, told.step, told.at)

    def _leave(self, told: Told) -> None:
        journey, step, since = self._standing.get(told.enrollment, ("", "", told.at))
        if step:
            self.stays[journey, step].append(max((told.at - since).total_seconds(), 0.0))

    @property
    def inside(self) -> Counter[Step]:
        """How many stand in which step now."""
        return Counter((journey, step) for journey, step, _ in self._standing.values())

    def caps(self) -> list[dict[str, Any]]:
        """Each cap that stood in the way: cap, defers, drops (also of what expired meanwhile), people, share (of those with a
        message before the gates)."""
        found = []
        for name in sorted(self.limits):
            put_off, dropped = ([s for (_, rule), s in of.items() if rule == name] for of in (self.defers, self.drops))
            people = len(set().union(*(s.people for s in (*put_off, *dropped))))
            if people:
                counted = {"defers": sum(s.messages for s in put_off), "drops": sum(s.messages for s in dropped)}
                found.append({"cap": name, **counted, "people": people, "share": round(people / len(self.asked), 4)})
        return found

    def steps(self) -> list[dict[str, Any]]:
        """Each step that somebody stood in, in the order of its journey: journey, step, stays, median and p90 (seconds, None
        where nobody has left it), inside (at the end), sent."""
        inside = self.inside
        found = []
        for journey, step in ordered(self.plans, {*self.stays, *inside, *self.by_step}):
            stays = sorted(self.stays.get((journey, step), ()))
            row = {"journey": journey, "step": step, "stays": len(stays), "median": quantile(stays, 0.5)}
            row |= {"p90": quantile(stays, 0.9), "inside": inside[journey, step], "sent": self.by_step[journey, step]}
            found.append(row)
        return found

    def branches(self) -> list[dict[str, Any]]:
        """Each way out of a step that somebody took: journey, step, way, people, in the order of the journey, the most taken
        first."""
        order = {place: n for n, place in enumerate(ordered(self.plans, {(j, s) for j, s, _ in self.ways}))}
        taken = sorted(self.ways.items(), key=lambda item: (order[item[0][:2]], -len(item[1]), item[0]))
        return [{"journey": j, "step": s, "way": w, "people": len(people)} for (j, s, w), people in taken]

    def journeys(self) -> list[dict[str, Any]]:
        """Each journey: entered, inside (at the end), goals, sent, exits (reason → how many)."""
        inside = Counter(journey for journey, _ in self.inside.elements())
        found = []
        for name in sorted({*self.plans, *self.entered}):
            exits = {reason: n for (journey, reason), n in sorted(self.exits.items()) if journey == name}
            sent = sum(n for (journey, _), n in self.by_step.items() if journey == name)
            row = {"journey": name, "entered": self.entered[name], "inside": inside[name], "goals": self.goals[name]}
            found.append({**row, "sent": sent, "exits": exits})
        return found

    def to_json(self) -> dict[str, Any]:
        """All figures, for machines."""
        return {
            "people": len(self.people),
            "messages": [{"day": d, "tier": t, "channel": c, "sent": n} for (d, t, c), n in sorted(self.sent.items())],
            "defers": stopped(self.defers),
            "drops": stopped(self.drops),
            "caps": self.caps(),
            "steps": self.steps(),
            "branches": self.branches(),
            "journeys": self.journeys(),
            "tasks": dict(sorted(self.tasks.items())),
            "parked": [{"journey": j, "step": s, "reason": r, "enrollments": n} for (j, s, r), n in sorted(self.parked.items())],
        }


def stopped(found: Mapping[tuple[str, str], Stopped]) -> list[dict[str, Any]]:
    """Reasons with their rules, the most frequent first: reason, rule, messages, people."""
    ranked = sorted(found.items(), key=lambda item: (-item[1].messages, item[0]))
    return [{"reason": r, "rule": rule, "messages": s.messages, "people": len(s.people)} for (r, rule), s in ranked]


def quantile(ranked: Sequence[float], share: float) -> float | None:
    """The smallest of these (in order) that at least `share` of them don't exceed; None of none."""
    return round(ranked[max(ceil(len(ranked) * share), 1) - 1], 1) if ranked else None


def ordered(plans: Mapping[str, Plan], places: Iterable[Step]) -> list[Step]:
    """Steps by journey, in the order in which the journey has them."""
    order = {
        (name, step): n
        for name, plan in plans.items()
        for n, op in reversed(list(enumerate(plan.ops)))
        if (step := getattr(op, "step", ""))
    }
    return sorted(places, key=lambda place: (place[0], order.get(place, -1), place[1]))


def way(plan: Plan | None, told: Told) -> str:
    """A way out of a step in the journey's own words: the condition of a branch, what was waited for; else its name."""
    op = plan.ops[told.op] if plan is not None and 0 <= told.op < len(plan.ops) else None
    if told.choice.isdecimal():
        number = int(told.choice)
        if isinstance(op, Branch) and number < len(op.arms):
            return op.arms[number].condition
        if isinstance(op, WaitFor) and number < len(op.alternatives):
            return awaited(op.alternatives[number])
    return told.choice


def days_between(start: datetime, end: datetime, zone: ZoneInfo) -> list[str]:
    """Every local day from `start` to before `end`."""
    first, last = (local(moment.astimezone(UTC), zone).date().toordinal() for moment in (start, end))
    return [datetime.fromordinal(n).date().isoformat() for n in range(first, max(last, first + 1))]


def period_of(days: int) -> tuple[str, Callable[[str], str]]:
    """What a row stands for where there are so many days, and what that row is called for a day."""
    if days <= BY_DAY:
        return "day", lambda day: day
    if days <= BY_WEEK:
        return "week", lambda day: "{}-W{:02}".format(*date.fromisoformat(day).isocalendar()[:2])
    return "month", lambda day: day[:7]


def span_words(seconds: float | None) -> str:
    """A length of time, roughly: "at once", "40m", "5.2h", "3.0d"."""
    if seconds is None:
        return ""
    if seconds < 1:
        return "at once"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size * (2 if unit == "d" else 1):
            return f"{seconds / size:.1f}{unit}"
    return f"{seconds:.0f}s"


def reason_words(reason: str) -> str:
    """What stood in a message's way, for people."""
    return REASONS.get(reason, reason)
