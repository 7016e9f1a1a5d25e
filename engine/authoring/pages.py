"""One rendering in progress (`Page`), and a compiled text with its layouts (`Body`). `statements` makes the bodies.

Time and memory are bounded by counting, not by a clock, so that a template that renders once renders always: every value
made costs work, and so does every round of a loop.

    TemplateError         a template is wrong, or asks for too much; says in which file and where
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from markupsafe import Markup

from engine.authoring.expression_syntax import ExpressionError

MAX_OUTPUT = 1_000_000
"""Characters in one rendered part."""
MAX_WORK = 200_000
"""Units of work in one rendering; a unit is at most about a microsecond."""

Run = Callable[["Page"], None]


class TemplateError(ExpressionError):
    """A template is wrong, or asks for too much: `file` and `offset` say where."""

    def __init__(self, message: str, file: str, offset: int, hint: str = "", code: str = "SJ120") -> None:
        super().__init__(message, offset, hint, code)
        self.file = file


@dataclass(slots=True)
class Page:
    """One rendering in progress: the names it sees, what it has written, the work it may still do."""

    names: dict[str, object]
    now: datetime
    zone: str
    segments: Callable[[str], bool]
    out: list[str] = field(default_factory=list)
    size: int = 0
    work: int = MAX_WORK
    blocks: dict[str, list[Run]] = field(default_factory=dict)
    inside: list[tuple[str, int]] = field(default_factory=list)

    def write(self, text: str) -> None:
        """Adds `text`. Raises ExpressionError where the page gets too long."""
        self.size += len(text)
        if self.size > MAX_OUTPUT:
            raise ExpressionError(f"the rendered text is longer than {MAX_OUTPUT:,} characters")
        self.out.append(text)

    def spend(self, units: int) -> None:
        """Counts work. Raises ExpressionError where there is too much of it."""
        self.work -= units
        if self.work < 0:
            raise ExpressionError("rendering takes too long", hint="loop over less, or not inside another loop")

    def captured(self, run: Run) -> str:
        """What `run` writes, as a text of its own."""
        out, self.out = self.out, []
        try:
            run(self)
            return "".join(self.out)
        finally:
            self.out = out


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A compiled text: what it runs, the blocks it defines, and the layout it fills in."""

    main: Run
    blocks: Mapping[str, Run]
    parent: Body | None

    def run(self, page: Page) -> None:
        """Writes the body to `page`, through its layouts."""
        page.spend(5)
        blocks, names = page.blocks, page.names
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


def super_block(f: Page) -> object:
    """What the layout's block of the same name writes."""
    if not f.inside:
        return None
    name, depth = f.inside[-1]
    return Markup(f.captured(lambda page: run_block(page, name, depth + 1)))
