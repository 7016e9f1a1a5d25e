"""The store of a simulation: customers and enrollments in memory, as the rules of intake and delivery want to see them.

Rows of the real store are values here, and no rule is: what an event, a verdict or an end does is said elsewhere.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple

from engine.core.enrollment import State
from engine.core.facts import ConsentFact, HoldFact, SlotFact
from engine.core.occasions import Occasion
from engine.core.plan import Plan
from engine.delivery.people import Kept, Occurred
from engine.delivery.queueing import LOOK_BACK
from engine.intake.agreeing import STOP
from engine.intake.joining import USER, Known
from engine.intake.person import Hold, Inside, Person
from engine.store.identities import Identifier


class Seen(NamedTuple):
    """An input that matched a wait, with its event, which counts at `at`."""

    seq: int
    at: datetime
    matched: tuple[tuple[int, int], ...]
    name: str
    properties: Mapping[str, Any]
    occurred_at: datetime


class Keep(NamedTuple):
    """Which events of a name are kept of a customer: as old as `span` at the most (None: all), the `newest` so many (None: all),
    and then without their properties, which nobody reads."""

    span: timedelta | None
    newest: int | None


class Before(NamedTuple):
    """The last entry of a customer into a journey under a key."""

    entered_at: datetime
    number: int


class Unwanted(NamedTuple):
    """Why an address must not be used, since when, and when a START lifted that."""

    reason: str
    at: datetime
    lifted_at: datetime | None = None


@dataclass(slots=True, eq=False)
class Customer(Person):
    """A customer, also as the locked row that the gates are asked about. `user`: the user id, `names`: all identifiers. `before`:
    (customer, journey, key) → the last entry. `stays`: enrollments that haven't ended, or whose goal may still be reached, by
    number. `planned`: enrollment → the row of `store.planned`. `over`: holds that are closed. `inside`, `stage`: segments and
    stage. `dates`: number of a rule → the occasion that is planned. `told_by`: the source of each statement, by number; `new`:
    nothing has come of them yet; `looks_at`: when time may next move them."""

    user: str = ""
    names: list[Identifier] = field(default_factory=list)
    before: dict[tuple[int, str, str], Before] = field(default_factory=dict)
    stays: dict[int, Enrollment] = field(default_factory=dict)
    consents: list[ConsentFact] = field(default_factory=list)
    unwanted: dict[tuple[str, str], Unwanted] = field(default_factory=dict)
    slots: list[SlotFact] = field(default_factory=list)
    planned: dict[int, dict[str, Any]] = field(default_factory=dict)
    over: list[HoldFact] = field(default_factory=list)
    soft: dict[str, datetime] = field(default_factory=dict)
    entered: list[tuple[str, datetime]] = field(default_factory=list)
    inside: frozenset[str] = frozenset()
    stage: str | None = None
    dates: dict[int, Occasion] = field(default_factory=dict)
    told_by: list[str] = field(default_factory=list)
    new: bool = True
    looks_at: datetime | None = None

    @property
    def erased_at(self) -> None:
        """Nobody is erased here."""
        return

    @property
    def restricted(self) -> bool:
        """Nobody is restricted here."""
        return False

    def say(self, row: Mapping[str, Any]) -> None:
        """Keep a statement (a row of `store.customers.add_consents`); the latest wins."""
        until = datetime.fromisoformat(row["until"]) if isinstance(row["until"], str) and row["until"] else row["until"] or None
        version = len(self.consents) + 1
        said = ConsentFact(
            row["channel"], row["topic"], row["state"], row["at"], row["source"] or "", until, version, row["wording"] or ""
        )
        self.told_by.append(row["via"])
        insort(self.consents, said, key=lambda fact: (fact.at, fact.version))

    def vias(self) -> dict[int, str]:
        """Number of a statement → the source that told us."""
        return dict(enumerate(self.told_by, 1))

    def suppress(self, row: Mapping[str, Any]) -> None:
        """As `store.customers.suppress`: a STOP older than the START that lifted it changes nothing, nor does it take another
        reason's place."""
        where, reason, at = (row["channel"], row["address"]), row["reason"], row["at"]
        was = self.unwanted.get(where)
        if was is None:
            self.unwanted[where] = Unwanted(reason, at)
        elif reason != STOP or (was.lifted_at is not None and was.lifted_at <= at):
            stays = was.lifted_at is None and (reason == STOP or was.reason == "complaint")
            self.unwanted[where] = Unwanted(was.reason if stays else reason, max(was.at, at))

    def unstop(self, row: Mapping[str, Any]) -> None:
        """As `store.customers.unstop`: also kept where there was no STOP, for one that comes late."""
        where, at = (row["channel"], row["address"]), row["at"]
        was = self.unwanted.get(where)
        if was is None:
            self.unwanted[where] = Unwanted(STOP, at, at)
        elif was.reason == STOP and (was.lifted_at or was.at) < at:
            self.unwanted[where] = Unwanted(STOP, was.at, at)

    def close(self, hold: Hold, now: datetime) -> None:
        """A hold is over, and may have delayed what still waits."""
        self.holds.remove(hold)
        self.over = [o for o in self.over if o.until > now - LOOK_BACK]
        self.over.append(_fact(hold))

    def let_expire(self, now: datetime) -> None:
        """Holds that lasted as long as they may."""
        for hold in [h for h in self.holds if h.until <= now]:
            self.close(hold, now)

    def all_holds(self, since: datetime) -> tuple[HoldFact, ...]:
        """Those that were open at `since` or later."""
        if not self.holds and not self.over:
            return ()
        found = [*self.over, *(_fact(h) for h in self.holds)]
        return tuple(f for f in found if f.until > since)

    def forget_slots(self, before: datetime) -> None:
        """No cap looks at messages before that any more."""
        if self.slots and self.slots[0].at <= before:
            self.slots = [s for s in self.slots if s.at > before]


