"""The names that loops, `set`, `with` and macros bring into a template, and what a loop goes over. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from jinja2 import nodes

from engine.authoring.expression_syntax import ExpressionError


def targets(node: nodes.Node) -> tuple[str, ...]:
    """The names that are given a value. Raises ExpressionError where it is given to anything else."""
    if isinstance(node, nodes.Name):
        return (node.name,)
    if isinstance(node, nodes.Tuple) and all(isinstance(n, nodes.Name) for n in node.items):
        return tuple(n.name for n in node.items if isinstance(n, nodes.Name))
    raise ExpressionError("a value is given to a plain name", node.lineno)


def bound(names: tuple[str, ...], value: object) -> dict[str, object]:
    """The names with the value; several names share out a list."""
    if len(names) == 1:
        return {names[0]: value}
    parts = value if isinstance(value, (list, tuple)) else []
    return {name: parts[i] if i < len(parts) else None for i, name in enumerate(names)}


def rounds_of(value: object) -> list[object]:
    """What a loop goes over: a list's items, an object's names, of anything else nothing."""
    return list(value) if isinstance(value, (list, tuple, Mapping)) else []


def counted(i: int, length: int) -> dict[str, object]:
    """What `loop` says in round `i` of `length`."""
    return {
        "index": i + 1,
        "index0": i,
        "revindex": length - i,
        "revindex0": length - i - 1,
        "first": i == 0,
        "last": i == length - 1,
        "length": length,
    }
