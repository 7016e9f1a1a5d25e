"""A place in a file while it is compiled: problems are reported at it, and the expressions that stand there are checked."""

from __future__ import annotations

from dataclasses import dataclass

from engine.authoring.checking import Expect
from engine.authoring.expressions import Expression, ExpressionError, PlacedError, Value, compile_expression, compile_value
from engine.authoring.scopes import Names
from engine.core.wire import Json
from engine.settings.problems import Level, nearest
from engine.settings.yaml import Document


@dataclass(frozen=True, slots=True)
class Spot:
    """`path` leads through keys and indexes of `document` to what stands here."""

    document: Document
    path: tuple[str | int, ...] = ()

    def __truediv__(self, part: str | int) -> Spot:
        return Spot(self.document, (*self.path, part))

    @property
    def place(self) -> str:
        """`file:line`, for notes."""
        node = self.document.key_at(self.path)
        return f"{self.document.file}:{node.line}" if node else self.document.file

    def report(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        level: Level = "error",
        key: bool = False,
        offset: int = 0,
        length: int | None = None,
    ) -> None:
        """Records a problem at the value here, or at its key; `offset` and `length` narrow it to a part of the value."""
        node = self.document.key_at(self.path) if key else self.document.at(self.path)
        self.document.problems.append(self.document.problem(code, node, message, hint, level=level, offset=offset, length=length))

    def unknown(self, code: str, what: str, name: str, known: set[str] | frozenset[str], hint: str = "") -> None:
        """Records that `name` is no `what` that exists."""
        self.report(code, f"there is no {what} {name!r}", nearest(name, known) or hint)

    def expression(self, source: str | None, names: Names, expect: Expect = "condition") -> Expression | None:
        """The expression that stands here, checked against `names`; None where there is none or it can't be compiled."""
        if source is None:
            return None
        try:
            found = compile_expression(source)
        except ExpressionError as bad:
            self.report(bad.code, bad.message, bad.hint, offset=bad.offset, length=max(1, len(source) - bad.offset))
            return None
        names.check(self, found, expect)
        return found

    def value(self, body: Json, names: Names) -> Value | None:
        """The value that stands here, every `{{ }}` in it checked against `names`; None where it can't be compiled."""
        try:
            found = compile_value(body)
        except PlacedError as bad:
            spot = Spot(self.document, (*self.path, *bad.path))
            spot.report(bad.code, bad.message, bad.hint, offset=bad.offset, length=1)
            return None
        for path, expression in found.expressions:
            names.check(Spot(self.document, (*self.path, *path)), expression, "any")
        return found
