"""What checks say and what they look at: `Finding`, `Scope`, and which types go together, in words for people.

`checking.py` walks expressions, `template_checks.py` templates; both use these.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from jinja2 import nodes

from engine.authoring.operators import moment_of
from engine.authoring.types import Kind, Type

BOOLEAN = Type("boolean", optional=False)
TEXT = Type("string", optional=False)
SURELY = Type("any", optional=False)
DATETIME = Type("datetime", optional=False)

NUMBERS = ("number", "integer")
WORDS = ("string", "enum")
DATES = ("date", "datetime")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at `offset` (characters from the start of the expression's source), `length` characters long."""

    code: str
    message: str
    hint: str
    offset: int
    length: int
    level: Literal["error", "warning"] = "error"


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may talk about. `names`: each name's type (`customer`, `entry`, `event`, `vars`: objects with fields) ·
    `segments`: those that exist, None where that isn't known · `absent`: names that aren't there, with the reason ·
    `open_names`: those of which only some fields are known (an undeclared event), so that an unknown one is no mistake."""

    names: Mapping[str, Type]
    segments: Collection[str] | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    open_names: Collection[str] = ()

    def with_names(self, more: Mapping[str, Type]) -> Scope:
        """The same scope with further names."""
        return replace(self, names={**self.names, **more})


def start_of(node: nodes.Node) -> int:
    """The offset at which a node's text begins."""
    while isinstance(node, (nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Test, nodes.Call)) and node.node is not None:
        node = node.node
    return node.lineno or 0


def path_of(node: nodes.Node) -> str:
    """`customer.plan` for the node of that; empty for anything else."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr) and (holder := path_of(node.node)):
        return f"{holder}.{node.attr}"
    return ""


def comparable(one: nodes.Node, left: Type, other: nodes.Node, right: Type) -> bool:
    """Whether values of the two types can ever be equal."""
    if "any" in (left.kind, right.kind) or left.kind == right.kind:
        return True
    for group in (NUMBERS, WORDS, DATES):
        if left.kind in group and right.kind in group:
            return True
    for dated, word in ((left, other), (right, one)):
        if dated.kind in DATES and isinstance(word, nodes.Const):
            return moment_of(word.value, "UTC") is not None
    return False


def constant_type(value: object) -> Type:
    """The type of a literal."""
    kinds: dict[type, Kind] = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return Type(kinds.get(type(value), "any"), optional=value is None)


def described(found: Type) -> str:
    """A type with its article."""
    word = {"enum": f"one of {', '.join(found.values)}", "any": "something"}.get(found.kind)
    return word or f"{'an' if found.kind[0] in 'aeiou' else 'a'} {found.kind}"


def quoted(value: object) -> str:
    """A literal as an author writes it."""
    return f'"{value}"' if isinstance(value, str) else str(value)


def known_words(names: list[str]) -> str:
    """A hint that lists what there is."""
    return f"known are {', '.join(names[:8])}{' …' if len(names) > 8 else ''}" if names else ""


def mend(left: Type, right: Type, other: nodes.Node) -> str:
    """A hint for a comparison of types that don't go together."""
    if left.kind in NUMBERS and right.kind in WORDS and isinstance(other, nodes.Const):
        return "write the number without quotes"
    if right.kind in NUMBERS and left.kind in WORDS:
        return f'write it in quotes: "{other.value}"' if isinstance(other, nodes.Const) else ""
    if left.kind == "boolean":
        return "write `== true` or `== false`, or nothing"
    if left.kind == "list":
        return "write `x in list`"
    return ""