def _fact(hold: Hold) -> HoldFact:
    return HoldFact(hold.name, tuple(hold.pause), hold.opened_at, hold.until, hold.closed_at)


@dataclass(slots=True, eq=False)
class Enrollment:
    """An enrollment, also as the row of `store.enrollments.contexts`. `known`: what intake knows of it; `deferred`: what is told
    of its message that the gates deferred, None where none is; `tried`: rows of this send on the channels before; `event`: the
    one that ended its last wait; `looks_at`: when time may next make true what it waits for."""

    known: Inside
    customer: Customer
    plan: Plan
    holdout: bool
    goal_until: datetime | None
    once: str | None
    state: State = field(default_factory=State)
    seq: int = 1
    inputs: list[Seen] = field(default_factory=list)
    deferred: Mapping[str, Any] | None = None
    tried: list[Any] = field(default_factory=list)
    reason: str = ""
    event_name: str | None = None
    event: Mapping[str, Any] | None = None
    event_at: datetime | None = None
    looks_at: datetime | None = None

    # Nobody pauses a simulation.
    journey_paused_at: ClassVar[None] = None
    journey_last_paused_at: ClassVar[None] = None
    journey_resumed_at: ClassVar[None] = None
    paused_reason: ClassVar[None] = None
    paused_at: ClassVar[None] = None
    last_paused_at: ClassVar[None] = None
    resumed_at: ClassVar[None] = None

    @property
    def id(self) -> int:
        return self.known.id

    @property
    def customer_id(self) -> int:
        return self.customer.id

    @property
    def attributes(self) -> dict[str, Any]:
        return self.customer.attributes

    @property
    def journey(self) -> str:
        return self.known.journey

    @property
    def key(self) -> str:
        return self.known.key

    @property
    def status(self) -> str:
        return self.known.status

    @property
    def depth(self) -> int:
        return self.known.depth

    @property
    def entered_at(self) -> datetime:
        return self.known.entered_at

    @property
    def vars(self) -> Mapping[str, Any]:
        return self.known.vars

    @property
    def entry(self) -> Mapping[str, Any]:
        return self.known.entry

    @property
    def entry_name(self) -> str:
        return str(self.known.entry.get("name", ""))

    @property
    def entry_at(self) -> datetime:
        at = self.known.entry["occurred_at"]
        assert isinstance(at, datetime)
        return at

    def look_at(self, seq: int) -> None:
        """Have `event` be that of input `seq` (0: none)."""
        found = next((s for s in self.inputs if s.seq == seq), None) if seq else None
        self.event_name = self.event = self.event_at = None
        if found is not None:
            self.event_name, self.event, self.event_at = found.name, found.properties, found.occurred_at

    def write(self, variables: Mapping[str, Any]) -> None:
        """Merge variables, unless it has ended."""
        if self.status != "ended":
            self.known.vars = {**self.known.vars, **variables}


@dataclass(slots=True)
class Memory:
    """Everybody. `happened`: (customer, event) → those events that something asks for again. `kept`: (customer, computed
    attribute) → its tally. `shared`: (journey, `once_per` value, key) → when somebody entered for it last, and who is inside.
    `names`: identifier → customer. `once`: what happens only once, ever: tasks with `once_per`, and somebody's entry on a day of
    theirs."""

    customers: dict[int, Customer] = field(default_factory=dict)
    names: dict[Identifier, int] = field(default_factory=dict)
    happened: dict[tuple[int, str], list[Occurred]] = field(default_factory=dict)
    kept: dict[tuple[int, str], Kept] = field(default_factory=dict)
    shared: dict[tuple[str, str, str], tuple[datetime, int | None]] = field(default_factory=dict)
    once: set[str] = field(default_factory=set)
    highest: int = 0

    def customer(self, number: int, user: str = "") -> Customer:
        """A new customer."""
        self.highest = max(self.highest, number)
        found = self.customers[number] = Customer(number, {}, erased=False, user=user)
        return found

    def name(self, number: int, pairs: Iterable[Identifier]) -> None:
        """These identifiers are a customer's, and nobody else's who stays."""
        customer = self.customers[number]
        for pair in pairs:
            self.names[pair] = number
            customer.names.append(pair)
            if pair[0] == USER and not customer.user:
                customer.user = pair[1]

    def known(self, pairs: Iterable[Identifier]) -> dict[Identifier, Known]:
        """Whom these identifiers lead to, where they lead to anybody."""
        found = {pair: self.customers[self.names[pair]] for pair in pairs if pair in self.names}
        return {pair: Known(one.id, bool(one.user)) for pair, one in found.items()}

    def remember(self, key: tuple[int, str], one: Occurred, keep: Keep) -> None:
        """Keep an event, and forget those of the same name that nobody asks for any more."""
        found = self.happened.setdefault(key, [])
        if found and found[-1][0] > one[0]:
            insort(found, one, key=lambda e: (e[0], e[2]))
        else:
            found.append(one)
        if keep.newest is not None and len(found) > keep.newest:
            del found[: -keep.newest]
        if keep.span is not None and found[0][0] < found[-1][0] - keep.span:
            since = found[-1][0] - keep.span
            found[:] = [e for e in found if e[0] >= since]

    def release(self, enrollment: Enrollment, others: Iterable[Enrollment]) -> None:
        """An enrollment has ended: what only one person may be in for is free, unless they are still in for it."""
        if enrollment.once is None:
            return
        claim = (enrollment.journey, enrollment.once, enrollment.key)
        if not any(o.status != "ended" and (o.journey, o.once, o.key) == claim for o in others) and claim in self.shared:
            self.shared[claim] = (self.shared[claim][0], None)
