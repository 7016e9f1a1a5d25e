"""Conditions, moments and computed values: text compiled once, evaluated over one customer's `Context`.

The language is Jinja's expression syntax with the meanings of `operators.py`; `checking.py` says before a deploy what is
wrong with one. Evaluation raises nothing but ExpressionError, and that only on results too large to be meant.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, reduce
from operator import attrgetter, or_

from jinja2 import nodes

from engine.authoring.closures import Compiler, Eval, nearest
from engine.authoring.expression_syntax import ExpressionError, parse_expression, parse_template
from engine.authoring.operators import joined, json_of, moment_of, text_of
from engine.core.wire import Json

__all__ = [
    "NAMES",
    "Context",
    "Expression",
    "ExpressionError",
    "PlacedError",
    "Uses",
    "Value",
    "compile_expression",
    "compile_value",
]

NAMES = ("customer", "entry", "event", "vars", "now", "secrets")
"""What a condition can talk about."""

Path = tuple[str | int, ...]
"""Keys and indexes that lead into a JSON value."""


def _in_no_segment(name: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Context:
    """What an expression sees. Values are JSON, plus `datetime` and `date` where tracking.yaml declares them.

    `customer`: attributes and `stage` · `entry`, `event`: properties by name, with `occurred_at`; None where there is none ·
    `segments`: whether the customer is in a segment · `zone`: the customer's IANA zone · `secrets`: only for `call` ·
    `locale`: how dates and numbers are written, "" as in English."""

    customer: Mapping[str, object]
    now: datetime
    entry: Mapping[str, object] | None = None
    event: Mapping[str, object] | None = None
    vars: Mapping[str, object] = field(default_factory=dict)
    segments: Callable[[str], bool] = _in_no_segment
    zone: str = "UTC"
    secrets: Mapping[str, object] = field(default_factory=dict, repr=False)
    locale: str = ""


@dataclass(frozen=True, slots=True)
class Uses:
    """What an expression reads. In the sets, "*" stands for the whole (`customer | tojson`, `customer[x]`)."""

    customer: frozenset[str] = frozenset()
    entry_properties: frozenset[str] = frozenset()
    event_properties: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    now: bool = False

    @property
    def entry(self) -> bool:
        """Whether it reads the event that enrolled."""
        return bool(self.entry_properties)

    @property
    def event(self) -> bool:
        """Whether it reads the event being looked at."""
        return bool(self.event_properties)

    @property
    def vars(self) -> bool:
        """Whether it reads variables."""
        return bool(self.variables)

    def __or__(self, other: Uses) -> Uses:
        """What either reads."""
        return Uses(
            self.customer | other.customer,
            self.entry_properties | other.entry_properties,
            self.event_properties | other.event_properties,
            self.variables | other.variables,
            self.secrets | other.secrets,
            self.segments | other.segments,
            self.now or other.now,
        )


class _Conditions(Compiler):
    """Names of conditions are fields of the Context."""

    def name(self, node: nodes.Name) -> Eval:
        if node.name not in NAMES:
            raise ExpressionError(f"`{node.name}` is not known here", node.lineno, unknown_hint(node.name), "SJ230")
        return attrgetter(node.name)

    def getattr(self, node: nodes.Getattr) -> Eval:
        inner, name = node.node, node.attr
        if isinstance(inner, nodes.Name) and inner.name in ("customer", "vars", "secrets"):
            holder = attrgetter(inner.name)
            return lambda f: holder(f).get(name)
        if isinstance(inner, nodes.Name) and inner.name in ("event", "entry"):
            record = attrgetter(inner.name)
            return lambda f: None if (r := record(f)) is None else r.get(name)
        return super().getattr(node)


def unknown_hint(name: str) -> str:
    """How to mend an unknown name."""
    if name in ("and", "or", "AND", "OR", "NOT", "IN"):
        return f"write `{name.lower()}`"
    return (
        nearest(name, NAMES)
        or f'a text stands in quotes: "{name}"; a property needs its owner: `customer.{name}`, `event.{name}`'
    )


def uses_of(tree: nodes.Node) -> Uses:
    """What the expression with this syntax tree reads."""
    read: dict[str, set[str]] = {name: set() for name in NAMES}
    segments: set[str] = set()
    todo: list[nodes.Node] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name):
            read.setdefault(node.node.name, set()).add(node.attr)
            continue
        if isinstance(node, nodes.Getitem) and isinstance(node.node, nodes.Name) and isinstance(node.arg, nodes.Const):
            read.setdefault(node.node.name, set()).add(str(node.arg.value))
            continue
        if isinstance(node, nodes.Name):
            read.setdefault(node.name, set()).add("*")
        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name):
            if node.node.name == "segment" and node.args and isinstance(node.args[0], nodes.Const):
                segments.add(str(node.args[0].value))
            todo.extend(node.args)
            continue
        todo.extend(node.iter_child_nodes())
    sets = {name: frozenset(found) for name, found in read.items()}
    return Uses(
        sets["customer"], sets["entry"], sets["event"], sets["vars"], sets["secrets"], frozenset(segments), bool(sets["now"])
    )


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled expression. `tree`: its syntax, whose `lineno` are offsets in `source`, for `checking`."""

    source: str
    uses: Uses
    tree: nodes.Expr = field(repr=False)
    _run: Eval = field(repr=False)

    def evaluate(self, ctx: Context) -> object:
        """The value: JSON, `date`, `datetime` (UTC), `Duration`, or None for missing. Raises ExpressionError on one too large."""
        return self._run(ctx)

    def test(self, ctx: Context) -> bool:
        """Whether the condition holds. Missing, empty, zero and false don't."""
        return bool(self._run(ctx))

    def moment(self, ctx: Context) -> datetime | None:
        """The moment (UTC) it gives: a date is its local midnight, ISO text is read; None where there is none."""
        return moment_of(self._run(ctx), ctx.zone)


