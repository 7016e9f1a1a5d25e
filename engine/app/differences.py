"""Two values compared, and each place at which they differ told in words: policies, journeys, types, whatever has fields.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from engine.authoring.types import Type
from engine.core.clock import Duration, format_duration
from engine.core.wire import Json

NAMES = ("name", "channel", "step", "message", "reason")
"""What tells the items of a list apart, where they have it."""
SHARES = ("holdout", "share")
"""Fields that hold a share, which people write as a percentage."""
LONG = 100
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that differs: `path` ("timeout.after"), its `old` and `new` value in words ("" where there is none)."""

    path: str
    old: str
    new: str

    def told(self) -> str:
        """In words."""
        if not self.old:
            return f"{self.path}: {self.new} (new)"
        return f"{self.path}: {self.old} → {self.new}" if self.new else f"{self.path}: {self.old} (gone)"


def plain(value: object) -> Any:
    """A value as JSON values for comparing: what is empty is left out, durations and types are as people write them, and what has
    a name is found by it."""
    if isinstance(value, Duration):
        return format_duration(value)
    if isinstance(value, Type):
        return value.describe()
    if is_dataclass(value) and not isinstance(value, type):
        held = {f.name: getattr(value, f.name) for f in fields(value)}
        return {name: plain(v) for name, v in held.items() if v not in (None, (), {}, "")}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return _listed([plain(v) for v in value])
    return value


def _listed(items: list[Any]) -> Any:
    """By name, where every item has one of its own."""
    if items and all(isinstance(i, list) and len(i) == 2 and isinstance(i[0], str) for i in items):
        return dict(items)
    for key in NAMES:
        if items and all(isinstance(i, dict) and isinstance(i.get(key), str) for i in items):
            named = {i[key]: {k: v for k, v in i.items() if k != key} for i in items}
            if len(named) == len(items):
                return {"order": list(named), **named} if key == "name" else named
    return items


def differences(old: Json, new: Json, path: str = "") -> Iterator[Difference]:
    """Each place at which two JSON values differ, as deep as both have it."""
    if _by_name(old, new):
        yield from differences(old or {}, new or {}, path)
    elif isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys([*old, *new]):
            if name == "order" and _only_order_follows(old, new):
                continue
            yield from differences(old.get(name), new.get(name), f"{path}.{name}" if path else name)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new) and any(isinstance(i, dict) for i in old):
        for number, (was, will) in enumerate(zip(old, new, strict=True), 1):
            yield from differences(was, will, f"{path} {number}")
    elif old != new:
        told = percent if path.rpartition(".")[2] in SHARES else words
        yield Difference(path, told(old), told(new))


def _by_name(old: Json, new: Json) -> bool:
    """Whether one is missing, and the other holds things by their names."""
    there = old if new is None else new if old is None else None
    return isinstance(there, dict) and "order" in there


def _only_order_follows(old: Mapping[str, Json], new: Mapping[str, Json]) -> bool:
    """Whether the order differs by nothing but what is told anyway: items that are new or gone."""
    both = set(old.get("order", ())) & set(new.get("order", ()))
    return [n for n in old.get("order", ()) if n in both] == [n for n in new.get("order", ()) if n in both]


def words(value: Json) -> str:
    """A value in a line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        told = ", ".join(f"{k} {words(v)}".rstrip() for k, v in value.items() if k != "order" and v is not False) or "there"
    elif isinstance(value, list):
        told = ", ".join(words(v) for v in value)
    else:
        told = f"{value:g}" if isinstance(value, float) else " ".join(str(value).split()) or '""'
    return told if len(told) <= LONG else f"{told[: LONG - 1]}…"


def percent(value: Json) -> str:
    """A share as people write it."""
    return f"{value:.4%}".rstrip("0%").rstrip(".") + "%" if isinstance(value, float) else words(value)
