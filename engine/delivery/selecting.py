"""Who is meant by conditions on customers: one statement for one customer, a batch, or a page of everybody.

PostgreSQL answers what it can (`sql_conditions`); for those of whom it can't say, and only for them, the Python evaluator
does (`people`), from the same rows. The two mean the same, which a property test holds them to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import add as add_up
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    DateTime,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    not_,
    or_,
    select,
    table,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB

from engine.authoring.model_segments import Condition, Did, walk
from engine.core.clock import Duration, add
from engine.core.clock import zone as zone_named
from engine.core.wire import dump
from engine.delivery.deployment import Deployment, Needs
from engine.delivery.people import People
from engine.delivery.sql_conditions import Wording
from engine.store import selections
from engine.store.database import Connection

YES, NO, MAYBE = "1", "0", "?"

JUDGED = 500
"""Customers whom Python judges at once at the most, with all their events that conditions look at."""

OBJECTS: ColumnElement[bool] = literal_column("p.objected", Boolean)
"""Whoever objects to profiling. Segments and computed attributes mean nothing of them, which Python knows."""


@dataclass(frozen=True, slots=True)
class Page:
    """Customers by number: those of `ids`, or those after `after` up to `until`."""

    ids: Sequence[int] | None = None
    after: int = 0
    until: int = 0

    def values(self) -> dict[str, Any]:
        """The parameters of a statement."""
        return {"after": self.after, "until": self.until} if self.ids is None else {"ids": sorted(set(self.ids))}

    @property
    def listed(self) -> bool:
        """Whether it is a list of customers."""
        return self.ids is not None


@dataclass(slots=True)
class Selection:
    """Some conditions of a deployment, ready to be asked of people. `entry`: the event that would enroll them (broadcasts).
    `profiling`: the answers are a profile, so that they aren't given of who objects to that."""

    deployment: Deployment
    conditions: Sequence[Condition]
    entry: Mapping[str, Any] | None = None
    profiling: bool = False
    needs: Needs = field(init=False)
    exact: bool = field(init=False)
    _names: frozenset[str] = field(init=False)
    _spans: tuple[Duration, ...] = field(init=False)
    _parts: tuple[Any, ...] = field(init=False)
    _statements: dict[tuple[str, bool], Select[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wording = Wording(self.deployment, self.entry)
        truths = [wording.truth(c) for c in self.conditions]
        self.exact = all(t.exact for t in truths)
        self._spans = tuple(wording.spans)
        self._parts = (wording, truths)
        self._names = frozenset(p.event for c in self.conditions for p in walk(c) if isinstance(p, Did))
        self.needs = self.deployment.needs_of_text([dump(c) for c in self.conditions]) if self.conditions else Needs()

    async def answers(self, c: Connection, page: Page, now: datetime) -> dict[int, str]:
        """Customer → one sign for each condition, YES or NO, for those of whom any holds. Nobody who was erased, or merged into
        somebody else, or isn't there."""
        rows = await selections.rows(c, self._signs(page.listed), {**page.values(), **await self.moments(c, page, now)})
        found = {r.id: r.signs for r in rows}
        unsure = [i for i, signs in found.items() if MAYBE in signs]
        for at in range(0, len(unsure), JUDGED):
            some = unsure[at : at + JUDGED]
            people, attributes = await self.evaluator(c, some, now)
            for i in some:
                people.customer(i, attributes[i])
                found[i] = "".join(
                    s if s != MAYBE else YES if people.includes(condition, i) else NO
                    for s, condition in zip(found[i], self.conditions, strict=True)
                )
        return {i: signs for i, signs in found.items() if YES in signs}

    async def members(
        self, c: Connection, page: Page, now: datetime, most: int
    ) -> tuple[list[tuple[int, Mapping[str, Any]]], int | None]:
        """(customer, attributes) of those for whom the only condition holds, in the order of their numbers, except who is
        restricted. At most `most` are looked at for whom it may hold: the number of the last of them, None where there were
        fewer, so that the page has been looked through."""
        values = {**page.values(), **await self.moments(c, page, now), "most": most}
        rows = await selections.rows(c, self._whole(page.listed), values)
        unsure = [r.id for r in rows if not r.sure]
        people, _ = await self.evaluator(c, unsure, now) if unsure else (None, None)
        found = []
        for r in rows:
            if people is not None and not r.sure:
                people.customer(r.id, r.attributes)
                if not people.includes(self.conditions[0], r.id):
                    continue
            found.append((r.id, r.attributes))
        return found, rows[-1].id if len(rows) == most else None

    async def evaluator(self, c: Connection, ids: Sequence[int], now: datetime) -> tuple[People, dict[int, dict[str, Any]]]:
        """The Python evaluator for these customers, and their attributes."""
        people = await People.load(c, self.deployment, ids, self.needs, now, self._names)
        people.entry = self.entry
        return people, await selections.attributes(c, ids)

    async def moments(self, c: Connection, page: Page, now: datetime) -> dict[str, Any]:
        """What each span of time comes to in the zones of the page's customers: `plain0 …` in policy's, `zones0 …` where it is
        another moment."""
        if not self._spans:
            return {}
        zones = await selections.zones(c, page.listed, page.values())
        plain = self.deployment.policy.timezone
        values: dict[str, Any] = {}
        for n, by in enumerate(self._spans):
            usual = _moment(now, by, plain)
            others = {z: m for z in zones if (m := _moment(now, by, z)) not in (usual, None)}
            values |= {f"plain{n}": usual, f"zones{n}": others}
        return values

    def _signs(self, listed: bool) -> Select[Any]:
        """Customers of a page with a sign for each condition."""
        if ("signs", listed) not in self._statements:
            _, truths = self._parts
            signs = [case((OBJECTS, MAYBE), (t.must, YES), *([] if t.exact else [(t.may, MAYBE)]), else_=NO) for t in truths]
            self._statements["signs", listed] = self._from(
                listed, literal_column("p.id").label("id"), reduce(add_up, signs).label("signs")
            )
        return self._statements["signs", listed]

    def _whole(self, listed: bool) -> Select[Any]:
        """The customers of a page for whom the first condition may hold, with whether it surely does."""
        if ("whole", listed) not in self._statements:
            _, (truth,) = self._parts
            columns: Any = (literal_column("p.id").label("id"), literal_column("p.attributes", JSONB).label("attributes"))
            sure = and_(truth.must, not_(OBJECTS)).label("sure")
            made = self._from(listed, *columns, sure).where(or_(truth.may, OBJECTS)).where(text("not p.restricted"))
            self._statements["whole", listed] = made.order_by(literal_column("p.id")).limit(bindparam("most", type_=Integer))
        return self._statements["whole", listed]

    def _from(self, listed: bool, *columns: Any) -> Select[Any]:
        """These columns of the customers of a page, with all that the conditions count."""
        wording, _ = self._parts
        joined: Any = table("customers").alias("p")
        if wording.spans:
            joined = joined.join(_spans(len(wording.spans)), true())
        for row, on in wording.kept:
            joined = joined.outerjoin(row, on)
        for counted in wording.counted.values():
            if counted.columns:
                joined = joined.join(counted.lateral(), true())
        found = select(*columns).select_from(joined).where(text(selections.LIVING), text(selections.PAGES[listed]))
        return found.where(not_(OBJECTS)) if self.profiling else found


def _spans(count: int) -> Any:
    """The moments that spans of time come to for a customer, worked out once: `s0 …` as ISO 8601, `t0 …` as timestamptz."""
    own: Any = literal_column("(p.attributes ->> 'timezone')")
    texts = []
    for n in range(count):
        zones = bindparam(f"zones{n}", type_=JSONB())
        texts.append(func.coalesce(zones.op("->>")(own), cast(bindparam(f"plain{n}", type_=Text), Text)).label(f"s{n}"))
    inner = select(*texts).offset(literal_column("0")).lateral("y")
    told = [literal_column(f"y.s{n}", Text).label(f"s{n}") for n in range(count)]
    moments = [cast(literal_column(f"y.s{n}", Text), DateTime(timezone=True)).label(f"t{n}") for n in range(count)]
    return select(*told, *moments).select_from(inner).offset(literal_column("0")).lateral("z")


def _moment(now: datetime, by: Duration, zone: str) -> str | None:
    """`now` moved by a span in a zone, as intake writes moments; None where there is no such zone."""
    try:
        return add(now, by, zone_named(zone)).isoformat()
    except ValueError:
        return None
