"""Jinja's own lexer and parser, made to say where in the text each node stands, and bounded in length and depth.

Only parsing happens here: what a node means is `closures.py` and `statements.py`. No Jinja code is ever generated or
run, so nothing that a template says can reach Python.

    ExpressionError       the text is wrong, or asks for more than is allowed
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from jinja2 import Environment, nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.lexer import TokenStream
from jinja2.parser import Parser

MAX_EXPRESSION = 4_000
"""Characters in one condition."""
MAX_TEMPLATE = 400_000
"""Characters in one template file."""
MAX_NESTING = 30
"""Brackets inside brackets."""
MAX_DEPTH = 150
"""Nodes inside nodes, so that evaluation never meets Python's recursion limit."""


class ExpressionError(ValueError):
    """The author's fault: `message` says what is wrong, `offset` where (characters from the start), `hint` how to mend it.

    `code`: SJ120 syntax, SJ233 a name, filter or function that isn't known, SJ121 a result too large to be meant."""

    def __init__(self, message: str, offset: int = 0, hint: str = "", code: str = "SJ120") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint
        self.code = code


class _Notation(Environment):
    """Jinja's grammar whose tokens carry offsets instead of line numbers; so do the nodes made from them."""

    def _tokenize(self, source: str, name: str | None, filename: str | None = None, state: str | None = None) -> TokenStream:
        return TokenStream(self.lexer.wrap(self._located(source, state), name, filename), name, filename)

    def _located(self, source: str, state: str | None) -> Iterator[tuple[int, str, str]]:
        at, open_brackets = 0, 0
        try:
            for _line, kind, text in self.lexer.tokeniter(source, None, None, state):
                # What whitespace control strips is no token, so the next token is found, not counted.
                found = source.find(text, at) if text else at
                at = max(found, at)
                if kind == "operator":
                    open_brackets += (text in "([{") - (text in ")]}")
                    if open_brackets > MAX_NESTING:
                        raise ExpressionError(f"more than {MAX_NESTING} brackets inside each other", at)
                yield at, kind, text
                at += len(text)
        except TemplateSyntaxError as error:
            message = _plain(re.sub(r" at \d+$", "", error.message or "not understood"))
            raise ExpressionError(message, at, _hint_for(source[at : at + 2])) from None


_NOTATION = _Notation(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)


def parse_expression(source: str) -> nodes.Expr:
    """The syntax tree of one expression; `lineno` of a node is its offset in `source`. Raises ExpressionError."""
    if len(source) > MAX_EXPRESSION:
        raise ExpressionError(f"longer than {MAX_EXPRESSION} characters", MAX_EXPRESSION, "split it into several conditions")
    if not source.strip():
        raise ExpressionError("the expression is empty")
    try:
        parser = Parser(_NOTATION, source, state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            token = parser.stream.current
            raise ExpressionError(f"{token.value!r} is not expected here", token.lineno, _hint_for(str(token.value)))
    except TemplateSyntaxError as error:
        raise _syntax_error(error, source) from None
    except RecursionError:
        raise ExpressionError("nested too deeply") from None
    except (ValueError, OverflowError) as error:  # a number literal that Python refuses to read
        raise error if isinstance(error, ExpressionError) else ExpressionError("a number is too long") from None
    check_depth(tree)
    return tree


@lru_cache(maxsize=128)
def parse_template(source: str) -> nodes.Template:
    """The syntax tree of a template text; `lineno` of a node is its offset in `source`. Raises ExpressionError.

    Line ends must be `\\n` already. A layout is looked at for each template that extends it, and each template by several checks:
    the newest trees are kept, and nobody changes one."""
    if len(source) > MAX_TEMPLATE:
        raise ExpressionError(f"longer than {MAX_TEMPLATE} characters", MAX_TEMPLATE)
    try:
        tree = Parser(_NOTATION, source).parse()
    except TemplateSyntaxError as error:
        raise _syntax_error(error, source) from None
    except RecursionError:
        raise ExpressionError("nested too deeply") from None
    except (ValueError, OverflowError) as error:
        raise error if isinstance(error, ExpressionError) else ExpressionError("a number is too long") from None
    check_depth(tree)
    return tree


def static_text(source: str, stand_in: str) -> str:
    """The text with everything of the template language blotted out by `stand_in` (one character), each other character in its
    place, line ends too. Raises ExpressionError."""
    out = ["\n" if c == "\n" else stand_in for c in source]
    for at, kind, text in _NOTATION._located(source, None):
        if kind == "data":
            out[at : at + len(text)] = text
    return "".join(out)


def check_depth(tree: nodes.Node) -> None:
    """Raises ExpressionError where nodes stand more than MAX_DEPTH inside each other."""
    level: list[nodes.Node] = [tree]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ExpressionError("nested too deeply", level[0].lineno or 0, "use `in [...]`, or split the condition")
        level = [child for node in level for child in node.iter_child_nodes()]


def _syntax_error(error: TemplateSyntaxError, source: str) -> ExpressionError:
    message = _plain(error.message or "not understood")
    offset = min(error.lineno or 0, len(source))
    return ExpressionError(message, offset, _hint_for(source[offset : offset + 2]))


def _plain(message: str) -> str:
    """Jinja's words without its jargon."""
    words = {
        "end of print statement": "the end of the expression",
        "end of statement block": "`%}`",
        "begin of statement block": "`{%`",
        "end of template": "the end",
    }
    for jargon, plain in words.items():
        message = message.replace(jargon, plain)
    return message[:1].lower() + message[1:].rstrip(".")


def _hint_for(text: str) -> str:
    if text.startswith("=") and not text.startswith("=="):
        return "to compare, write `==`"
    return {"&": "write `and`", "|": "write `or`", "!": "write `not`, or `!=`", "?": "write `a if condition else b`"}.get(
        text[:1], ""
    )