@lru_cache(maxsize=8192)
def compile_expression(source: str) -> Expression:
    """The expression that `source` writes. Raises ExpressionError, with the place, on what isn't part of the language."""
    tree = parse_expression(source)
    try:
        return Expression(source, uses_of(tree), tree, _Conditions().compile(tree))
    except RecursionError:
        raise ExpressionError("nested too deeply") from None


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """JSON whose texts may hold `{{ }}`. `expressions`: those in it, each with the path of keys to its text; their offsets
    count in that text."""

    expressions: tuple[tuple[Path, Expression], ...]
    _run: Eval = field(repr=False)

    @property
    def uses(self) -> Uses:
        """What all its expressions read."""
        return reduce(or_, (expression.uses for _, expression in self.expressions), Uses())

    def evaluate(self, ctx: Context) -> Json:
        """The JSON with every `{{ }}` filled in: a lone one keeps its type, moments become ISO text, missing is null (inside a
        text: empty). Raises ExpressionError on results too large."""
        return self._run(ctx)


class PlacedError(ExpressionError):
    """A `{{ }}` in a text inside JSON is wrong: `path` leads to the text, `offset` counts in it."""

    def __init__(self, error: ExpressionError, path: Path) -> None:
        super().__init__(error.message, error.offset, error.hint, error.code)
        self.path = path


def compile_value(body: Json) -> Value:
    """The value that `body` writes. Raises PlacedError."""
    return _compile_value(json.dumps(body, ensure_ascii=False))


@lru_cache(maxsize=4096)
def _compile_value(written: str) -> Value:
    found: list[tuple[Path, Expression]] = []
    run = _value(json.loads(written), (), found)
    return Value(tuple(found), run)


def _value(body: Json, path: Path, found: list[tuple[Path, Expression]]) -> Eval:
    if isinstance(body, str):
        try:
            return _text(body, path, found)
        except ExpressionError as error:
            raise PlacedError(error, path) from None
    if isinstance(body, dict):
        members = [(key, _value(v, (*path, key), found)) for key, v in body.items()]
        return lambda f: {key: run(f) for key, run in members}
    if isinstance(body, list):
        items = [_value(v, (*path, i), found) for i, v in enumerate(body)]
        return lambda f: [run(f) for run in items]
    return lambda f: body


def _text(body: str, path: Path, found: list[tuple[Path, Expression]]) -> Eval:
    if "{{" not in body and "{%" not in body:
        return lambda f: body
    parts: list[Eval] = []
    holes = 0
    for output in parse_template(body).body:
        if not isinstance(output, nodes.Output):
            raise ExpressionError("only `{{ }}` can stand here, no `{% %}`", output.lineno, "write `{{ a if condition else b }}`")
        for node in output.nodes:
            run = _Conditions().compile(node)
            parts.append(run)
            if not isinstance(node, nodes.TemplateData):
                holes += 1
                found.append((path, Expression(body, uses_of(node), node, run)))
    if len(parts) == holes == 1:
        return lambda f: json_of(parts[0](f))
    return lambda f: joined([text_of(run(f), f.zone) for run in parts])
