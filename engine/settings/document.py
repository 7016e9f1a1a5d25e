"""The tree that `yaml` builds: text, lists and maps that know where they stand. A document reports problems at them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.settings.problems import Level, Problem


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar as typed. `plain`: without quotes and not a block. `column` counts from 1, at the quote where there is one."""

    value: str
    line: int
    column: int
    length: int
    plain: bool = True
    size: int = 1

    @property
    def lead(self) -> int:
        """Characters between `column` and the first one of `value`; -1 where value and source don't run in parallel."""
        if self.plain:
            return 0
        return 1 if self.length == len(self.value) + 2 else -1


@dataclass(frozen=True, slots=True)
class List:
    """A sequence."""

    items: tuple[Node, ...]
    line: int
    column: int
    length: int
    size: int = 1


@dataclass(frozen=True, slots=True)
class Map:
    """A mapping, in the order written; keys are unique."""

    entries: tuple[tuple[Text, Node], ...]
    line: int
    column: int
    length: int
    size: int = 1

    def key(self, name: str) -> Text | None:
        """The key called `name`, with its place."""
        return next((k for k, _ in self.entries if k.value == name), None)

    def get(self, name: str) -> Node | None:
        """The value under `name`."""
        return next((v for k, v in self.entries if k.value == name), None)


Node = Text | List | Map


def plain(node: Node | None) -> Any:
    """The node as dict, list and str; a value that was left out (`key:`) is None."""
    if isinstance(node, Map):
        return {k.value: plain(v) for k, v in node.entries}
    if isinstance(node, List):
        return [plain(v) for v in node.items]
    if node is None or (node.plain and node.value == ""):
        return None
    return node.value


_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def typed(node: Node | None) -> Any:
    """The node as JSON would mean it: unquoted numbers, true, false and null are what they look like."""
    if isinstance(node, Map):
        return {k.value: typed(v) for k, v in node.entries}
    if isinstance(node, List):
        return [typed(v) for v in node.items]
    if isinstance(node, Text) and node.plain and (node.value in ("true", "false", "null") or _NUMBER.fullmatch(node.value)):
        try:
            value = json.loads(node.value)
        except ValueError:  # Python reads no whole number of more than 4300 digits
            return node.value
        return value if not isinstance(value, float) or math.isfinite(value) else node.value
    return plain(node)


@dataclass(slots=True)
class Document:
    """One file read. `root` is None where it is empty or can't be read; `problems` says what was wrong so far."""

    file: str
    root: Node | None = None
    lines: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def at(self, path: Sequence[str | int]) -> Node | None:
        """The node at `path` or, where the path goes on beyond what was written, the last one on it."""
        node = self.root
        for part in path:
            below: Node | None = None
            if isinstance(node, Map):
                below = node.get(str(part))
            elif isinstance(node, List) and isinstance(part, int) and part < len(node.items):
                below = node.items[part]
            if below is None:
                return node
            node = below
        return node

    def key_at(self, path: Sequence[str | int]) -> Node | None:
        """The key that `path` ends in (for an item of a list: the item)."""
        parent = self.at(path[:-1]) if path else self.root
        if path and isinstance(parent, Map):
            return parent.key(str(path[-1])) or parent
        return self.at(path)

    def problem(
        self,
        code: str,
        node: Node | None,
        message: str,
        hint: str = "",
        *,
        level: Level = "error",
        offset: int = 0,
        length: int | None = None,
    ) -> Problem:
        """A problem at `node`; `offset` and `length` narrow it to a part of a scalar's value. It isn't recorded yet."""
        if node is None:
            return Problem(self.file, 0, 0, code, 0, message, hint, level)
        column, width = node.column, node.length
        if isinstance(node, Text) and node.lead >= 0 and length is not None:
            column, width = node.column + node.lead + offset, length
        text = self.lines[node.line - 1] if node.line <= len(self.lines) else ""
        return Problem(self.file, node.line, column, code, max(1, width), message, hint, level, text)
