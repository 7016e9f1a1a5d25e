"""Message templates' statements as closures: output, `if`, `for`, `set`, `with`, `block`, `extends`, `include`, `macro`, `from`.
Nothing else is a statement of the language; expressions mean what they mean in conditions.

This is a whitelist. What a statement writes, and the work it costs, is counted by `pages`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import nodes
from markupsafe import Markup

from engine.authoring.bindings import bound, counted, rounds_of, targets
from engine.authoring.closures import Compiler, Eval, nearest
from engine.authoring.expression_syntax import ExpressionError, parse_template
from engine.authoring.operators import size_of, text_of
from engine.authoring.pages import Body, Macro, Page, Run, TemplateError, run_block, run_super, super_block

MAX_INCLUDES = 10
"""Files inside files."""


class _Templates(Compiler):
    """Compiles one file; includes and layouts are compiled with it, each once, from `files`."""

    def __init__(self, files: Mapping[str, str], file: str, html: bool, above: tuple[str, ...], done: dict[str, Body]) -> None:
        self.files, self.file, self.html, self.above, self.done = files, file, html, (*above, file), done
        self.blocks: dict[str, Run] = {}
        self.macros: dict[str, Macro] = {}
        self.parent: Body | None = None

    def name(self, node: nodes.Name) -> Eval:
        name = node.name
        return self.weighed(lambda f: f.names.get(name))

    def special_call(self, node: nodes.Call, name: str) -> Eval | None:
        if name in self.macros:
            run, html = self.macro_call(node, name), self.html
            return lambda f: Markup(f.captured(run)) if html else f.captured(run)
        return super_block if name == "super" and not node.args and not node.kwargs else None

    def macro_call(self, node: nodes.Call, name: str) -> Run:
        macro = self.macros[name]
        keywords = node.kwargs
        if node.dyn_args or node.dyn_kwargs:
            raise ExpressionError(f"`{name}` takes plain arguments only", node.lineno)
        named = [*zip(macro.given, node.args, strict=False), *((k.key, k.value) for k in keywords)]
        if len(node.args) > len(macro.given) or any(k.key not in macro.given for k in keywords):
            takes = ", ".join(macro.given) or "nothing"
            raise ExpressionError(f"the macro `{name}` takes {takes}", node.lineno)
        if twice := sorted({k.key for k in keywords} & set(list(macro.given)[: len(node.args)])):
            raise ExpressionError(f"the macro `{name}` is given {', '.join(twice)} twice", node.lineno)
        values = [(parameter, self.expression(value)) for parameter, value in named]
        return lambda f: macro.run(f, values)

    def weighed(self, made: Eval) -> Eval:
        def run(f: Page) -> object:
            value = made(f)
            f.spend(1 + (len(value) >> 5 if isinstance(value, str) else len(value) if isinstance(value, (list, dict)) else 0))
            return value

        return run

    def operand(self, node: nodes.Node) -> Eval:
        made = self.compile(node)

        def run(f: Page) -> object:
            value = made(f)
            if isinstance(value, (list, dict)):
                f.spend(size_of(value))
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
                f"`{word}` is not part of the template language", node.lineno, "use if, for, set, with, block, include, macro"
            )
        return method(self, node)

    def output(self, node: nodes.Output) -> Run:
        return _in_order([self.piece(n) for n in node.nodes])

    def piece(self, node: nodes.Expr) -> Run:
        if isinstance(node, nodes.TemplateData):
            data = node.data
            return lambda f: f.write(data)
        if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and (direct := self.direct(node, node.node.name)):
            return direct
        made, html = self.expression(node), self.html

        def run(f: Page) -> None:
            value = made(f)
            if f.trial is not None and not isinstance(value, Markup):
                value = "1"
            text = value if isinstance(value, str) else text_of(value, f.zone)
            if html:
                f.value(text)
            else:
                f.write(text)

        return run

    def direct(self, node: nodes.Call, name: str) -> Run | None:
        """What writes a macro or the layout's block where it is called; None where something else is."""
        if name in self.macros:
            return self.macro_call(node, name)
        return run_super if name == "super" and not node.args and not node.kwargs else None

    def condition(self, node: nodes.If) -> Run:
        arms = [(self.expression(n.test), self.body(n.body)) for n in (node, *node.elif_)]
        otherwise = self.body(node.else_)

        def run(f: Page) -> None:
            for test, then in arms:
                if test(f) if f.trial is None else f.trial:
                    then(f)
                    return
            otherwise(f)

        return run

    def loop(self, node: nodes.For) -> Run:
        if node.recursive:
            raise ExpressionError("a loop can't be recursive", node.lineno)
        names = targets(node.target)
        items, body, otherwise = self.expression(node.iter), self.body(node.body), self.body(node.else_)
        test = self.expression(node.test) if node.test else None
        counts = any(n.name == "loop" for part in node.body for n in part.find_all(nodes.Name))

        def run(f: Page) -> None:
            outer = f.names
            rounds = [bound(names, item) for item in (rounds_of(items(f)) if f.trial is None else [None] * f.trial)]
            f.spend(len(rounds))
            copying = 2 + (len(outer) >> 5)
            try:
                if test is not None and f.trial is None:
                    rounds = [own for own in rounds if _holds(test, f, outer, own)]
                for i, own in enumerate(rounds):
                    f.spend(copying)
                    f.names = outer | own
                    if counts:
                        f.names["loop"] = counted(i, len(rounds))
                    body(f)
            finally:
                f.names = outer
            if not rounds:
                otherwise(f)

        return run

    def assign(self, node: nodes.Assign) -> Run:
        names, value = targets(node.target), self.expression(node.node)
        return lambda f: f.names.update(bound(names, value(f)))

    def assign_block(self, node: nodes.AssignBlock) -> Run:
        if node.filter is not None:
            raise ExpressionError("write the filter where the value is used", node.lineno)
        names = targets(node.target)
        if len(names) != 1:
            raise ExpressionError("a block is given to one name", node.lineno)
        (name,), body, html = names, self.body(node.body), self.html

        def run(f: Page) -> None:
            text = f.captured(body)
            f.names[name] = Markup(text) if html else text

        return run

    def with_(self, node: nodes.With) -> Run:
        pairs = [(targets(t), self.expression(v)) for t, v in zip(node.targets, node.values, strict=True)]
        body = self.body(node.body)

        def run(f: Page) -> None:
            outer = f.names
            f.spend(1 + (len(outer) >> 5))
            inner = dict(outer)
            for names, value in pairs:
                inner.update(bound(names, value(f)))
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

    def macro(self, node: nodes.Macro) -> Run:
        """A macro sees the macros above it, so that none can call itself."""
        missing = len(node.args) - len(node.defaults)
        given = {
            arg.name: self.expression(node.defaults[i - missing]) if i >= missing else _nothing for i, arg in enumerate(node.args)
        }
        self.macros[node.name] = Macro(given, self.body(node.body))
        return lambda f: None

    def from_(self, node: nodes.FromImport) -> Run:
        found = self.other(node.template).macros
        for pair in node.names:
            name, called = (pair, pair) if isinstance(pair, str) else pair
            if name not in found:
                raise ExpressionError(f"there is no macro `{name}` in it", node.lineno, nearest(name, found))
            self.macros[called] = found[name]
        return lambda f: None

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
    return Body(main, compiler.blocks, compiler.parent, compiler.macros)


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


def _nothing(f: Page) -> object:
    return None


def _holds(test: Eval, f: Page, outer: dict[str, object], bound: dict[str, object]) -> bool:
    f.names = outer | bound
    return bool(test(f))


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
    nodes.Macro: _Templates.macro,
    nodes.FromImport: _Templates.from_,
}
