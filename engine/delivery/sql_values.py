"""Values of expressions as SQL, and how they compare: for conditions on customers that PostgreSQL works out by itself.

What stands here means exactly what `authoring.operators` means. A value or a comparison that can't be said exactly is UNKNOWN:
whoever asks then has the Python evaluator answer. `sql_conditions` puts these together.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Numeric,
    Text,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    literal_column,
    not_,
    null,
    or_,
)
from sqlalchemy.dialects.postgresql import JSONB

from engine.authoring.operators import contains, equal, is_number, ordered
from engine.core.clock import Duration
from engine.core.wire import Json
from engine.delivery.sql_truth import FALSE, TRUE, UNKNOWN, Truth, either, opposite, surely

EXACT_NUMBERS = 2**53
"""From here on, what JSON says of a number and the float that Python reads may differ."""

CANONICAL = (
    r"^(?!0000)\d{4}-((0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    r"T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{6})?\+00:00$"
)
"""How intake writes moments (`model_tracking.convert`): in this form their order is that of the texts. What only looks like one,
as the 30th of February, isn't; neither is the 29th, which Python knows."""


@dataclass(frozen=True, slots=True)
class Known:
    """A value that the expression says itself."""

    value: Json


@dataclass(frozen=True, slots=True)
class Stored:
    """A JSON value of any type; SQL null where it is missing."""

    json: ColumnElement[Any]


@dataclass(frozen=True, slots=True)
class Written:
    """A JSON value that Python reads as a moment where it is a text."""

    json: ColumnElement[Any]


@dataclass(frozen=True, slots=True)
class Amount:
    """A number, or SQL null where it is missing; Python's is at most `slack` away from it (None: it is that number)."""

    number: ColumnElement[Any]
    slack: ColumnElement[Any] | None = None


@dataclass(frozen=True, slots=True)
class At:
    """A moment (timestamptz); SQL null where it is missing."""

    moment: ColumnElement[Any]


@dataclass(frozen=True, slots=True)
class Away:
    """The moment that is `by` away from now in the customer's zone: `moment` as timestamptz, `text` as ISO 8601."""

    by: Duration
    moment: ColumnElement[Any]
    text: ColumnElement[Any]


Value = Known | Stored | Written | Amount | At | Away

FLIPPED = {"eq": "eq", "ne": "ne", "lt": "gt", "lteq": "gteq", "gt": "lt", "gteq": "lteq"}
_ORDERS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
}


def as_json(value: Json) -> ColumnElement[Any]:
    """A JSON constant. As a parameter it has its type already: a plan that is kept doesn't read it anew for each row."""
    return literal_column("'null'::jsonb", JSONB) if value is None else literal(value, JSONB())


def sayable(value: object) -> bool:
    """Whether PostgreSQL can be told this constant and then means the same by it."""
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, (int, float)):
        return abs(value) < EXACT_NUMBERS  # also false for what is no number
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
    return isinstance(value, (list, tuple)) and all(not isinstance(v, (list, tuple, dict)) and sayable(v) for v in value)


