"""Expressions on customers and events as SQL: the subset of the language that `sql_values` can say exactly.

    and or not · == != < <= > >= in, `not in` with constants · is none, defined, true, false, boolean, number, string, list ·
    default(constant) · segment("…") · now, and now plus or minus days(n) or hours(n) · attributes, properties, what is in them

Everything else is UNKNOWN, and Python's to answer. What names mean is said by whoever reads (`Names`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from jinja2 import nodes
from sqlalchemy import Text, cast, func, literal
from sqlalchemy.dialects.postgresql import JSONB

from engine.authoring import filters
from engine.authoring.operators import is_number, negated
from engine.authoring.types import Type
from engine.core.clock import Duration
from engine.delivery.sql_truth import FALSE, UNKNOWN, Truth, either, every, opposite
from engine.delivery.sql_values import (
    Amount,
    Away,
    Known,
    Stored,
    Value,
    Written,
    as_json,
    compared,
    holds,
    numeric,
    sayable,
    tested,
)


class Names(Protocol):
    """What names mean where an expression stands."""

    def named(self, owner: str, name: str) -> Value | None:
        """`owner.name`; None where SQL can't say."""
        ...

    def segment(self, name: str) -> Truth:
        """Whether the customer is in a segment."""
        ...

    def away(self, by: Duration) -> Away | None:
        """The moment that is so far from now; None where SQL can't say."""
        ...


def stored(holder: Any, name: str, declared: Type | None) -> Value | None:
    """What a JSON object of a row holds under `name`, a missing one being null; by its declared type Python may read it as
    something else."""
    found = Stored(inside(holder, name))
    if declared is None or not dated(declared):
        return found
    return Written(found.json) if declared.kind == "datetime" else None


def inside(holder: Any, name: str) -> Any:
    """A property of a JSON value; SQL null where there is none, or it is null."""
    value = holder.op("->", return_type=JSONB())(cast(literal(name, Text), Text))
    return func.nullif(value, as_json(None), type_=JSONB())


def dated(declared: Type) -> bool:
    """Whether Python reads moments or dates in a value of this type."""
    inner = [t for _, t in declared.fields] + ([declared.item] if declared.item is not None else [])
    return declared.kind in ("date", "datetime") or any(dated(t) for t in inner)


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads syntax trees in the light of `names`."""

    names: Names

    def truth(self, node: nodes.Node) -> Truth:
        """Whether what the node says counts as true."""
        match node:
            case nodes.And():
                return every([self.truth(node.left), self.truth(node.right)])
            case nodes.Or():
                return either([self.truth(node.left), self.truth(node.right)])
            case nodes.Not():
                return opposite(self.truth(node.node))
            case nodes.CondExpr():
                test = self.truth(node.test)
                other = FALSE if node.expr2 is None else self.truth(node.expr2)
                return either([every([test, self.truth(node.expr1)]), every([opposite(test), other])])
            case nodes.Compare():
                return self._compare(node)
            case nodes.Test():
                return tested(node.name, self.value(node.node))
            case nodes.Call() if isinstance(node.node, nodes.Name) and node.node.name == "segment":
                named = node.args[0]
                return self.names.segment(str(named.value)) if isinstance(named, nodes.Const) else UNKNOWN
        return holds(self.value(node))

    def _compare(self, node: nodes.Compare) -> Truth:
        parts, left = [], self.value(node.expr)
        for one in node.ops:
            right = self.value(one.expr)
            parts.append(compared(one.op, left, right))
            left = right
        return every(parts)

    def value(self, node: nodes.Node) -> Value | None:
        """What the node says; None where SQL can't say."""
        match node:
            case nodes.Const():
                return Known(node.value)
            case nodes.List() | nodes.Tuple():
                items = [self.value(item) for item in node.items]
                known = [item.value for item in items if isinstance(item, Known)]
                return Known(known) if len(known) == len(items) else None
            case nodes.Name() if node.name == "now":
                return self.names.away(Duration())
            case nodes.Getattr() if isinstance(node.node, nodes.Name):
                return self.names.named(node.node.name, node.attr)
            case nodes.Getattr():
                return self._property(node.node, node.attr)
            case nodes.Getitem() if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
                if isinstance(node.node, nodes.Name):
                    return self.names.named(node.node.name, node.arg.value)
                return self._property(node.node, node.arg.value)
            case nodes.Neg():
                inner = self.value(node.node)
                return Known(negated(inner.value)) if isinstance(inner, Known) and sayable(inner.value) else None
            case nodes.Add() | nodes.Sub():
                return self._shifted(node)
            case nodes.Filter():
                return self._filtered(node)
        return None

    def _property(self, holder: nodes.Node, name: str) -> Value | None:
        value = self.value(holder)
        return Stored(inside(value.json, name)) if isinstance(value, Stored) else None

    def _shifted(self, node: nodes.Add | nodes.Sub) -> Value | None:
        """`now - days(30)` and the like."""
        start, by = node.left, _span(node.right)
        if not isinstance(start, nodes.Name) or start.name != "now" or by is None:
            return None
        return self.names.away(Duration(-by.months, -by.days, -by.seconds) if isinstance(node, nodes.Sub) else by)

    def _filtered(self, node: nodes.Filter) -> Value | None:
        """`x | default(constant)`."""
        if node.name not in ("default", "d") or node.node is None or node.kwargs or len(node.args) != 1:
            return None
        value, other = self.value(node.node), self.value(node.args[0])
        if not isinstance(other, Known) or not sayable(other.value):
            return None
        if isinstance(value, Known):
            return other if value.value is None else value
        if other.value is None:
            return value
        if isinstance(value, Stored):
            return Stored(func.coalesce(value.json, as_json(other.value), type_=JSONB()))
        if isinstance(value, Amount) and is_number(other.value):
            number = func.coalesce(value.number, numeric(other.value))
            slack = None if value.slack is None else func.coalesce(value.slack, numeric(0))
            return replace(value, number=number, slack=slack)
        return None


def _span(node: nodes.Node) -> Duration | None:
    """`days(n)` or `hours(n)` of a constant."""
    if not isinstance(node, nodes.Call) or not isinstance(node.node, nodes.Name) or len(node.args) != 1:
        return None
    amount = node.args[0]
    if not isinstance(amount, nodes.Const):
        return None
    made = {"days": filters.days, "hours": filters.hours}.get(node.node.name)
    return made(amount.value) if made is not None else None


def constant(values: Mapping[str, Any] | None, name: str) -> Value | None:
    """A value of a record that is the same for everybody; missing where there is no record."""
    value = None if values is None else values.get(name)
    return Known(value) if value is None or sayable(value) else None
