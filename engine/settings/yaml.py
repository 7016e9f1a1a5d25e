"""The one reader of YAML: libyaml's events to a tree whose every key and value knows its line and column.

Plain scalars stay the text that was typed (`no`, `21:00`, `00118`); whoever reads the tree gives them a type. Duplicate keys,
`<<`, tags, values cut short by ` #` and aliases that expand without bound are problems, not values.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from engine.settings.document import Document, List, Map, Node, Text, plain, typed
from engine.settings.problems import Problem

try:
    from yaml._yaml import CParser
except ImportError as missing:  # pragma: no cover - depends on how PyYAML was built
    raise ImportError(
        "PyYAML was built without libyaml: install a PyYAML wheel, or libyaml's headers before building it"
    ) from missing

__all__ = ["Document", "List", "Map", "Node", "Text", "plain", "read", "read_file", "typed"]

MAX_BYTES = 1_000_000
"""A larger file is refused."""
MAX_NODES = 50_000
"""Values of one file, aliases written out."""
MAX_DEPTH = 60
"""Levels of nesting."""


def read(source: str | bytes, file: str) -> Document:
    """The document in `source`; never raises for what is in it. `file` is the name that problems show."""
    if isinstance(source, bytes):
        raw = source
        try:
            source = raw.decode("utf-8-sig")
        except UnicodeDecodeError as bad:
            line = raw[: bad.start].count(b"\n") + 1
            problem = Problem(file, line, 1, "SJ108", 1, "this file is not UTF-8 text", "save it with UTF-8 encoding")
            return Document(file, problems=[problem])
    document = Document(file, lines=source.splitlines())
    if len(source) > MAX_BYTES:
        document.problems.append(Problem(file, 0, 0, "SJ108", 0, f"this file is larger than {MAX_BYTES} characters"))
        return document
    _Reader(document).run(source)
    return document


def read_file(path: Path, file: str | None = None) -> Document:
    """`read` of a file. Raises OSError where it can't be opened."""
    return read(path.read_bytes(), file or str(path))


class _Stop(Exception):
    """Reading can't go on; the problem is recorded."""


