"""What is kept of a computed attribute as SQL: a row of `computed`, joined to the customer's row `p`, and the value that it says.

With `within` the row holds the events that may count, and those inside the window by the customer's own clock are counted here.
Whatever retention has emptied since, what is kept stays what it was told. `delivery.computing` says what stands in a row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Numeric,
    Text,
    and_,
    case,
    cast,
    extract,
    func,
    literal,
    literal_column,
    not_,
    null,
    or_,
    select,
    table,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from engine.authoring.model_tracking import Computed
from engine.authoring.operators import is_number
from engine.core.wire import Json
from engine.delivery.sql_values import Amount, At, Away, Stored, Value, as_json, number_in, numeric

NUMBERS = ("count", "sum", "distinct", "median_gap_days")
WINDOWED = ("count", "sum", "latest")
"""Kinds whose value SQL takes from the events of a window that are kept."""


@dataclass(slots=True)
class KeptRow:
    """The row of the attribute `asked` under the hash of its definition, the `number`-th part that a statement joins. `since`:
    when its window begins, None without one. `parts`: what is joined, with the condition."""

    asked: Computed
    hash: str
    number: int
    since: Away | None
    parts: list[tuple[Any, ColumnElement[bool]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        on = [
            self._of("customer_id", BigInteger) == literal_column("p.id"),
            self._of("name", Text) == literal(self.asked.name, Text),
            self._of("definition", Text) == literal(self.hash, Text),
            not_(func.jsonb_exists(self._of("state", JSONB), literal("over", Text))),
        ]
        begin = None
        if self.since is not None:
            begin = cast(extract("epoch", self.since.moment) * literal_column("1000000"), BigInteger)
            on.append(cast(self._of("state ->> 'from'", Text), BigInteger) <= begin)
        self.parts.append((table("computed").alias(f"k{self.number}"), and_(*on)))
        if begin is not None:
            self.parts.append((self._window(begin), true()))

    def _of(self, name: str, kind: Any) -> ColumnElement[Any]:
        return literal_column(f"k{self.number}.{name}", kind)

    def _in_window(self, name: str, kind: Any) -> ColumnElement[Any]:
        return literal_column(f"w{self.number}.{name}", kind)

    def _window(self, begin: ColumnElement[Any]) -> Any:
        """Of the events inside the window: `n`, `total` and `weight` of the numbers among their values, the `last` value."""
        moment, event = (cast(literal_column(f"one ->> {place}", Text), BigInteger) for place in (0, 1))
        value = literal_column("(one -> 2)", JSONB)
        number = case((func.jsonb_typeof(value) == "number", cast(value, Numeric)))
        there = func.jsonb_typeof(value) != "null"
        found = select(
            func.count().label("n"),
            func.coalesce(func.sum(number), numeric(0)).label("total"),
            func.coalesce(func.sum(func.abs(number)), numeric(0)).label("weight"),
            func.jsonb_agg(aggregate_order_by(value, moment.desc(), event.desc())).filter(there).label("newest"),
        ).select_from(text(f"jsonb_array_elements(k{self.number}.state -> 'in') as e(one)"))
        return found.where(moment > begin).lateral(f"w{self.number}")

    @property
    def there(self) -> ColumnElement[bool]:
        """Whether it says what the attribute is worth."""
        return self._of("customer_id", BigInteger).is_not(None)

    @property
    def known(self) -> ColumnElement[bool]:
        """Whether it does, or the customer has no event that could count."""
        name = f"x{self.number}"
        events: Any = select(literal_column("1")).select_from(table("events").alias(name))
        theirs = literal_column(f"{name}.customer_id") == literal_column("p.id")
        return or_(self.there, not_(events.where(theirs, literal_column(f"{name}.name", Text) == self.asked.event).exists()))

    def value(self, kind: type[Value]) -> Value:
        """What it says, where it is there. `kind`: Amount, At, or Stored."""
        found = self._windowed() if self.since is not None else self._plain()
        if kind is Amount:
            return found if isinstance(found, Amount) else Amount(number_in(found.json))
        if isinstance(found, Stored) and kind is At:
            return At(cast(found.json.op("->>", return_type=Text())(literal_column("'$datetime'")), DateTime(timezone=True)))
        return found

    def _plain(self) -> Stored:
        return Stored(func.nullif(self._of("value", JSONB), as_json(None), type_=JSONB()))

    def _windowed(self) -> Amount | Stored:
        asked, n = self.asked, self._in_window("n", Numeric)
        enough = n >= asked.at_least
        if asked.kind == "count":
            return Amount(case((enough, n), else_=absent(asked.default)))
        if asked.kind == "sum":
            return total_of(asked, enough, self._in_window("total", Numeric), self._in_window("weight", Numeric))
        last = self._in_window("newest", JSONB).op("->", return_type=JSONB())(literal_column("0"))
        default = null() if asked.default is None else as_json(asked.default)
        return Stored(case((and_(enough, last.is_not(None)), last), else_=default))


def absent(default: Json) -> ColumnElement[Any]:
    """A number that is missing."""
    return null() if default is None else numeric(default)


def total_of(asked: Computed, enough: ColumnElement[bool], total: ColumnElement[Any], weight: ColumnElement[Any]) -> Amount:
    """The exact sum, and how far Python's may be from it: rounded to six places, and adding floats one by one."""
    slack = case((enough, numeric(1e-6) + weight * numeric(1e-9)), else_=numeric(0))
    return Amount(case((enough, total), else_=absent(asked.default)), slack)


def form_of(asked: Computed, value: Value | None) -> type[Value] | None:
    """What SQL can make of what is kept of the attribute, whose expression says `value`; None where that is Python's."""
    if asked.within is not None and asked.kind not in WINDOWED:
        return None
    if asked.kind in NUMBERS:
        return Amount if asked.default is None or is_number(asked.default) else None
    if asked.kind in ("latest", "earliest") and isinstance(value, At) and asked.default is None:
        return At
    return Stored if isinstance(value, Stored) and asked.kind != "score" else None


def either_of(there: ColumnElement[bool], one: Value, other: Value) -> Value:
    """`one` where it is there, else the `other`, which is of the same form."""
    match one, other:
        case Amount(number, slack), Amount(else_number, else_slack):
            slacks = [numeric(0) if s is None else s for s in (slack, else_slack)]
            both = None if slack is None and else_slack is None else case((there, slacks[0]), else_=slacks[1])
            return Amount(case((there, number), else_=else_number), both)
        case At(moment), At(else_moment):
            return At(case((there, moment), else_=else_moment))
        case Stored(json), Stored(else_json):
            return Stored(case((there, json), else_=else_json))
    raise AssertionError("both are of one form")


def worth(form: type[Value], constant: Json) -> Value | None:
    """A constant in that form; None where it has none."""
    if form is Amount:
        return Amount(absent(constant)) if constant is None or is_number(constant) else None
    if form is At:
        return At(null()) if constant is None else None
    return Stored(null() if constant is None else as_json(constant))
