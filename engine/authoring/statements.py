"""Message templates' statements as closures: output, `if`, `for`, `set`, `with`, `block`, `extends`, `include`. Nothing else is a
statement of the language; expressions mean what they mean in conditions.

This is a whitelist. What a statement writes, and the work it costs, is counted by `pages`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import nodes
from markupsafe import Markup, escape

from engine.authoring.closures import Compiler, Eval
from engine.authoring.expression_syntax import ExpressionError, parse_template
from engine.authoring.operators import text_of
from engine.authoring.pages import Body, Page, Run, TemplateError, run_block, super_block

MAX_INCLUDES = 10
"""Files inside files."""


class _Templates(Compiler):
    """Compiles one file; includes and layouts are compiled with it, each once, from `files`."""

    def __init__(self, files: Mapping[str, str], file: str, html: bool, above: tuple[str, ...], done: dict[str, Body]) -> None:
        self.files, self.file, self.html, self.above, self.done = files, file, html, (*above, file), done
        self.blocks: dict[str, Run] = {}
        self.parent: Body | None = None

    def name(self, node: nodes.Name) -> Eval:
        name = node.name
        return self.weighed(lambda f: f.names.get(name))

    def special_call(self, node: nodes.Call, name: str) -> Eval | None:
        return super_block if name == "super" and not node.args else None

    def weighed(self, made: Eval) -> Eval:
        def run(f: Page) -> object:
            value = made(f)
            f.spend(1 + (len(value) >> 8 if isinstance(value, str) else len(value) if isinstance(value, (list, dict)) else 0))
            return value

        return run

    def expression(self, node: nodes.Node) -> Eval:
        """The closure of an expression whose errors say where it stands."""
        made, file, offset = self.compile(node), self.file, node.lineno

        def run(f: Page) -> object:
            try:
                return made(f)
            except TemplateError:
                raise
            except ExpressionError as error:
                raise TemplateError(error.message, file, offset, error.hint) from None

        return run

    def body(self, statements: list[nodes.Node]) -> Run:
        return _in_order([self.statement(s) for s in statements])

    def statement(self, node: nodes.Node) -> Run:
        method = _STATEMENTS.get(type(node))
        if method is None:
            word = type(node).__name__.lower()
            raise ExpressionError(
                f"`{word}` is not part of the template language", node.lineno, "use if, for, set, with, block, include"
            )
        return method(self, node)

    def output(self, node: nodes.Output) -> Run:
        return _in_order([self.piece(n) for n in node.nodes])

    def piece(self, node: nodes.Expr) -> Run:
        if isinstance(node, nodes.TemplateData):
            data = node.data
            return lambda f: f.write(data)
        made, html = self.expression(node), self.html

        def run(f: Page) -> None:
            value = made(f)
            text = value if isinstance(value, str) else text_of(value, f.zone)
            f.write(str(escape(text)) if html else text)

        return run

    def condition(self, node: nodes.If) -> Run:
        arms = [(self.expression(n.test), self.body(n.body)) for n in (node, *node.elif_)]
        otherwise = self.body(node.else_)

        def run(f: Page) -> None:
            for test, then in arms:
                if test(f):
                    then(f)
                    return
            otherwise(f)

        return run

    def loop(self, node: nodes.For) -> Run:
        if node.recursive:
            raise ExpressionError("a loop can't be recursive", node.lineno)
        names = _targets(node.target)
        items, body, otherwise = self.expression(node.iter), self.body(node.body), self.body(node.else_)
        test = self.expression(node.test) if node.test else None
        counts = any(n.name == "loop" for part in node.body for n in part.find_all(nodes.Name))

        def run(f: Page) -> None:
            outer = f.names
            rounds = [_bound(names, item) for item in _items(items(f))]
            f.spend(len(rounds))
            try:
                if test is not None:
                    rounds = [bound for bound in rounds if _holds(test, f, outer, bound)]
                for i, bound in enumerate(rounds):
                    f.spend(2)
                    f.names = outer | bound
                    if counts:
                        f.names["loop"] = _loop(i, len(rounds))
                    body(f)
            finally:
                f.names = outer
            if not rounds:
                otherwise(f)

        return run

    def assign(self, node: nodes.Assign) -> Run:
        names, value = _targets(node.target), self.expression(node.node)
        return lambda f: f.names.update(_bound(names, value(f)))

    def assign_block(self, node: nodes.AssignBlock) -> Run:
        if node.filter is not None:
            raise ExpressionError("write the filter where the value is used", node.lineno)
        (name,), body, html = _targets(node.target), self.body(node.body), self.html

        def run(f: Page) -> None:
            text = f.captured(body)
            f.names[name] = Markup(text) if html else text

        return run

    def with_(self, node: nodes.With) -> Run:
        pairs = [(_targets(t), self.expression(v)) for t, v in zip(node.targets, node.values, strict=True)]
        body = self.body(node.body)

        def run(f: Page) -> None:
            outer = f.names
            inner = dict(outer)
            for names, value in pairs:
                inner.update(_bound(names, value(f)))
            f.names = inner
            try:
                body(f)
            finally:
                f.names = outer

        return run

    def block(self, node: nodes.Block) -> Run:
        name = node.name
        if name in self.blocks:
            raise ExpressionError(f"the block `{name}` stands here twice", node.lineno)
        self.blocks[name] = lambda f: None
        self.blocks[name] = self.body(node.body)
        return lambda f: run_block(f, name, 0)

    def extends(self, node: nodes.Extends) -> Run:
        if self.parent is not None:
            raise ExpressionError("a template extends one layout", node.lineno)
        self.parent = self.other(node.template)
        return lambda f: None

    def include(self, node: nodes.Include) -> Run:
        if not node.with_context or (node.ignore_missing and named(node.template) not in self.files):
            return lambda f: None
        included = self.other(node.template)
        return included.run

    def other(self, node: nodes.Expr) -> Body:
        """The compiled file that an include or an extends names."""
        name = named(node)
        if name in self.above:
            raise ExpressionError(f"`{name}` includes itself", node.lineno)
        if len(self.above) > MAX_INCLUDES:
            raise ExpressionError(f"more than {MAX_INCLUDES} files inside each other", node.lineno)
        if name not in self.files:
            raise ExpressionError(f"there is no file `{name}` in the templates folder", node.lineno)
        if name not in self.done:
            self.done[name] = _compiled(self.files, name, self.files[name], self.html, self.above, self.done)
        return self.done[name]


def compile_body(source: str, file: str, files: Mapping[str, str], html: bool) -> Body:
    """The compiled text of `file`. `files`: the layouts and partials by their path in the folder; `html`: whether values
    are escaped. Raises TemplateError."""
    try:
        return _compiled(files, file, source, html, (), {})
    except RecursionError:
        raise TemplateError("nested too deeply", file, 0) from None


def _compiled(
    files: Mapping[str, str], file: str, source: str, html: bool, above: tuple[str, ...], done: dict[str, Body]
) -> Body:
    compiler = _Templates(files, file, html, above, done)
    try:
        tree = parse_template(source)
        runs = [(type(statement), compiler.statement(statement)) for statement in tree.body]
    except TemplateError:
        raise
    except ExpressionError as error:
        raise TemplateError(error.message, file, error.offset, error.hint, error.code) from None
    if compiler.parent is not None:
        runs = [(kind, run) for kind, run in runs if kind in (nodes.Assign, nodes.AssignBlock)]
    main = _in_order([run for _, run in runs])
    return Body(main, compiler.blocks, compiler.parent)


def _in_order(runs: list[Run]) -> Run:
    if len(runs) == 1:
        return runs[0]

    def run(f: Page) -> None:
        for one in runs:
            one(f)

    return run


def named(node: nodes.Node) -> str:
    """The file that an include or an extends names. Raises ExpressionError where it isn't a name in quotes."""
    if not isinstance(node, nodes.Const) or not isinstance(node.value, str):
        raise ExpressionError("name the file in quotes", node.lineno)
    return node.value