class _Reader:
    """Builds the tree of one document from libyaml's events."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.anchors: dict[str, Node | None] = {}

    def run(self, source: str) -> None:
        try:
            self.parser: Any = CParser(source)
            self.parser.get_event()
            if isinstance(self.parser.peek_event(), StreamEndEvent):
                return
            self.parser.get_event()
            self.document.root = self.node(0)
            self.parser.get_event()
            after = self.parser.get_event()
            if isinstance(after, DocumentStartEvent):
                self.error("SJ108", after, "a second document starts here", "one file holds one document: remove the '---'")
        except _Stop:
            self.document.root = None
        except MarkedYAMLError as bad:
            self.document.root = None
            self.malformed(bad)
        except YAMLError as bad:
            self.document.root = None
            self.document.problems.append(Problem(self.document.file, 0, 0, "SJ101", 0, f"this is not YAML: {bad}"))

    def malformed(self, bad: MarkedYAMLError) -> None:
        if any(p.code in {"SJ105", "SJ107"} for p in self.document.problems):
            return  # the cause is known, and this is what it led to
        mark = bad.problem_mark or bad.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        line = min(line, max(1, len(self.document.lines)))
        text = self.document.lines[line - 1] if self.document.lines else ""
        what = bad.problem or bad.context or "it can't be read"
        self.document.problems.append(
            Problem(self.document.file, line, column, "SJ101", 1, f"this is not YAML: {what}", _advice(what, text), text=text)
        )

    def error(self, code: str, event: Any, message: str, hint: str = "", width: int | None = None) -> None:
        spot = Text("", event.start_mark.line + 1, event.start_mark.column + 1, width or _width(event))
        self.document.problems.append(self.document.problem(code, spot, message, hint))

    def node(self, depth: int) -> Node:
        event = self.parser.get_event()
        if isinstance(event, AliasEvent):
            return self.alias(event)
        if depth > MAX_DEPTH:
            self.error("SJ106", event, f"nested deeper than {MAX_DEPTH} levels")
            raise _Stop
        if event.anchor:
            self.anchors[event.anchor] = None
        if event.tag and not (isinstance(event, ScalarEvent) and event.tag == "!"):
            self.error("SJ104", event, f"tags such as {event.tag!r} are not used here", "remove it: fields know their types")
        built: Node
        if isinstance(event, ScalarEvent):
            built = self.scalar(event)
        elif isinstance(event, SequenceStartEvent):
            built = self.sequence(event, depth)
        else:
            built = self.mapping(event, depth)
        if built.size > MAX_NODES:
            self.error("SJ106", event, f"this holds more than {MAX_NODES} values once its aliases are written out")
            raise _Stop
        if event.anchor:
            self.anchors[event.anchor] = built
        return built

    def alias(self, event: Any) -> Node:
        found = self.anchors.get(event.anchor)
        if found is None:
            what = "stands inside what it repeats" if event.anchor in self.anchors else "repeats nothing that is above"
            self.error("SJ106", event, f"the alias *{event.anchor} {what}", "write the values out")
            raise _Stop
        return found

    def scalar(self, event: Any) -> Text:
        start, end = event.start_mark, event.end_mark
        is_plain = not event.style
        one_line = start.line == end.line
        width = end.column - start.column if one_line else len(self.document.lines[start.line]) - start.column
        if is_plain and one_line and event.value:
            self.look_for_cut(event)
        return Text(event.value, start.line + 1, start.column + 1, max(1, width), is_plain)

    def look_for_cut(self, event: Any) -> None:
        line = self.document.lines[event.end_mark.line] if event.end_mark.line < len(self.document.lines) else ""
        rest = line[event.end_mark.column :]
        if re.match(r"\s+#(?![\s#!]|$)", rest) or re.match(r"\s+#.*\{\{", rest):
            value = line[event.start_mark.column :].rstrip()
            self.error(
                "SJ105",
                event,
                f"this value ends at {event.value!r}: YAML takes ' #' for the start of a comment",
                f"quote it: '{value}' (a comment has a space after its #)",
                width=len(value),
            )

    def sequence(self, event: Any, depth: int) -> List:
        items: list[Node] = []
        while not isinstance(self.parser.peek_event(), SequenceEndEvent):
            items.append(self.node(depth + 1))
        self.parser.get_event()
        return List(tuple(items), event.start_mark.line + 1, event.start_mark.column + 1, 1, 1 + sum(i.size for i in items))

    def mapping(self, event: Any, depth: int) -> Map:
        entries: dict[str, tuple[Text, Node]] = {}
        while not isinstance(self.parser.peek_event(), MappingEndEvent):
            at = self.parser.peek_event()
            key = self.node(depth + 1)
            if not isinstance(key, Text):
                hint = 'a value that begins with {{ must stand in quotes: "{{ … }}"'
                self.error("SJ107", at, "this is not text, and only text can be a key", hint)
                self.node(depth + 1)
                continue
            if key.value == "<<" and key.plain:
                self.error("SJ103", at, "merging with '<<' is not used here", "write the keys out")
            earlier = entries.get(key.value)
            value = self.node(depth + 1)
            if earlier:
                hint = f"it stands in line {earlier[0].line} already: remove one of the two"
                self.error("SJ102", at, f"the key {key.value!r} is given twice", hint)
            elif key.value != "<<":
                entries[key.value] = (key, value)
        self.parser.get_event()
        size = 1 + sum(v.size + 1 for _, v in entries.values())
        return Map(tuple(entries.values()), event.start_mark.line + 1, event.start_mark.column + 1, 1, size)


def _width(event: Any) -> int:
    start, end = event.start_mark, event.end_mark
    return max(1, end.column - start.column) if start.line == end.line else 1


def _advice(what: str, text: str) -> str:
    """What usually led to libyaml's words."""
    if "mapping values are not allowed" in what:
        return "a value that holds ': ' must stand in quotes; else look at the indentation, and for a colon missing above"
    value = text.partition(":")[2].strip()
    for outer, inner in (("'", '"'), ('"', "'")):
        if value.startswith(outer) and value.count(outer) > 2:
            return f"there is {outer} amid what {outer} encloses: write {inner} there"
    if "{{" in text:
        return 'a value that begins with {{ must stand in quotes: "{{ … }}"'
    if "cannot start any token" in what and "\t" in text:
        return "indent with spaces, not with tabs"
    if "expected key" in what or "',' or" in what or "block" in what:
        return "look for uneven indentation, a bracket left open, a quote amid a value: it is quoted as a whole or not at all"
    if "expected ':'" in what:
        return "in the line above a colon with a space after it is missing; one pasted from elsewhere may only look like it"
    return ""
