"""Which steps and ways of a journey no test passes: what a simulation told, held against everything that could happen there.

A step counts as passed when an enrollment stood there and it did something, also where its message was put off or dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.authoring.graph import awaited, reached
from engine.core.plan import Branch, Jump, Loop, NextChannel, Op, Plan, Split, WaitFor
from engine.simulator.told import ELSE, HELD_OUT, TIMEOUT, Told

SKIP = "skip"
"""The way past a step whose `if` is false."""

Passed = tuple[int, str]
"""An operation and the way out of it, as `Told.choice` has it; "" the step itself, SKIP where its `if` was false."""


@dataclass(frozen=True, slots=True)
class Way:
    """Something that a test can pass. `words`: which way out of the step; "" for the step itself."""

    op: int
    choice: str
    step: str
    words: str = ""


@dataclass(frozen=True, slots=True)
class Cover:
    """Of one journey: everything that a test can pass, and what of it none does."""

    journey: str
    ways: Sequence[Way]
    missed: Sequence[Way]

    @property
    def share(self) -> float:
        """How much is passed, 0 to 1; 1 where there is nothing to pass."""
        return 1 - len(self.missed) / len(self.ways) if self.ways else 1.0

    def by_step(self) -> dict[str, list[str]]:
        """Step → the ways that no test takes, in words; none in the list where nobody gets to the step at all."""
        found: dict[str, list[str]] = defaultdict(list)
        for way in self.missed:
            found[way.step] += [way.words] if way.words else []
        never = {way.step for way in self.missed if not way.words and not way.choice}
        return {step: [] if step in never else ways for step, ways in found.items()}


def covered(plans: Mapping[str, Plan], told: Iterable[Told]) -> list[Cover]:
    """Of each of these journeys, by name, after simulations that told all this."""
    passed: dict[str, set[Passed]] = defaultdict(set)
    for t in told:
        if t.op < 0 or t.journey not in plans:
            continue
        if t.kind == "skip":
            passed[t.journey].add((t.op, SKIP))
        else:
            passed[t.journey] |= {(t.op, ""), (t.op, t.choice)}
    found = []
    for name, plan in sorted(plans.items()):
        ways = ways_of(plan)
        found.append(Cover(name, ways, [w for w in ways if (w.op, w.choice) not in passed[name]]))
    return found


def ways_of(plan: Plan) -> list[Way]:
    """Every step that somebody can get to, and every way out of it, in the order of the plan. The waits for deliveries, which
    follow a send by themselves, aren't counted, nor are rounds of a repeat."""
    found: list[Way] = []
    own = {n + 1 for n, _ in enumerate(plan.ops) if plan.awaits_delivery(n)}
    for at in sorted(set(reached(plan)) - own):
        op = plan.ops[at]
        if isinstance(op, (Jump, NextChannel, Loop)):
            continue
        found += [Way(at, "", op.step), *(Way(at, choice, op.step, words) for choice, words in _ways(op))]
        if op.condition is not None:
            found.append(Way(at, SKIP, op.step, "left out, because its if: is false"))
    return found


def _ways(op: Op) -> list[tuple[str, str]]:
    match op:
        case Branch():
            return [*((str(n), f"if {arm.condition}") for n, arm in enumerate(op.arms)), (ELSE, "else")]
        case WaitFor():
            return [*((str(n), awaited(a)) for n, a in enumerate(op.alternatives)), (TIMEOUT, "nothing came in time")]
        case Split():
            return [*((arm.name, f"arm {arm.name}") for arm in op.arms), *([(HELD_OUT, "held out")] if op.holdout else [])]
    return []


def share(covers: Sequence[Cover]) -> float:
    """How much of several journeys is passed, each step and way counted once."""
    ways = sum(len(c.ways) for c in covers)
    return 1 - sum(len(c.missed) for c in covers) / ways if ways else 1.0
