"""Who moves into which segment and stage, found in the transaction that takes events in; and what is told of it.

Only the customers of the batch are looked at, and only what their events and attributes can change. Moving is an event through
the one door, so that journeys, waits, exits and holds follow from it as from any other. Source of the rules:
docs/explanation/segments.md.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from engine.core.incoming import CHAIN_LIMIT, INTAKE, Incoming
from engine.core.wire import Json
from engine.delivery.deployment import Deployment
from engine.delivery.interpretation import STAGES, Interpretation, of
from engine.delivery.selecting import Page
from engine.intake.merging import OBJECTED, PARTED
from engine.store import fits, memberships
from engine.store.database import Connection

ENTERED, LEFT, STAGE_CHANGED = "segment_entered", "segment_left", "stage_changed"


@dataclass(frozen=True, slots=True)
class Touch:
    """Why somebody may move. `cause`: an event (its id, and how long the chain behind it is), or time. `told`: whether moving
    is said; what was imported as history moves people in silence, and so does the undoing of a merge."""

    cause: Literal["event", "time"] = "time"
    event_id: int | None = None
    depth: int = 0
    told: bool = True

    def outdoes(self, later: Touch) -> bool:
        """Whether it stays the one that counts, when a later event of the batch touches the same."""
        return self.event_id is not None and (self.told, -self.depth) > (later.told, -later.depth)


@dataclass(slots=True)
class Touches:
    """What a batch may have moved: customer → segment (or STAGES) → the last event that could have, of
    those that are told of and have the shortest chain behind them. `objectors`: those whom a merge made objectors, and who
    therefore leave in silence."""

    interpretation: Interpretation
    wanted: dict[int, dict[str, Touch]] = field(default_factory=dict)
    objectors: set[int] = field(default_factory=set)

    def came(self, customers: Iterable[int], live: Collection[int]) -> None:
        """Customers who are new: they may be in anything, also where what they came with was put aside. Those aren't told of
        who aren't among `live`: all that they came with is history."""
        for customer in customers:
            touch = Touch("event", told=customer in live)
            self.wanted[customer] = dict.fromkeys(self.interpretation.names, touch)

    def add(self, customer: int, incoming: Incoming, event_id: int, changed: frozenset[str], *, everything: bool) -> None:
        """An event of a customer, which changed these attributes. `everything`: whatever its name, as where two became one."""
        index = self.interpretation
        if not index.names:
            return
        names = index.names if everything else index.affected(incoming.name, changed)
        if names:
            if incoming.kind == "merge" and incoming.properties.get(OBJECTED):
                self.objectors.add(customer)
            silent = incoming.history or incoming.name == PARTED or customer in self.objectors
            touch = Touch("event", event_id, incoming.depth, not silent)
            has = self.wanted.setdefault(customer, {})
            has.update({n: touch for n in names if n not in has or not has[n].outdoes(touch)})


Standing = tuple[Set[str], str | None]
"""The segments that a customer is in, and the stage."""


@dataclass(slots=True)
class Moves:
    """What is written and said: rows of `store.memberships` and events of our own."""

    entered: list[dict[str, Any]] = field(default_factory=list)
    left: list[tuple[int, str]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    told: list[Incoming] = field(default_factory=list)

    def of(
        self,
        customer: int,
        wanted: Mapping[str, Touch],
        now_in: Standing,
        was_in: Standing,
        silent: Container[str],
        now: datetime,
    ) -> None:
        """Those of one customer, as far as `wanted` says. `silent`: the names of which nothing is said."""
        (inside, stage), (has, previous) = now_in, was_in
        for name, touch in wanted.items():
            if name == STAGES:
                if stage != previous:
                    _to_stage(self, customer, stage, previous, touch, now, name in silent)
            elif (name in inside) != (name in has):
                _to_segment(self, customer, name, name in inside, touch, now, name in silent)


async def interpret(
    c: Connection, deployment: Deployment, wanted: Mapping[int, Mapping[str, Touch]], now: datetime
) -> list[Incoming]:
    """Bring the memberships of these (locked) customers up to date, as far as `wanted` says, and what is to be said of it."""
    names = sorted({n for touches in wanted.values() for n in touches})
    if not names:
        return []
    index = of(deployment)
    page = Page(ids=sorted(wanted))
    answers = await index.selection(names).answers(c, page, now)
    current = await memberships.current(c, True, page.values(), names)
    stages = await memberships.stages(c, True, page.values()) if STAGES in names else {}
    states = await memberships.known(c)
    silence = {n: _silence(states.get(n), index.definitions[n]) for n in names}
    moves = Moves()
    for customer in sorted(wanted):
        silent = {n for n in wanted[customer] if customer in silence[n]}
        there = (current.get(customer, set()), stages.get(customer))
        moves.of(customer, wanted[customer], index.told(names, answers.get(customer)), there, silent, now)
    await memberships.leave(c, moves.left)
    await memberships.enter(c, moves.entered)
    await memberships.move(c, moves.stages)
    return moves.told


async def meanings(c: Connection, deployment: Deployment) -> dict[str, str]:
    """What segments and stages mean now (name → digest). The first predictions are a change of meaning: who comes in by them
    is worked out in silence, as after a deploy."""
    index, predicted = of(deployment), deployment.definitions.predicted
    if not any(one.predicted for one in index.concerns.values()):
        return index.definitions
    made = [await fits.made(c, d) for d in sorted(set(predicted.values()))]
    return index.definitions if all(made) else index.before_predictions()


def _silence(state: Any, definition: str) -> range:
    """Customers of whom nobody knows what moving means: the definition is new, and hasn't been worked out for them yet."""
    if state is None or state.definition != definition:
        return range(2**63)
    return range(0) if state.until_id is None else range(state.after_id + 1, state.until_id + 1)


def _because(touch: Touch, now: datetime, silent: bool) -> dict[str, Any]:
    if silent:
        return {"since": now, "cause": "definition", "event_id": None}
    return {"since": now, "cause": touch.cause, "event_id": touch.event_id}


def _to_segment(moves: Moves, customer: int, name: str, enters: bool, touch: Touch, now: datetime, silent: bool) -> None:
    if enters:
        moves.entered.append({"customer_id": customer, "segment": name, **_because(touch, now, silent)})
    else:
        moves.left.append((customer, name))
    _tell(moves, customer, ENTERED if enters else LEFT, name, {"segment": name}, touch, now, silent)


def _to_stage(
    moves: Moves, customer: int, stage: str | None, previous: str | None, touch: Touch, now: datetime, silent: bool
) -> None:
    moves.stages.append({"customer_id": customer, "stage": stage, "previous": previous, **_because(touch, now, silent)})
    _tell(moves, customer, STAGE_CHANGED, "", {"stage": stage, "previous": previous}, touch, now, silent)


def _tell(
    moves: Moves, customer: int, event: str, subject: str, properties: dict[str, Json], touch: Touch, now: datetime, silent: bool
) -> None:
    """Say it, unless in silence, or at the end of a chain that is too long to be meant."""
    if silent or not touch.told or touch.depth >= CHAIN_LIMIT:
        return
    message = f"{event}/{subject}/{customer}/{now.isoformat()}"
    told = {name: value for name, value in properties.items() if value is not None}
    moves.told.append(Incoming("track", INTAKE, message, event, told, customer=customer, occurred_at=now, depth=touch.depth + 1))


def by_time(customers: Sequence[int], names: Sequence[str]) -> dict[int, dict[str, Touch]]:
    """`wanted` for these customers, whom nothing has moved but time."""
    touch = Touch()
    return {customer: dict.fromkeys(names, touch) for customer in customers}
