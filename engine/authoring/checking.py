"""Types of expressions: what is wrong with a condition before anybody is enrolled. `findings.py` says what goes together.

Findings never stop at the first. Codes: SJ230 unknown name, SJ231 unknown property, SJ212 unknown segment, SJ232 not
available here; SJ330 not in the enum, SJ331 no condition, SJ332 can't be compared, SJ333 optional in an ordered comparison
(warning), SJ334 can't be calculated, SJ335 of the wrong type for its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from jinja2 import nodes

from engine.authoring.closures import nearest
from engine.authoring.expressions import Expression, ExpressionError, compile_expression, unknown_hint
from engine.authoring.filters import FILTERS
from engine.authoring.findings import (
    BOOLEAN,
    DATES,
    NUMBERS,
    SURELY,
    TEXT,
    WORDS,
    Finding,
    Scope,
    comparable,
    constant_type,
    described,
    known_words,
    mend,
    path_of,
    quoted,
    start_of,
)
from engine.authoring.types import ANY, Kind, Type

__all__ = ["Checker", "Expect", "Finding", "Scope", "check", "check_source"]

Expect = Literal["condition", "moment", "number", "text", "any"]

_EXPECTED: Mapping[str, tuple[Kind, ...]] = {
    "condition": ("boolean",),
    "moment": ("date", "datetime"),
    "number": ("number", "integer"),
    "text": ("string", "enum", "number", "integer", "boolean", "date", "datetime"),
}
_SIGNS = {"eq": "==", "ne": "!=", "lt": "<", "lteq": "<=", "gt": ">", "gteq": ">=", "in": "in", "notin": "not in"}


def check_source(source: str, scope: Scope, expect: Expect = "any") -> list[Finding]:
    """What is wrong with the expression that `source` writes: one finding where it can't be compiled, else those of `check`."""
    try:
        expression = compile_expression(source)
    except ExpressionError as error:
        return [Finding(error.code, error.message, error.hint, error.offset, _word_at(source, error.offset))]
    return check(expression, scope, expect)


def check(expression: Expression, scope: Scope, expect: Expect = "any") -> list[Finding]:
    """What is wrong with the expression in this scope, in order of place. `expect`: what its place needs."""
    checker = Checker(expression.source, scope)
    checker.guards(expression.tree)
    found = checker.infer(expression.tree)
    checker.fits(expression.tree, found, expect)
    return sorted(checker.findings, key=lambda f: f.offset)


def _word_at(source: str, offset: int) -> int:
    """How many characters to underline."""
    word = re.match(r"\w+", source[offset:])
    return len(word[0]) if word else 1


