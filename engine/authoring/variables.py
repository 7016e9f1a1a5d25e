"""What is known of a journey's variables before it runs: the type of each that only ever gets values of one type.

Order and branches don't matter here: a variable that is written twice, with a text and with a number, is of any type.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from jinja2 import nodes

from engine.authoring import shape_steps as shape
from engine.authoring.checking import Checker
from engine.authoring.expression_syntax import parse_template
from engine.authoring.expressions import ExpressionError
from engine.authoring.findings import TEXT
from engine.authoring.operators import moment_of
from engine.authoring.scopes import Names, Open, either
from engine.authoring.types import ANY, Type
from engine.core.wire import Json
from engine.settings.shape import Shape

KEPT = ("string", "number", "integer", "boolean", "enum")
"""Kinds that a variable keeps; moments become text, and what is inside a list or an object isn't followed."""


def variable_types(steps: shape.Steps, names: Names) -> dict[str, Type]:
    """Each variable that `steps` write, with its type. `names`: those of the journey; what an event or another variable holds
    isn't known here."""
    scope = replace(names, event=Open(), vars=Open())
    found: dict[str, list[Type]] = defaultdict(list)
    for step in every_step(steps):
        if isinstance(step, shape.Set):
            for name, value in step.set.items():
                owner, _, key = name.partition(".")
                if owner == "vars":
                    found[key].append(_type_of(value, scope))
        elif isinstance(step, shape.Call) and step.into:
            found[step.into.removeprefix("vars.")].append(ANY)
    return {name: (either([{name: t} for t in types]) or {})[name] for name, types in found.items()}


def every_step(steps: Sequence[object]) -> Iterator[shape.Step]:
    """The steps, and those inside them."""
    todo: list[object] = list(steps)
    while todo:
        item = todo.pop()
        if isinstance(item, (tuple, list)):
            todo.extend(item)
        elif isinstance(item, Shape):
            if isinstance(item, shape.Step):
                yield item
            todo.extend(getattr(item, name) for name in type(item).model_fields)


def _type_of(value: Json, names: Names) -> Type:
    """What `set` writes: a text as it was typed, or whatever a lone `{{ }}` gives."""
    if not isinstance(value, str):
        return ANY
    if "{{" not in value and "{%" not in value:
        return _text(value)
    try:
        parts = [part for output in parse_template(value).body for part in output.iter_child_nodes()]
    except ExpressionError:
        return ANY  # it is reported where it stands
    if len(parts) != 1:
        return ANY
    (part,) = parts
    if isinstance(part, nodes.Const) and isinstance(part.value, str):
        return _text(part.value)
    found = Checker(value, names.scope()).infer(part)
    return found if found.kind in KEPT else ANY


def _text(written: str) -> Type:
    """A text, unless it is one that is compared like a moment."""
    return ANY if moment_of(written, "UTC") is not None else TEXT
