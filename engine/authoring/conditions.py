"""What is known of a condition before anybody is looked at: that it never holds, always does, or depends.

Only what follows from its form: constants, `and`, `or`, `not`, one thing said to be two texts, something and its opposite.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from jinja2 import nodes

from engine.authoring.closures import Compiler
from engine.authoring.expressions import Context, ExpressionError, compile_expression
from engine.authoring.findings import path_of
from engine.authoring.operators import moment_of

_NOBODY = Context(customer={}, now=datetime(2000, 1, 1, tzinfo=UTC))
_PLAIN = (
    *(nodes.Const, nodes.Compare, nodes.Operand, nodes.Not, nodes.And, nodes.Or, nodes.CondExpr, nodes.List, nodes.Tuple),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.Neg, nodes.Pos, nodes.Concat),
)
"""What gives the same value for everybody, where all that stands in it does."""


def verdict(condition: str | None) -> bool | None:
    """True where the condition (None: there is none) always holds, False where it never does, None where that depends."""
    return True if condition is None else _truth(compile_expression(condition).tree)


def depends_on_time(condition: str | None) -> bool:
    """Whether it asks what time it is, or when something occurred."""
    if condition is None:
        return False
    uses = compile_expression(condition).uses
    return uses.now or "occurred_at" in uses.entry_properties | uses.event_properties


def _truth(node: nodes.Node) -> bool | None:
    if all(isinstance(part, _PLAIN) for part in (node, *node.find_all(nodes.Node))):
        try:
            return bool(Compiler().compile(node)(_NOBODY))
        except ExpressionError:  # too large a number, say: it has no value at all
            return None
    if isinstance(node, nodes.Not):
        inner = _truth(node.node)
        return None if inner is None else not inner
    if isinstance(node, nodes.And):
        parts = list(_parts(node, nodes.And))
        found = [_truth(part) for part in parts]
        if False in found or _contradict(parts):
            return False
        return True if all(found) else None
    if isinstance(node, nodes.Or):
        found = [_truth(part) for part in _parts(node, nodes.Or)]
        return True if True in found else None if None in found else False
    return None


def _parts(node: nodes.Node, kind: type[nodes.And] | type[nodes.Or]) -> Iterator[nodes.Node]:
    if isinstance(node, kind):
        yield from _parts(node.left, kind)
        yield from _parts(node.right, kind)
    else:
        yield node


def _contradict(parts: list[nodes.Node]) -> bool:
    said: dict[str, object] = {}
    for part in parts:
        if any(isinstance(other, nodes.Not) and other.node == part for other in parts):
            return True
        if isinstance(part, nodes.Compare) and len(part.ops) == 1 and part.ops[0].op == "eq":
            path, word = path_of(part.expr), part.ops[0].expr
            text = word.value if isinstance(word, nodes.Const) and isinstance(word.value, str) else None
            a_word = path and text is not None and moment_of(text, "UTC") is None  # two texts may say the same moment
            if a_word and said.setdefault(path, text) != text:
                return True
    return False
