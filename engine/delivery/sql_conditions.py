"""Conditions on customers as SQL, over one customer's row `p`, and what has to be counted of their events for them.

Counts stand in the subqueries of `sql_counts`. `delivery.people` says what everything means, and answers what SQL can't say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    DateTime,
    Text,
    case,
    func,
    literal_column,
    not_,
    null,
)
from sqlalchemy.dialects.postgresql import JSONB

from engine.authoring.model_segments import Condition, Did, Either, Every, Holds, InSegment, Not
from engine.authoring.model_tracking import Computed
from engine.core.clock import Duration
from engine.delivery.computing import ITS_OWN
from engine.delivery.deployment import Deployment
from engine.delivery.sql_counts import Counted, count, latest, total
from engine.delivery.sql_expressions import Reader, constant, stored
from engine.delivery.sql_kept import KeptRow, either_of, form_of, worth
from engine.delivery.sql_truth import FALSE, TRUE, UNKNOWN, Truth, either, every, opposite, surely, where_known
from engine.delivery.sql_values import Amount, At, Away, Known, Stored, Value, sayable
from engine.delivery.tallies import tallied, value_of

FARTHEST = 50 * 366
"""Days beyond which a span of time is left to Python, which knows where the calendar ends."""

ATTRIBUTES: ColumnElement[Any] = literal_column("p.attributes", JSONB)


@dataclass(slots=True)
class Wording:
    """Words the conditions of one statement. `entry`: the event that would enroll (broadcasts). `spans`: how far from now it
    looks, in the order of the columns `t0 …` (timestamptz) and `s0 …` (ISO 8601) of the subquery `z`. `counted`: by event.
    `kept`: rows of `computed`, with what they are joined on. `doubts`: of whom an attribute is known, where SQL doesn't know it
    of everybody."""

    deployment: Deployment
    entry: Mapping[str, Any] | None = None
    spans: dict[Duration, Away] = field(default_factory=dict)
    counted: dict[str, Counted] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)
    doubts: dict[str, ColumnElement[bool]] = field(default_factory=dict)
    _computed: dict[str, Value | None] = field(default_factory=dict)
    _segments: dict[str, Truth] = field(default_factory=dict)

    def truth(self, asked: Condition) -> Truth:
        """The condition in SQL."""
        match asked:
            case Every(parts):
                return every([self.truth(p) for p in parts])
            case Either(parts):
                return either([self.truth(p) for p in parts])
            case Not(part):
                return opposite(self.truth(part))
            case InSegment(name):
                return self.segment(name)
            case Holds(source):
                expression = self.deployment.expression(source)
                found = Reader(OfCustomer(self)).truth(expression.tree)
                doubts = [self.doubts[name] for name in sorted(expression.uses.customer & self.doubts.keys())]
                return where_known(found, doubts)
            case Did():
                return self._did(asked)

    def segment(self, name: str) -> Truth:
        """Whether the customer is in this segment."""
        if name not in self._segments:
            found = self.deployment.segments.get(name)
            self._segments[name] = FALSE if found is None else self.truth(found.condition)
        return self._segments[name]

    def away(self, by: Duration) -> Away | None:
        """The moment that is so far from now by each customer's own clock; None where only Python may say."""
        if abs(by.months * 31 + by.days) + abs(by.seconds) / 86_400 > FARTHEST:
            return None
        if by not in self.spans:
            n = len(self.spans)
            moment, text = literal_column(f"z.t{n}", DateTime(timezone=True)), literal_column(f"z.s{n}", Text).collate("C")
            self.spans[by] = Away(by, moment, text)
        return self.spans[by]

    def computed(self, name: str) -> Value | None:
        """A computed attribute; None where SQL can't say, as of those that are predicted."""
        if name not in self._computed:
            found = next((c for c in self.deployment.tracking.computed if c.name == name), None)
            self._computed[name] = self._compute(found) if found is not None and not found.points else None
        return self._computed[name]

    def _of_event(self, name: str) -> Counted:
        return self.counted.setdefault(name, Counted(name, len(self.counted)))

    def _counting(self, counted: Counted, within: Duration | None, where: str | None, value: str | None = None) -> Truth:
        """Whether an event counts: young enough, satisfying `where`, and with all that this and `value` read of it."""
        young = TRUE
        if within is None:
            counted.since.add(None)
        else:
            since = self.away(back(within))
            counted.since.add(since)
            young = UNKNOWN if since is None else surely(counted.occurred_at > since.moment)
        asked = TRUE if where is None else Reader(OfEvent(self, counted)).truth(self.deployment.expression(where).tree)
        read = {p for text in (where, value) if text is not None for p in self.deployment.expression(text).uses.event_properties}
        there = TRUE if read <= ITS_OWN else surely(not_(counted.of("emptied", Boolean)))
        # PostgreSQL takes an aggregate for the outer query's where it reads nothing of its own.
        return every([young, there, asked, surely(counted.occurred_at.is_not(None))])

    def _did(self, did: Did) -> Truth:
        counted = self._of_event(did.event)
        key = (did.within, did.where)
        if key not in counted.made:
            counts = self._counting(counted, did.within, did.where)
            must = counted.add(func.count().filter(counts.must))
            counted.made[key] = (must, must if counts.exact else counted.add(func.count().filter(counts.may)))
        surely_so, perhaps = counted.made[key]
        must = surely_so >= did.at_least
        return Truth(must, must if surely_so is perhaps else perhaps >= did.at_least, 2)

    def _compute(self, asked: Computed) -> Value | None:
        """`People._compute` in SQL: as it is kept, else from the events, of the kinds that can be counted of them; where neither
        says it of a customer, that is noted in `doubts`."""
        if not sayable(asked.default):
            return None
        counted = self._of_event(asked.event)
        value = (
            None if asked.value is None else Reader(OfEvent(self, counted)).value(self.deployment.expression(asked.value).tree)
        )
        told = self._from_events(asked, counted, value)
        form = form_of(asked, value)
        row = None if form is None else self._kept_row(asked)
        if form is None or row is None:
            return told
        if told is None:
            told = worth(form, value_of(asked, tallied(asked, None, ())))
            if told is None:
                return None
            self.doubts[asked.name] = row.known
        self.kept += row.parts
        return either_of(row.there, row.value(form), told)

    def _from_events(self, asked: Computed, counted: Counted, value: Value | None) -> Value | None:
        """The attribute's value, worked out from the events."""
        if asked.kind not in SAID or not (isinstance(value, (Stored, At)) or asked.kind == "count"):
            return None
        counts = self._counting(counted, asked.within, asked.where, asked.value)
        if not counts.exact:
            return None
        found = counted.add(func.count().filter(counts.must))
        enough = found >= asked.at_least
        if asked.kind == "count":
            return count(found, enough, asked.default)
        if asked.kind == "sum" and isinstance(value, Stored):
            return total(counted, counts, value, enough, asked)
        if asked.kind == "latest" and isinstance(value, At) and asked.default is None:
            return At(case((enough, counted.add(func.max(value.moment).filter(counts.must))), else_=null()))
        if asked.kind == "latest" and isinstance(value, Stored):
            return latest(counted, counts, value, enough, asked.default)
        return None

    def _kept_row(self, asked: Computed) -> KeptRow | None:
        """What is kept of an attribute; None where nothing is."""
        definition = self.deployment.definitions.all[asked.name]
        since = None
        if asked.within is not None:
            since = self.away(back(asked.within))
        if definition.why_not or (asked.within is not None and since is None):
            return None
        return KeptRow(asked, definition.hash, len(self.kept), since)


