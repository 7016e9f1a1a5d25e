"""Turns a parsed expression into nested Python closures, once; running one costs a few calls and reaches nothing but its frame.

This is a whitelist: a node that isn't handled here isn't part of the language. `expressions` gives names to conditions,
`statements` to templates; both share everything else, so that a condition means the same in either.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Protocol, cast

from jinja2 import nodes

from engine.authoring import filters
from engine.authoring.expression_syntax import ExpressionError
from engine.authoring.operators import (
    arithmetic,
    built,
    contains,
    equal,
    is_number,
    joined,
    minus,
    negated,
    ordered,
    plus,
    property_of,
    slice_of,
    text_of,
)


class Frame(Protocol):
    """What every evaluation has at hand: the clock, the customer's zone, the language, and who is in which segment."""

    @property
    def now(self) -> datetime: ...

    @property
    def zone(self) -> str: ...

    @property
    def locale(self) -> str: ...

    @property
    def segments(self) -> Callable[[str], bool]: ...


Eval = Callable[..., object]
"""Takes a Frame (or what the compiler's names need), gives a value; None is missing."""

FUNCTIONS = {"segment": 1, "days": 1, "hours": 1, "any_item": 3}
"""The functions of the language and how many arguments each takes."""

_ORDERS: dict[str, Callable[[int, int], bool]] = {
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
}
_MATH = {nodes.Mul: "*", nodes.Div: "/", nodes.FloorDiv: "//", nodes.Mod: "%", nodes.Pow: "**"}


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the known word most like `name`; empty where none is like it."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else ""


