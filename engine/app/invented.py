"""Values for people and events that don't exist: of their declared types, and near what the project's conditions compare with, so
that both sides of a branch are reached. Deterministic: chance is an argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from jinja2 import nodes

from engine.authoring.expression_syntax import parse_expression
from engine.authoring.project import Compiled
from engine.authoring.types import Type
from engine.core.wire import Json, dump

CONDITIONS = ("condition", "where", "expression", "own_limit")
"""Fields of plans, segments, tracking and policy that hold a condition."""

FIRST_NAMES = ("Ada", "Bruno", "Chiara", "Dario", "Elsa", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Keiko", "Luca")
COUNTRIES = ("IT", "US", "DE", "FR")
ABROAD = ("Europe/Rome", "America/New_York", "Europe/Berlin", "Asia/Tokyo")
"""Zones of those who don't live in the project's."""

NEAR = 0.7
"""How often a value is one that a condition compares with, where there is one."""
GIVEN = 0.85
"""How often there is a value that need not be."""

Pools = dict[tuple[str, str], tuple[Json, ...]]
"""("customer" or "event", name) → values on this side and that of every comparison."""


@dataclass(slots=True)
class Inventor:
    """Draws values. `start`: dates lie around it and the `days` after it."""

    compiled: Compiled
    start: datetime
    days: int
    zone: str
    pools: Pools = field(init=False)

    def __post_init__(self) -> None:
        self.pools = pools(self.compiled)

    def attributes(self, chance: Random, number: int) -> dict[str, Json]:
        """Of the person with this number."""
        found: dict[str, Json] = {}
        for name, declared in self.compiled.tracking.attributes:
            if name in ("email", "phone") or chance.random() < GIVEN:
                found[name] = self._personal(chance, name, number, declared)
        for name, address in (("email", f"person{number}@example.com"), ("phone", f"+39333{number:07}")):
            found.setdefault(name, address)
        return found

    def properties(self, chance: Random, event: str, about: Mapping[str, Json], unique: str) -> dict[str, Json]:
        """Of an event of this name: what `about` has under the same names, a value with `unique` in it where it tells things
        apart."""
        declared = self.compiled.tracking.event(event)
        if declared is None:
            return {}
        found: dict[str, Json] = {}
        for name, kind in declared.properties:
            if name in about:
                found[name] = about[name]
            elif kind.kind == "string" and (name == "id" or name.endswith("_id")):
                found[name] = f"{name.removesuffix('_id')}-{unique}"
            elif name in declared.required or chance.random() < GIVEN:
                found[name] = self.value(chance, "event", name, kind)
        return found

    def value(self, chance: Random, owner: str, name: str, kind: Type) -> Json:
        """One value."""
        pool = self.pools.get((owner, name), ())
        if pool and kind.kind not in ("list", "object") and chance.random() < NEAR:
            near = [v for v in pool if _fits(kind, v)]
            if near:
                return _whole(kind, chance.choice(near))
        return self._plain(chance, owner, name, kind)

    def _personal(self, chance: Random, name: str, number: int, kind: Type) -> Json:
        if kind.kind == "string":
            match name:
                case "email":
                    return f"person{number}@example.com"
                case "phone":
                    return f"+39333{number:07}"
                case "timezone":
                    return self.zone if chance.random() < 0.7 else chance.choice(ABROAD)
                case "first_name":
                    return chance.choice(FIRST_NAMES)
                case "country" if ("customer", name) not in self.pools:
                    return chance.choice(COUNTRIES)
        return self.value(chance, "customer", name, kind)

    def _plain(self, chance: Random, owner: str, name: str, kind: Type) -> Json:
        match kind.kind:
            case "enum":
                return chance.choice(kind.values)
            case "number":
                return round(chance.lognormvariate(3.5, 0.8), 2)
            case "integer":
                return chance.randint(0, 12)
            case "boolean":
                return chance.random() < 0.15
            case "date":
                return self._moment(chance).date().isoformat()
            case "datetime":
                return self._moment(chance).isoformat()
            case "list":
                item = kind.item or Type("string")
                return [self.value(chance, owner, name, item) for _ in range(chance.randint(1, 3))]
            case "object":
                return {inner: self.value(chance, owner, inner, of) for inner, of in kind.fields}
        return f"https://example.com/{name}" if name.endswith("url") else f"{name} {chance.randint(1, 5)}"

    def _moment(self, chance: Random) -> datetime:
        away = timedelta(days=chance.randint(-30, self.days + 60), minutes=chance.randrange(1440))
        return (self.start + away).astimezone(UTC).replace(second=0, microsecond=0)


def pools(compiled: Compiled) -> Pools:
    """What the project's conditions compare attributes and properties with, and values just beside it."""
    found: dict[tuple[str, str], dict[Json, None]] = {}
    for source in sorted(set(_conditions([dump(one) for one in _written(compiled)]))):
        for compared in nodes.Tuple([parse_expression(source)], "load").find_all(nodes.Compare):  # which looks below a node only
            for operand in compared.ops:
                _note(found, compared.expr, operand.expr)
                _note(found, operand.expr, compared.expr)
    return {name: tuple(values) for name, values in found.items()}


def _written(compiled: Compiled) -> Iterator[object]:
    yield from compiled.plans.values()
    yield from (compiled.segments, compiled.tracking, compiled.policy)


def _conditions(body: Json) -> Iterator[str]:
    """Every condition in these JSON values, at any depth."""
    if isinstance(body, list):
        for item in body:
            yield from _conditions(item)
    elif isinstance(body, dict):
        for name, value in body.items():
            if name in CONDITIONS and isinstance(value, str):
                yield value
            else:
                yield from _conditions(value)


def _note(found: dict[tuple[str, str], dict[Json, None]], named: nodes.Node, value: nodes.Node) -> None:
    name = _name(named)
    if name is None:
        return
    if isinstance(value, (nodes.List, nodes.Tuple)):
        for item in value.items:
            _note(found, named, item)
    elif isinstance(value, nodes.Neg):
        _note(found, named, nodes.Const(-value.node.value) if isinstance(value.node, nodes.Const) else value.node)
    elif isinstance(value, nodes.Const) and value.value is not None:
        one = value.value
        beside = (one - 1, one, one + 1) if isinstance(one, (int, float)) and not isinstance(one, bool) else (one,)
        found.setdefault(name, {}).update(dict.fromkeys(beside))


def _name(node: nodes.Node) -> tuple[str, str] | None:
    """Whose value it is, and its name; filters (`| default(0)`) stand around it."""
    while isinstance(node, nodes.Filter) and node.node is not None:
        node = node.node
    if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name):
        owner = {"customer": "customer", "event": "event", "entry": "event"}.get(node.node.name)
        return (owner, node.attr) if owner else None
    return None


def _fits(kind: Type, value: Any) -> bool:
    if isinstance(value, bool):
        return kind.kind == "boolean"
    if isinstance(value, (int, float)):
        return kind.kind in ("number", "integer")
    return kind.kind == "string" or (kind.kind == "enum" and value in kind.values)


def _whole(kind: Type, value: Any) -> Json:
    return round(value) if kind.kind == "integer" else value