def _targets(node: nodes.Node) -> tuple[str, ...]:
    if isinstance(node, nodes.Name):
        return (node.name,)
    if isinstance(node, nodes.Tuple) and all(isinstance(n, nodes.Name) for n in node.items):
        return tuple(n.name for n in node.items if isinstance(n, nodes.Name))
    raise ExpressionError("a value is given to a plain name", node.lineno)


def _bound(names: tuple[str, ...], value: object) -> dict[str, object]:
    """The names with the value; several names share out a list."""
    if len(names) == 1:
        return {names[0]: value}
    parts = value if isinstance(value, (list, tuple)) else []
    return {name: parts[i] if i < len(parts) else None for i, name in enumerate(names)}


def _holds(test: Eval, f: Page, outer: dict[str, object], bound: dict[str, object]) -> bool:
    f.names = outer | bound
    return bool(test(f))


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple, Mapping)) else []


def _loop(i: int, length: int) -> dict[str, object]:
    return {
        "index": i + 1,
        "index0": i,
        "revindex": length - i,
        "revindex0": length - i - 1,
        "first": i == 0,
        "last": i == length - 1,
        "length": length,
    }


_STATEMENTS: dict[type, Callable[[Any, Any], Run]] = {  # each is called with its own type of node only
    nodes.Output: _Templates.output,
    nodes.If: _Templates.condition,
    nodes.For: _Templates.loop,
    nodes.Assign: _Templates.assign,
    nodes.AssignBlock: _Templates.assign_block,
    nodes.With: _Templates.with_,
    nodes.Block: _Templates.block,
    nodes.Extends: _Templates.extends,
    nodes.Include: _Templates.include,
}
