"""One rendering in progress (`Page`), and a compiled text with its layouts (`Body`). `statements` makes the bodies.

Time and memory are bounded by counting, not by a clock, so that a template that renders once renders always: every value
made costs work, and so does every round of a loop.

    TemplateError         a template is wrong, or asks for too much; says in which file and where
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from markupsafe import Markup, escape

from engine.authoring.expression_syntax import ExpressionError

MAX_OUTPUT = 1_000_000
"""Characters in one rendered part."""
MAX_WORK = 200_000
"""Units of work in one rendering; a unit is at most about a microsecond."""

BEGIN, END = "\U00010a7d", "\U00010a7f"
"""A number between these two stands for a value that was held back: signs of the Old South Arabian script, which pages don't
have. Characters of Unicode's private use, the other choice, MJML's library writes otherwise than it reads them."""
LOOK_BACK = 40
"""Pieces of a page that are looked at for what a value stands in."""

Run = Callable[["Page"], None]

_UNREAD = ("<style", "<script", "<mj-style", "<mj-raw")
_IN_ATTRIBUTE = re.compile(r"""<[^<>]*\s(?:href|src|alt|title)=(?:"[^"<>]*|'[^'<>]*)\Z""")


class TemplateError(ExpressionError):
    """A template is wrong, or asks for too much: `file` and `offset` say where."""

    def __init__(self, message: str, file: str, offset: int, hint: str = "", code: str = "SJ120") -> None:
        super().__init__(message, offset, hint, code)
        self.file = file


@dataclass(slots=True)
class Page:
    """One rendering in progress: the names it sees, what it has written, the work it may still do.

    `held`: where it isn't None, values in markup are kept there and their numbers written in their place, so that what is done
    to the page afterwards is done once for all customers, and reads nothing that a customer wrote. `trial`: a rendering without
    data, in which every condition holds (or, False, none does), every loop has one round (none), and values are "1"."""

    names: dict[str, object]
    now: datetime
    zone: str
    segments: Callable[[str], bool]
    out: list[str] = field(default_factory=list)
    size: int = 0
    work: int = MAX_WORK
    blocks: dict[str, list[Run]] = field(default_factory=dict)
    inside: list[tuple[str, int]] = field(default_factory=list)
    locale: str = ""
    held: dict[str, int] | None = None
    trial: bool | None = None
    capturing: int = 0

    def write(self, text: str) -> None:
        """Adds `text`. Raises ExpressionError where the page gets too long."""
        self.size += len(text)
        if self.size > MAX_OUTPUT:
            raise ExpressionError(f"the rendered text is longer than {MAX_OUTPUT:,} characters")
        self.out.append(text)

    def value(self, text: str) -> None:
        """Adds a value to markup: escaped, or held back where the page does that."""
        escaped = str(escape(text))
        if self.held is None:
            self.write(escaped)
        elif self.capturing or isinstance(text, Markup) or not text.strip() or not self._apart():
            self.write(escaped if self.capturing else escaped.replace(BEGIN, "\ufffd"))
        else:
            self.size += len(escaped)
            self.write(f"{BEGIN}{self.held.setdefault(text, len(self.held))}{END}")

    def _apart(self) -> bool:
        """Whether what comes next is text between elements, or in an attribute that any text may stand in: nothing that says how
        the page is built."""
        between = False
        for i in range(len(self.out) - 1, max(-1, len(self.out) - LOOK_BACK), -1):
            chunk = self.out[i]
            opened, closed = chunk.rfind("<"), chunk.rfind(">")
            if not between and opened > closed:
                return bool(_IN_ATTRIBUTE.match(chunk[opened:] + "".join(self.out[i + 1 :])))
            between = between or closed >= 0
            if opened >= 0:
                return not chunk.startswith(_UNREAD, opened)
        return False

    def spend(self, units: int) -> None:
        """Counts work. Raises ExpressionError where there is too much of it."""
        self.work -= units
        if self.work < 0:
            raise ExpressionError("rendering takes too long", hint="loop over less, or not inside another loop")

    def captured(self, run: Run) -> str:
        """What `run` writes, as a text of its own."""
        out, self.out = self.out, []
        self.capturing += 1
        try:
            run(self)
            return "".join(self.out)
        finally:
            self.out = out
            self.capturing -= 1


@dataclass(frozen=True, slots=True, eq=False)
class Macro:
    """A piece of a page with parameters. `given`: what makes each parameter's value where the call gives none."""

    given: Mapping[str, Callable[[Page], object]]
    body: Run

    def run(self, page: Page, values: Sequence[tuple[str, Callable[[Page], object]]]) -> None:
        """Writes the piece to `page`. It sees what its caller sees, and its parameters."""
        outer = page.names
        page.spend(2 + (len(outer) >> 5))
        there = {name: value(page) for name, value in values}
        page.names = outer | {name: value(page) for name, value in self.given.items() if name not in there} | there
        try:
            self.body(page)
        finally:
            page.names = outer


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A compiled text: what it runs, the blocks and macros it defines, and the layout it fills in."""

    main: Run
    blocks: Mapping[str, Run]
    parent: Body | None
    macros: Mapping[str, Macro] = field(default_factory=dict)

    def run(self, page: Page) -> None:
        """Writes the body to `page`, through its layouts."""
        blocks, names = page.blocks, page.names
        page.spend(5 + (len(names) >> 5))
        page.blocks, page.names = {}, dict(names)
        try:
            body: Body = self
            while True:
                for name, run in body.blocks.items():
                    page.blocks.setdefault(name, []).append(run)
                if body.parent is None:
                    body.main(page)
                    return
                body.main(page)  # nothing but its `set`s: what stands beside the blocks of a child is no output
                body = body.parent
        finally:
            page.blocks, page.names = blocks, names

    def render(self, page: Page) -> str:
        """The text. Raises TemplateError."""
        try:
            self.run(page)
        except ExpressionError as error:
            raise error if isinstance(error, TemplateError) else TemplateError(error.message, "", 0, error.hint) from None
        except RecursionError:
            raise TemplateError("nested too deeply", "", 0) from None
        return "".join(page.out)


def run_block(f: Page, name: str, depth: int) -> None:
    """Writes a block: depth 0 is the one that the message itself defines, higher ones its layouts'."""
    f.spend(2)
    layers = f.blocks.get(name, [])
    if depth >= len(layers):
        return
    f.inside.append((name, depth))
    try:
        layers[depth](f)
    finally:
        f.inside.pop()


def run_super(f: Page) -> None:
    """Writes the layout's block of the same name."""
    if f.inside:
        name, depth = f.inside[-1]
        run_block(f, name, depth + 1)


def super_block(f: Page) -> object:
    """What the layout's block of the same name writes."""
    return Markup(f.captured(run_super))