def kind(value: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Whether a JSON value is of this kind, as PostgreSQL calls it."""
    return func.coalesce(func.jsonb_typeof(value) == name, false())


def text_in(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """The text that a JSON string holds; texts compare by code points."""
    return value.op("#>>", return_type=Text())(literal_column("'{}'")).collate("C")


def number_in(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """The number that a JSON value is; SQL null where it is none."""
    return case((func.jsonb_typeof(value) == "number", cast(value, Numeric)), else_=null())


def holds(value: Value | None) -> Truth:
    """Whether a value counts as true: missing, empty, zero and false don't."""
    match value:
        case Known(constant):
            return TRUE if constant else FALSE
        case Stored(stored):
            nothing: tuple[Json, ...] = (False, 0, "", [], {})
            hollow = [as_json(v) for v in nothing]
            return surely(func.coalesce(stored.not_in(hollow), false()))
        case Amount(number, None):
            return surely(func.coalesce(number != 0, false()))
        case At(moment):
            return surely(moment.is_not(None))
        case Away():
            return TRUE
    return UNKNOWN


def missing(value: Value | None) -> Truth:
    """`is none`."""
    match value:
        case Known(constant):
            return TRUE if constant is None else FALSE
        case Written(stored):
            return Truth(stored.is_(None), or_(stored.is_(None), _unusual(stored)), 4)
        case Stored(column) | At(column) | Amount(column, _):
            return surely(column.is_(None))
        case Away():
            return FALSE
    return UNKNOWN


def tested(name: str, value: Value | None) -> Truth:
    """`value is NAME`."""
    if name in ("none", "undefined"):
        return missing(value)
    if name == "defined":
        return opposite(missing(value))
    if isinstance(value, Stored):
        if name in ("true", "false"):
            return surely(func.coalesce(value.json == as_json(name == "true"), false()))
        found = {"boolean": "boolean", "number": "number", "string": "string", "list": "array"}.get(name)
        return surely(kind(value.json, found)) if found else UNKNOWN
    return UNKNOWN


def compared(op: str, left: Value | None, right: Value | None) -> Truth:
    """`left OP right`, where `op` is Jinja's word for it."""
    if left is None or right is None:
        return UNKNOWN
    if op in ("in", "notin"):
        found = _within(left, right)
        return found if op == "in" else opposite(found)
    if op == "ne":
        return opposite(compared("eq", left, right))
    if isinstance(left, Known) and isinstance(right, Known):
        return _constants(op, left.value, right.value)
    if isinstance(left, (Known, Away)):
        left, right, op = right, left, FLIPPED[op]
    match left, right:
        case Stored(), Known(constant):
            return _with_constant(op, left, constant)
        case Amount(), Known(constant):
            return _amount(op, left, constant)
        case ((At() | Written()), Known(None)) if op == "eq":
            return missing(left)
        case At(moment), Away():
            return surely(func.coalesce(_ORDERS[op](moment, right.moment), false()))
        case Written(stored), Away():
            return _moments(op, stored, right)
    return UNKNOWN


def _constants(op: str, left: Json, right: Json) -> Truth:
    if any(isinstance(v, date) for v in (left, right)):
        return UNKNOWN
    if op == "eq":
        return TRUE if equal(left, right, "UTC") else FALSE
    order = ordered(left, right, "UTC")
    return TRUE if order is not None and _ORDERS[op](order, 0) else FALSE


def _with_constant(op: str, value: Stored, constant: Json) -> Truth:
    if not sayable(constant) or isinstance(constant, (list, tuple)):
        return UNKNOWN
    if op == "eq":
        if constant is None:
            return missing(value)
        return surely(func.coalesce(value.json.in_([as_json(v) for v in _equals(constant)]), false()))
    if isinstance(constant, str):
        found = case((kind(value.json, "string"), _ORDERS[op](text_in(value.json), literal(constant, Text))), else_=false())
        return surely(found)
    if is_number(constant):
        return surely(func.coalesce(_ORDERS[op](number_in(value.json), numeric(constant)), false()))
    return FALSE


def numeric(constant: float) -> ColumnElement[Any]:
    """A number."""
    return literal(Decimal(repr(constant)), Numeric())


def _equals(constant: Json) -> list[Json]:
    """The JSON values that equal a constant: true is 1, and false 0."""
    if isinstance(constant, bool):
        return [constant, int(constant)]
    if is_number(constant) and constant in (0, 1):
        return [constant, bool(constant)]
    return [constant]


def _amount(op: str, amount: Amount, constant: Json) -> Truth:
    if not sayable(constant) or isinstance(constant, (list, tuple)):
        return UNKNOWN
    if constant is None:
        return missing(amount) if op == "eq" else FALSE
    if isinstance(constant, bool) and op == "eq":
        constant = int(constant)
    if not is_number(constant):
        return FALSE
    number, limit = amount.number, numeric(constant)
    exactly = func.coalesce(_ORDERS[op](number, limit), false())
    if amount.slack is None:
        return surely(exactly)
    near = func.coalesce(func.abs(number - limit) <= amount.slack, false())
    return Truth(and_(exactly, not_(near)), or_(exactly, near), 3)


def _moments(op: str, stored: ColumnElement[Any], away: Away) -> Truth:
    """A written moment compared. One that isn't in the usual form is left to Python; what is no text is no moment."""
    exactly = case((_usual(stored), func.coalesce(_ORDERS[op](text_in(stored), away.text), false())), else_=false())
    return Truth(exactly, or_(exactly, _unusual(stored)), 4)


def _usual(stored: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether it is a moment as intake writes it."""
    return func.coalesce(and_(kind(stored, "string"), text_in(stored).op("~", return_type=None)(CANONICAL)), false())


def _unusual(stored: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether it is another text, of which only Python knows what moment it says, and whether any."""
    return and_(kind(stored, "string"), not_(_usual(stored)))


def _within(item: Value, holder: Value) -> Truth:
    """`item in holder`."""
    match item, holder:
        case Known(one), Known(many):
            dated = isinstance(one, date) or (isinstance(many, list) and any(isinstance(v, date) for v in many))
            return UNKNOWN if dated else TRUE if contains(many, one, "UTC") else FALSE
        case _, Known(many):
            return either([compared("eq", item, Known(one)) for one in many]) if isinstance(many, list) else UNKNOWN
        case Known(one), Stored(stored) if isinstance(one, str) and sayable(one):
            return surely(
                case(
                    (kind(stored, "string"), func.strpos(text_in(stored), literal(one, Text)) > 0),
                    (kind(stored, "array"), stored.contains(as_json([one]))),
                    (kind(stored, "object"), func.jsonb_exists(stored, literal(one, Text))),
                    else_=false(),
                )
            )
    return UNKNOWN