SAID = ("count", "sum", "latest")
"""Kinds of computed attributes that SQL can work out from events, where their parts allow it."""


def back(by: Duration) -> Duration:
    """So far into the past."""
    return Duration(-by.months, -by.days, -by.seconds)


@dataclass(frozen=True, slots=True)
class OfCustomer:
    """Names in a condition on a customer."""

    wording: Wording

    def named(self, owner: str, name: str) -> Value | None:
        if owner == "entry":
            return constant(self.wording.entry, name)
        tracking = self.wording.deployment.tracking
        if owner != "customer" or name == "stage":
            return None
        if name == "id":
            return Amount(literal_column("p.id"))
        if name in tracking.worked_out:
            return self.wording.computed(name)
        return stored(ATTRIBUTES, name, tracking.attribute(name))

    def segment(self, name: str) -> Truth:
        return self.wording.segment(name)

    def away(self, by: Duration) -> Away | None:
        return self.wording.away(by)


@dataclass(frozen=True, slots=True)
class OfEvent:
    """Names in a condition on one of the customer's events."""

    wording: Wording
    counted: Counted

    def named(self, owner: str, name: str) -> Value | None:
        tracking = self.wording.deployment.tracking
        if owner == "event":
            if name == "name":
                return Known(self.counted.name)
            if name == "occurred_at":
                return At(self.counted.occurred_at)
            declared = tracking.event(self.counted.name)
            found = declared.property(name) if declared is not None else None
            # In lists and objects of an event Python reads no moments.
            plain = found is not None and found.kind not in ("date", "datetime")
            return stored(self.counted.of("properties", JSONB), name, None if plain else found)
        if owner == "customer" and name in tracking.worked_out:
            return None  # another subquery, which needn't stand before this one
        return OfCustomer(self.wording).named(owner, name)

    def segment(self, name: str) -> Truth:
        return UNKNOWN

    def away(self, by: Duration) -> Away | None:
        return self.wording.away(by)
