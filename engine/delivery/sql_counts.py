"""What is counted of a customer's events in SQL, for conditions and computed attributes: lateral subqueries, one for each event's
name, so that a customer's events are read once however many conditions ask for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Numeric,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    literal_column,
    null,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from engine.authoring.model_tracking import Computed
from engine.authoring.operators import is_number
from engine.core.wire import Json
from engine.delivery.sql_kept import absent, total_of
from engine.delivery.sql_truth import Truth
from engine.delivery.sql_values import Amount, Away, Stored, Value, as_json, numeric


@dataclass(slots=True)
class Counted:
    """What is counted of a customer's events of one name. `columns`: of the lateral subquery `f{number}` over `events e{number}`.
    `since`: the spans of time that count, None among them: all time."""

    name: str
    number: int
    columns: list[ColumnElement[Any]] = field(default_factory=list)
    since: set[Away | None] = field(default_factory=set)
    made: dict[object, Any] = field(default_factory=dict)

    def of(self, name: str, kind: Any) -> ColumnElement[Any]:
        """A column of the events."""
        return literal_column(f"e{self.number}.{name}", kind)

    @property
    def occurred_at(self) -> ColumnElement[Any]:
        """When an event occurred."""
        return self.of("occurred_at", DateTime(timezone=True))

    def add(self, made: ColumnElement[Any]) -> ColumnElement[Any]:
        """One more column, as it is called outside."""
        self.columns.append(made)
        return literal_column(f"f{self.number}.c{len(self.columns) - 1}", made.type)

    def lateral(self) -> Any:
        """The subquery."""
        events = table("events").alias(f"e{self.number}")
        made = select(*[c.label(f"c{i}") for i, c in enumerate(self.columns)]).select_from(events)
        made = made.where(
            self.of("customer_id", None) == literal_column("p.id"), self.of("name", None) == literal(self.name, Text)
        )
        if self.since and None not in self.since:
            made = made.where(self.occurred_at > func.least(*sorted_moments(self.since)))
        return made.lateral(f"f{self.number}")


def sorted_moments(spans: set[Away | None]) -> list[ColumnElement[Any]]:
    """The moments of these spans, in a fixed order: a statement's text doesn't depend on chance."""
    return [one.moment for one in sorted((s for s in spans if s is not None), key=lambda s: s.by)]


def count(found: ColumnElement[Any], enough: ColumnElement[bool], default: Json) -> Value | None:
    """How many events were `found`, or the default where that isn't `enough`; None where SQL can't say."""
    if default is not None and not is_number(default):
        return None
    return Amount(case((enough, cast(found, Numeric)), else_=absent(default)))


def total(counted: Counted, counts: Truth, value: Stored, enough: ColumnElement[bool], asked: Computed) -> Value | None:
    """The sum of `value`; None where SQL can't say."""
    if asked.default is not None and not is_number(asked.default):
        return None
    none = numeric(0)
    number = case((func.jsonb_typeof(value.json) == "number", cast(value.json, Numeric)))
    exact = counted.add(func.coalesce(func.sum(number).filter(counts.must), none))
    weight = counted.add(func.coalesce(func.sum(func.abs(number)).filter(counts.must), none))
    return total_of(asked, enough, exact, weight)


def latest(counted: Counted, counts: Truth, value: Stored, enough: ColumnElement[bool], default: Json) -> Value:
    """The `value` of the last of the events that has one."""
    newest = aggregate_order_by(value.json, counted.occurred_at.desc(), counted.of("id", None).desc())
    values = func.jsonb_agg(newest, type_=JSONB()).filter(and_(counts.must, value.json.is_not(None)))
    last = counted.add(values.op("->", return_type=JSONB())(literal_column("0")))
    missing = null() if default is None else as_json(default)
    return Stored(case((and_(enough, last.is_not(None)), last), else_=missing))