class Compiler:
    """Compiles expressions; a subclass says what names mean and may weigh results (`weighed`)."""

    def name(self, node: nodes.Name) -> Eval:
        """The closure of a name. Raises ExpressionError on one that isn't known."""
        raise ExpressionError(f"`{node.name}` is not known", node.lineno, code="SJ230")

    def special_call(self, node: nodes.Call, name: str) -> Eval | None:
        """The closure of a function that only this kind of text has; None where it has none such."""
        return None

    def weighed(self, made: Eval) -> Eval:
        """`made`, with its result counted against a budget where there is one."""
        return made

    def operand(self, node: nodes.Node) -> Eval:
        """The closure of what is looked at as a whole, at all depths: compared, filtered."""
        return self.compile(node)

    def compile(self, node: nodes.Node) -> Eval:
        """The closure of `node`. Raises ExpressionError on what isn't part of the language."""
        method = _METHODS.get(type(node))
        if method is None:
            raise ExpressionError(f"{type(node).__name__.lower()} is not part of the language", node.lineno or 0)
        return method(self, node)

    def constant(self, node: nodes.Const) -> Eval:
        value = node.value
        if isinstance(value, int) and value.bit_length() > 64:
            raise ExpressionError("the number is too large", node.lineno)
        if isinstance(value, complex) or value is ...:
            raise ExpressionError("this is not a value", node.lineno)
        return lambda f: value

    def text(self, node: nodes.TemplateData) -> Eval:
        data = node.data
        return lambda f: data

    def getattr(self, node: nodes.Getattr) -> Eval:
        holder, name = self.compile(node.node), node.attr

        def get(f: Frame) -> object:
            value = holder(f)
            return value.get(name) if type(value) is dict else property_of(value, name)

        return self.weighed(get)

    def getitem(self, node: nodes.Getitem) -> Eval:
        holder = self.compile(node.node)
        if isinstance(node.arg, nodes.Slice):
            if node.arg.step is not None:
                raise ExpressionError("a slice has a start and an end, no step", node.lineno)
            start = self.compile(node.arg.start) if node.arg.start else _nothing
            stop = self.compile(node.arg.stop) if node.arg.stop else _nothing
            return self.weighed(lambda f: slice_of(holder(f), start(f), stop(f)))
        key = self.compile(node.arg)
        return self.weighed(lambda f: property_of(holder(f), key(f)))

    def logic_and(self, node: nodes.And) -> Eval:
        left, right = self.compile(node.left), self.compile(node.right)
        return lambda f: left(f) and right(f)

    def logic_or(self, node: nodes.Or) -> Eval:
        left, right = self.compile(node.left), self.compile(node.right)
        return lambda f: left(f) or right(f)

    def logic_not(self, node: nodes.Not) -> Eval:
        inner = self.compile(node.node)
        return lambda f: not inner(f)

    def choice(self, node: nodes.CondExpr) -> Eval:
        test, then = self.compile(node.test), self.compile(node.expr1)
        other = self.compile(node.expr2) if node.expr2 is not None else _nothing
        return lambda f: then(f) if test(f) else other(f)

    def compare(self, node: nodes.Compare) -> Eval:
        first = self.operand(node.expr)
        if len(node.ops) == 1:
            return _comparison(node.ops[0].op, first, self.operand(node.ops[0].expr))
        rest = [(_judged(op.op), self.operand(op.expr)) for op in node.ops]

        def chain(f: Frame) -> bool:
            left = first(f)
            for judge, operand in rest:
                right = operand(f)
                if not judge(left, right, f.zone):
                    return False
                left = right
            return True

        return chain

    def add(self, node: nodes.Add) -> Eval:
        left, right = self.compile(node.left), self.compile(node.right)
        return self.weighed(lambda f: plus(left(f), right(f), f.zone))

    def sub(self, node: nodes.Sub) -> Eval:
        left, right = self.compile(node.left), self.compile(node.right)
        return lambda f: minus(left(f), right(f), f.zone)

    def math(self, node: nodes.BinExpr) -> Eval:
        left, right, sign = self.compile(node.left), self.compile(node.right), _MATH[type(node)]
        return lambda f: arithmetic(sign, left(f), right(f))

    def negative(self, node: nodes.Neg) -> Eval:
        inner = self.compile(node.node)
        return lambda f: negated(inner(f))

    def positive(self, node: nodes.Pos) -> Eval:
        inner = self.compile(node.node)
        return lambda f: v if is_number(v := inner(f)) else None

    def concat(self, node: nodes.Concat) -> Eval:
        parts = [self.compile(n) for n in node.nodes]
        return self.weighed(lambda f: joined([text_of(p(f), f.zone) for p in parts]))

    def list(self, node: nodes.List | nodes.Tuple) -> Eval:
        parts = [self.compile(n) for n in node.items]
        if all(isinstance(n, nodes.Const) for n in node.items):
            fixed = [n.value for n in node.items if isinstance(n, nodes.Const)]
            return self.weighed(lambda f: fixed)
        return self.weighed(lambda f: built([p(f) for p in parts]))

    def dict(self, node: nodes.Dict) -> Eval:
        pairs = [(self.compile(p.key), self.compile(p.value)) for p in node.items]
        return self.weighed(lambda f: built({text_of(k(f), f.zone): v(f) for k, v in pairs}))

    def filter(self, node: nodes.Filter) -> Eval:
        found = filters.FILTERS.get(node.name)
        if found is None:
            raise ExpressionError(f"there is no filter `{node.name}`", node.lineno, nearest(node.name, filters.FILTERS), "SJ233")
        if node.node is None or node.dyn_args or node.dyn_kwargs:
            raise ExpressionError(f"`{node.name}` can't be used like this", node.lineno)
        keywords = cast("list[nodes.Keyword]", node.kwargs)
        if problem := found.accepts(len(node.args), tuple(k.key for k in keywords)):
            raise ExpressionError(f"`{node.name}`: {problem}", node.lineno)
        value, call = self.operand(node.node), found.call
        args = [self.compile(a) for a in node.args]
        named = [(k.key, self.compile(k.value)) for k in keywords]
        if found.local and all(name != "locale" for name, _ in named):
            named.append(("locale", lambda f: f.locale))

        def run(f: Frame) -> object:
            given = value(f)
            try:
                return call(given, f.zone, *[a(f) for a in args], **{k: v(f) for k, v in named})
            except ExpressionError:
                raise
            except (TypeError, ValueError, ArithmeticError, LookupError, RecursionError):
                return None  # a filter that makes no sense of its value gives a missing one

        return self.weighed(run)

    def test(self, node: nodes.Test) -> Eval:
        found = filters.TESTS.get(node.name)
        if found is None:
            raise ExpressionError(f"there is no test `is {node.name}`", node.lineno, nearest(node.name, filters.TESTS), "SJ233")
        if node.args or node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise ExpressionError(f"`is {node.name}` takes no arguments", node.lineno)
        inner = self.compile(node.node)
        return lambda f: found(inner(f))

    def call(self, node: nodes.Call) -> Eval:
        if not isinstance(node.node, nodes.Name):
            called = f"`{node.node.attr}`" if isinstance(node.node, nodes.Getattr) else "this"
            raise ExpressionError(
                f"{called} is a value and can't be called", node.lineno, "values have no methods; use a filter: `x | lower`"
            )
        name = node.node.name
        if node.dyn_args or node.dyn_kwargs:
            raise ExpressionError(f"`{name}` takes plain arguments only", node.lineno)
        if (special := self.special_call(node, name)) is not None:
            return special
        if node.kwargs:
            raise ExpressionError(f"`{name}` takes plain arguments only", node.lineno)
        if name not in FUNCTIONS:
            hint = "write `now` without brackets" if name == "now" else nearest(name, FUNCTIONS)
            raise ExpressionError(f"there is no function `{name}`", node.node.lineno, hint, "SJ233")
        if len(node.args) != FUNCTIONS[name]:
            raise ExpressionError(f"`{name}` takes {FUNCTIONS[name]} argument(s), not {len(node.args)}", node.node.lineno)
        return self.function(name, node)

    def function(self, name: str, node: nodes.Call) -> Eval:
        if name == "segment":
            if not isinstance(node.args[0], nodes.Const) or not isinstance(node.args[0].value, str):
                raise ExpressionError("`segment` needs a name in quotes", node.args[0].lineno, 'write `segment("vip")`')
            segment = node.args[0].value
            return lambda f: bool(f.segments(segment))
        first = self.compile(node.args[0])
        if name == "any_item":
            field, value = self.compile(node.args[1]), self.compile(node.args[2])
            return self.weighed(lambda f: filters.any_item(first(f), field(f), value(f), f.zone))
        make = filters.days if name == "days" else filters.hours
        return lambda f: make(first(f))