class Checker:
    """Infers types bottom-up and collects findings. `lenient`: in templates, where empty values are everyday."""

    def __init__(self, source: str, scope: Scope, lenient: bool = False) -> None:
        self.source, self.scope, self.lenient = source, scope, lenient
        self.findings: list[Finding] = []
        self.guarded: set[str] = set()

    def say(
        self,
        code: str,
        node: nodes.Node,
        message: str,
        hint: str = "",
        *,
        text: str = "",
        level: Literal["error", "warning"] = "error",
    ) -> None:
        """Records a finding at a node; `text` is the word in its source to underline."""
        offset = start_of(node)
        length = len(path_of(node)) or 1
        if text and (at := self.source.find(text, node.lineno or 0)) >= 0:
            offset, length = at, len(text)
        elif isinstance(node, nodes.Const) and isinstance(node.value, str):
            length = len(node.value) + 2
        self.findings.append(Finding(code, message, hint, offset, length, level))

    def guards(self, tree: nodes.Node) -> None:
        """Notes every path that the expression asks `is none` or `is defined` about."""
        tests = [tree] if isinstance(tree, nodes.Test) else []
        for test in [*tests, *tree.find_all(nodes.Test)]:
            self.guarded.add(path_of(test.node))

    def fits(self, node: nodes.Node, found: Type, expect: Expect) -> None:
        """Records where the whole isn't what its place needs."""
        if expect == "condition":
            self.condition(node, found)
        elif expect != "any" and found.kind != "any" and found.kind not in _EXPECTED[expect]:
            wanted = {"moment": "a date or a moment", "number": "a number", "text": "a text"}[expect]
            hint = "declare it as date or datetime in tracking.yaml" if expect == "moment" and found.kind == "string" else ""
            self.say("SJ335", node, f"this is {described(found)}, and {wanted} is needed here", hint)

    def condition(self, node: nodes.Node, found: Type, other: nodes.Node | None = None) -> None:
        """Records where a part of a condition isn't true or false."""
        if found.kind in ("boolean", "any") or self.lenient:
            return
        if isinstance(other, nodes.Compare) and other.ops[0].op == "eq" and isinstance(node, nodes.Const):
            first = other.ops[0].expr
            words = ", ".join(quoted(c.value) for c in (first, node) if isinstance(c, nodes.Const))
            hint = f"write `{path_of(other.expr) or 'x'} in [{words}]`"
        elif found.kind in NUMBERS:
            hint = f"compare it: `{path_of(node) or 'x'} > 0`"
        else:
            hint = f"ask something about it: `{path_of(node) or 'x'} is not none`"
        self.say("SJ331", node, f"this is {described(found)}, not a condition", hint)

    def infer(self, node: nodes.Node | None) -> Type:
        """The type of a node; ANY where nothing is known."""
        if isinstance(node, nodes.Const):
            return constant_type(node.value)
        if isinstance(node, nodes.Name):
            return self.name(node)
        if isinstance(node, (nodes.Getattr, nodes.Getitem)):
            return self.property(node)
        if isinstance(node, (nodes.And, nodes.Or)):
            left, right = self.infer(node.left), self.infer(node.right)
            self.condition(node.left, left, node.right)
            self.condition(node.right, right, node.left)
            return BOOLEAN if left.kind == right.kind == "boolean" else ANY
        if isinstance(node, nodes.Not):
            self.condition(node.node, self.infer(node.node))
            return BOOLEAN
        if isinstance(node, nodes.Compare):
            return self.comparison(node)
        if isinstance(node, nodes.Filter):
            return self.filter(node)
        if isinstance(node, nodes.Call):
            return self.call(node)
        if isinstance(node, nodes.BinExpr):
            return self.arithmetic(node)
        if isinstance(node, nodes.CondExpr):
            self.condition(node.test, self.infer(node.test))
            then, other = self.infer(node.expr1), self.infer(node.expr2)
            return then if then.kind == other.kind and node.expr2 is not None else ANY
        inner = [self.infer(child) for child in node.iter_child_nodes()] if node is not None else []
        if isinstance(node, nodes.Test):
            return BOOLEAN
        if isinstance(node, (nodes.Neg, nodes.Pos)):
            return inner[0]
        if isinstance(node, (nodes.Concat, nodes.TemplateData)):
            return TEXT
        if isinstance(node, (nodes.List, nodes.Tuple)):
            kinds = {t.kind for t in inner}
            return Type("list", item=inner[0] if len(kinds) == 1 else None, optional=False)
        return Type("object", optional=False) if isinstance(node, nodes.Dict) else ANY

    def name(self, node: nodes.Name) -> Type:
        if (found := self.scope.names.get(node.name)) is not None:
            return found
        if (reason := self.scope.absent.get(node.name)) is not None:
            self.say("SJ232", node, f"`{node.name}` is not available here: {reason}", self.instead(node.name))
        else:
            hint = nearest(node.name, self.scope.names) or unknown_hint(node.name)
            self.say("SJ230", node, f"`{node.name}` is not known here", hint)
        return ANY

    def instead(self, name: str) -> str:
        """What to write where `name` isn't there, or ""."""
        if name == "event" and "entry" in self.scope.names:
            return "the event that the journey began with is `entry`"
        return ""

    def property(self, node: nodes.Getattr | nodes.Getitem) -> Type:
        holder = self.infer(node.node)
        if isinstance(node, nodes.Getattr):
            name: object = node.attr
        else:
            self.infer(node.arg)
            name = node.arg.value if isinstance(node.arg, nodes.Const) else None
        if holder.kind == "list" and not isinstance(name, str):
            return holder if isinstance(getattr(node, "arg", None), nodes.Slice) else holder.item or ANY
        if not isinstance(name, str) or (holder.kind in ("any", "string") and not isinstance(node, nodes.Getattr)):
            return ANY
        owner = path_of(node.node)
        if holder.kind not in ("object", "any"):
            hint = f"did you mean `{owner}[0].{name}`, or `any_item`?" if holder.kind == "list" else ""
            self.say("SJ231", node, f"`{owner}` is {described(holder)} and has no properties", hint, text=name)
            return ANY
        if (found := holder.field(name)) is None and owner in self.scope.open_names:
            return ANY
        if found is None:
            known = [n for n, _ in holder.fields]
            self.say("SJ231", node, f"`{owner}` has no `{name}`", nearest(name, known) or known_words(known), text=name)
            return ANY
        return found

    def comparison(self, node: nodes.Compare) -> Type:
        left_node, left = node.expr, self.infer(node.expr)
        for operand in node.ops:
            right = self.infer(operand.expr)
            if operand.op in ("in", "notin"):
                self.membership(left_node, left, operand.expr, right)
            elif operand.op in ("eq", "ne"):
                self.equality(left_node, left, operand.expr, right, _SIGNS[operand.op])
            else:
                self.order(left_node, left, operand.expr, right, _SIGNS[operand.op])
            left_node, left = operand.expr, right
        return BOOLEAN

    def equality(self, one: nodes.Node, left: Type, other: nodes.Node, right: Type, sign: str) -> None:
        for enum, word in ((left, other), (right, one)):
            if enum.kind == "enum" and isinstance(word, nodes.Const) and isinstance(word.value, str):
                if word.value not in enum.values:
                    hint = nearest(word.value, enum.values) or f"it is one of {', '.join(enum.values)}"
                    self.say("SJ330", word, f"{quoted(word.value)} is not one of its values", hint)
                return
        if not comparable(one, left, other, right):
            self.say(
                "SJ332",
                one,
                f"`{sign}` compares {described(left)} with {described(right)}, which are never equal",
                mend(left, right, other),
            )

    def membership(self, one: nodes.Node, left: Type, holder: nodes.Node, right: Type) -> None:
        if isinstance(holder, (nodes.List, nodes.Tuple)):
            for item in holder.items:
                if isinstance(item, nodes.Const):
                    self.equality(one, left, item, constant_type(item.value), "in")
        elif right.kind == "list" and right.item is not None:
            if not comparable(one, left, holder, right.item):
                self.say("SJ332", one, f"{described(left)} is never in a list of {right.item.describe()}")
        elif right.kind not in ("list", "any", "object", *WORDS):
            self.say("SJ332", holder, f"`in` needs a list, and this is {described(right)}", "to compare, write `==`")

    def order(self, one: nodes.Node, left: Type, other: nodes.Node, right: Type, sign: str) -> None:
        ordered_kinds = (*NUMBERS, *DATES, "string", "any")
        if not comparable(one, left, other, right) or not {left.kind, right.kind} <= set(ordered_kinds):
            self.say("SJ332", one, f"`{sign}` can't compare {described(left)} with {described(right)}", mend(left, right, other))
            return
        for node, found in ((one, left), (other, right)):
            path = path_of(node)
            if found.optional and found.kind != "any" and path and path not in self.guarded and not self.lenient:
                hint = f"say what then: `{path} | default(…)`, or `{path} is none`"
                self.guarded.add(path)  # once is enough
                self.say("SJ333", node, f"`{path}` may be missing; then this is false", hint, level="warning")

    def filter(self, node: nodes.Filter) -> Type:
        inner = self.infer(node.node)
        args = [self.infer(a) for a in node.args]
        for named in node.kwargs:
            self.infer(named.value)
        if node.name in ("default", "d"):
            other = args[0] if args else TEXT
            return replace(inner, optional=False) if inner.kind in (other.kind, "number", "enum") else SURELY
        if node.name in ("first", "last", "min", "max"):
            return inner.item or ANY if inner.kind == "list" else ANY
        if node.name == "reverse":
            return inner
        found = FILTERS.get(node.name)
        never_missing = node.name in ("join", "items", "list", "map", "sort", "unique", "sum")
        return Type(found.gives if found else "any", optional=inner.optional and not never_missing)

    def call(self, node: nodes.Call) -> Type:
        args = [self.infer(a) for a in node.args]
        for named in node.kwargs:
            self.infer(named.value)
        name = node.node.name if isinstance(node.node, nodes.Name) else ""
        if name == "segment" and self.scope.segments is not None:
            word = node.args[0]
            if isinstance(word, nodes.Const) and word.value not in self.scope.segments:
                hint = nearest(str(word.value), self.scope.segments) or known_words(sorted(self.scope.segments))
                self.say("SJ212", word, f"there is no segment {quoted(word.value)}", hint)
        if name == "any_item" and args[0].kind not in ("list", "any"):
            self.say("SJ334", node.args[0], f"`any_item` needs a list, and this is {described(args[0])}")
        if name in ("days", "hours"):
            if args[0].kind not in ("any", *NUMBERS):
                self.say("SJ334", node.args[0], f"`{name}` needs a number, and this is {described(args[0])}")
            return replace(ANY, optional=args[0].optional)
        return BOOLEAN if name in ("segment", "any_item") else ANY

    def arithmetic(self, node: nodes.BinExpr) -> Type:
        left, right = self.infer(node.left), self.infer(node.right)
        optional = left.optional or right.optional
        if left.kind in NUMBERS and right.kind in NUMBERS:
            whole = left.kind == right.kind == "integer" and not isinstance(node, nodes.Div)
            return Type("integer" if whole else "number", optional=optional)
        if "any" in (left.kind, right.kind):
            moved = next((t for t in (left, right) if t.kind in DATES), None)
            return (
                replace(moved, kind="datetime", optional=optional) if moved and isinstance(node, (nodes.Add, nodes.Sub)) else ANY
            )
        if isinstance(node, nodes.Add) and left.kind in ("string", "list") and left.kind == right.kind:
            return left
        if isinstance(node, nodes.Sub) and left.kind in DATES and right.kind in DATES:
            return replace(ANY, optional=optional)
        hint = "write `+ days(3)`" if left.kind in DATES and right.kind in NUMBERS else "to join texts, write `~`"
        self.say("SJ334", node.left, f"{described(left)} and {described(right)} can't be calculated with", hint)
        return ANY
