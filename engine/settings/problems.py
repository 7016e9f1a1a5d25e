"""What is wrong in a file that a person wrote: where, what, and how to mend it. Shared by every reader of YAML.

Codes are stable and each has a section in docs/problems.md: SJ1xx syntax, SJ2xx references, SJ3xx types, SJ4xx conflicts.
Nothing here reads files; a problem carries the line that it underlines.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One problem. `line` and `column` count from 1 (line 0: the file as a whole); `length` is what to underline, in
    characters. `text` is the source line. An `error` refuses the deploy, a `warning` doesn't."""

    file: str
    line: int
    column: int
    code: str
    length: int
    message: str
    hint: str = ""
    level: Level = "error"
    text: str = ""

    def render(self) -> str:
        """`file:line:column`, the source line, the underline, what is wrong, how to mend it; without a final newline."""
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        lines = [f"{where}: {self.level} {self.code}: {self.message}"]
        if self.line and self.text.strip():
            text = self.text.replace("\t", " ")
            room = max(1, len(text) - self.column + 1)
            lines += [f"    {text}", "    " + " " * (self.column - 1) + "^" * max(1, min(self.length, room))]
        if self.hint:
            lines.append(f"    {self.hint}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, str | int]:
        """The problem for machines, as `sojourn validate --json` prints it."""
        return {
            "code": self.code,
            "level": self.level,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "length": self.length,
            "message": self.message,
            "hint": self.hint,
        }


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Those that refuse the deploy."""
    return [p for p in problems if p.level == "error"]


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sorted by file and place, each one once."""
    return sorted(set(problems))


def nearest(name: str, known: Iterable[str]) -> str:
    """ "did you mean …?" for the closest of `known`, or a list of a few known ones, or ""."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if not names:
        return ""
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"known here: {shown}"