def _nothing(f: Frame) -> object:
    return None


def _comparison(op: str, left: Eval, right: Eval) -> Eval:
    """One comparison, with the common ones unrolled."""
    if op == "eq":
        return lambda f: equal(left(f), right(f), f.zone)
    if op == "ne":
        return lambda f: not equal(left(f), right(f), f.zone)
    judge = _judged(op)
    return lambda f: judge(left(f), right(f), f.zone)


def _judged(op: str) -> Callable[[object, object, str], bool]:
    if op == "eq":
        return equal
    if op == "ne":
        return lambda a, b, zone: not equal(a, b, zone)
    if op == "in":
        return lambda a, b, zone: contains(b, a, zone)
    if op == "notin":
        return lambda a, b, zone: not contains(b, a, zone)
    ordering = _ORDERS[op]
    return lambda a, b, zone: (order := ordered(a, b, zone)) is not None and ordering(order, 0)


_METHODS: dict[type, Callable[[Any, Any], Eval]] = {  # each is called with its own type of node only
    nodes.Const: lambda c, n: c.constant(n),
    nodes.TemplateData: lambda c, n: c.text(n),
    nodes.Name: lambda c, n: c.name(n),
    nodes.Getattr: lambda c, n: c.getattr(n),
    nodes.Getitem: lambda c, n: c.getitem(n),
    nodes.And: lambda c, n: c.logic_and(n),
    nodes.Or: lambda c, n: c.logic_or(n),
    nodes.Not: lambda c, n: c.logic_not(n),
    nodes.CondExpr: lambda c, n: c.choice(n),
    nodes.Compare: lambda c, n: c.compare(n),
    nodes.Add: lambda c, n: c.add(n),
    nodes.Sub: lambda c, n: c.sub(n),
    **dict.fromkeys(_MATH, lambda c, n: c.math(n)),
    nodes.Neg: lambda c, n: c.negative(n),
    nodes.Pos: lambda c, n: c.positive(n),
    nodes.Concat: lambda c, n: c.concat(n),
    nodes.List: lambda c, n: c.list(n),
    nodes.Tuple: lambda c, n: c.list(n),
    nodes.Dict: lambda c, n: c.dict(n),
    nodes.Filter: lambda c, n: c.filter(n),
    nodes.Test: lambda c, n: c.test(n),
    nodes.Call: lambda c, n: c.call(n),
}
