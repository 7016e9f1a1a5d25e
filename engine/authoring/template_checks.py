"""What is wrong with a message template before it is deployed: syntax, names nobody gives it, a missing subject or way out.

Codes: SJ120 syntax; SJ23x names as in `checking`; SJ240 no subject, SJ241 no unsubscribe link, SJ242 no postal address,
SJ243 no body, SJ248 a value in a link that isn't encoded; SJ33x types as in `checking`, in templates only where a comparison can
never hold; those of `page_checks`. Each version in another language is checked like the message itself.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping

from jinja2 import nodes

from engine.authoring.checking import Checker
from engine.authoring.expression_syntax import ExpressionError, parse_template
from engine.authoring.findings import BOOLEAN, DATETIME, TEXT, Finding, Scope
from engine.authoring.page_checks import check_markup, check_page
from engine.authoring.pages import TemplateError
from engine.authoring.statements import compile_body
from engine.authoring.templates import MARKUP, PAGES, Source, Template
from engine.authoring.types import ANY, Type
from engine.settings.problems import Level, Problem

_TEXT_OR_NONE = Type("string")
_INTEGER = Type("integer", optional=False)

GIVEN: Mapping[str, Type] = {
    "now": DATETIME,
    "locale": TEXT,
    "sender": Type("object"),
    "unsubscribe_url": _TEXT_OR_NONE,
    "confirm_url": _TEXT_OR_NONE,
    "preferences_url": _TEXT_OR_NONE,
    "postal_address": _TEXT_OR_NONE,
    "message": Type("object", fields=(("journey", TEXT), ("step", TEXT), ("topic", _TEXT_OR_NONE)), optional=False),
}
"""Names that every template sees, beside customer, entry, event, vars and what `with` gives."""

_IN_LINK = re.compile(r"""\b(?:href|src)=(?:"https?://[^"<>/]+[/?][^"<>]*|'https?://[^'<>/]+[/?][^'<>]*)\Z""")
"""The end of a text that stands in a link, behind the host."""

_LOOP = Type(
    "object",
    fields=(
        *((n, _INTEGER) for n in ("index", "index0", "revindex", "revindex0", "length")),
        ("first", BOOLEAN),
        ("last", BOOLEAN),
    ),
    optional=False,
)


def check_template(template: Template, scope: Scope, *, marketing: bool) -> list[Problem]:
    """What is wrong with a message for one use of it, in order of place. `scope`: customer, entry, event, vars and the names in
    `with`, with their types. `marketing`: its tier is below `service`, so an e-mail needs a way out and an address."""
    seen = scope.with_names({n: t for n, t in GIVEN.items() if n not in scope.names})
    problems: list[Problem] = []
    for version in (template, *template.versions.values()):
        problems += [*check_names(version, seen), *_check_whole(version, marketing)]
    return sorted(set(problems))


def check_names(template: Template, seen: Scope) -> list[Problem]:
    """What is wrong with the texts of one version of a template that sees just these names, and with a message's markup: a web
    page of the project's own may have links and styles that a letter can't."""
    problems: list[Problem] = []
    for field in template.fields.values():
        problems += _check_text(field, template, seen, "")
    for part, source in template.parts.items():
        problems += _check_text(source, template, seen, part)
    for source in template.sources.values():
        problems += _check_names(source, seen, template)
    return problems


def reads(template: Template) -> frozenset[str]:
    """Every name that the message, its layouts or its partials read."""
    sources = [*template.fields.values(), *template.parts.values(), *template.sources.values()]
    return frozenset(name for source in sources for name in _names(source.text))


def _check_whole(template: Template, marketing: bool) -> list[Problem]:
    main = next(iter(template.parts.values()), Source(f"templates/{template.channel}/{template.name}", 0, ""))
    found: list[tuple[str, str, str]] = []
    if not template.parts:
        found.append(("SJ243", "this message has no body", "write a .html or a .txt file"))
    if template.channel == "email":
        if not template.fields.get("subject", main).text.strip() or "subject" not in template.fields:
            near = difflib.get_close_matches("subject", template.fields, n=1)
            hint = f"`{near[0]}` is none: did you mean `subject`?" if near else "begin the file with `---`, `subject: …`, `---`"
            found.append(("SJ240", "this e-mail has no subject", hint))
        read = reads(template)
        if marketing and "unsubscribe_url" not in read:
            found.append(("SJ241", "this e-mail has no unsubscribe link", 'add <a href="{{ unsubscribe_url }}">Unsubscribe</a>'))
        if marketing and not {"postal_address", "sender"} & read:
            found.append(("SJ242", "this e-mail doesn't say where the sender lives", "add {{ postal_address }}"))
    return [Problem(main.file, min(main.line, 1), 1, code, 1, message, hint) for code, message, hint in found]


def _check_text(source: Source, template: Template, scope: Scope, part: str) -> list[Problem]:
    """Syntax of one text with all it includes, its names, and the page that it makes. `part`: "" for a field."""
    try:
        body = compile_body(source.text, source.file, template.files, part in MARKUP)
    except TemplateError as error:
        where = template.sources.get(error.file, source)
        return [_problem(where, error.code, error.offset, 1, error.message, error.hint)]
    problems = _check_names(source, scope, template)
    if part in MARKUP and template.channel != PAGES:
        mail, alone = template.channel == "email", "txt" not in template.parts
        problems += [_told(source, f) for f in check_page(body, mjml=part == "mjml", mail=mail, alone=alone)]
    return problems


def _check_names(source: Source, scope: Scope, template: Template) -> list[Problem]:
    try:
        tree = parse_template(source.text)
    except ExpressionError as error:
        return [_problem(source, error.code, error.offset, 1, error.message, error.hint)]
    checker = Checker(source.text, scope.with_names(_set_anywhere(template)), lenient=True)
    for statement in tree.body:
        _walk(statement, checker)
    letter = template.channel != PAGES and source.file.endswith(tuple(f".{part}" for part in MARKUP)) and not source.lead
    found = [*checker.findings, *(check_markup(source.text) if letter else ())]
    return [_told(source, finding) for finding in found]


def _told(source: Source, f: Finding) -> Problem:
    return _problem(source, f.code, f.offset, f.length, f.message, f.hint, f.level)


def _walk(node: nodes.Node, checker: Checker) -> None:
    """Checks every expression below a statement, with the names that loops and `with` bring."""
    outer = checker.scope
    if isinstance(node, nodes.For):
        items = checker.infer(node.iter)
        bound = dict.fromkeys(_targets(node.target), ANY)
        if isinstance(node.target, nodes.Name) and items.item is not None:
            bound = {node.target.name: items.item}
        checker.scope = outer.with_names({**bound, "loop": _LOOP})
        if node.test is not None:
            checker.infer(node.test)
        _walk_all(node.body, checker)
        checker.scope = outer
        _walk_all(node.else_, checker)
    elif isinstance(node, nodes.With):
        given = [checker.infer(value) for value in node.values]
        names = {n: t for target, t in zip(node.targets, given, strict=True) for n in _targets(target)}
        checker.scope = outer.with_names(names)
        _walk_all(node.body, checker)
        checker.scope = outer
    elif isinstance(node, nodes.Macro):
        for value in node.defaults:
            checker.infer(value)
        checker.scope = outer.with_names(dict.fromkeys((arg.name for arg in node.args), ANY))
        _walk_all(node.body, checker)
        checker.scope = outer
    elif isinstance(node, nodes.Output):
        _walk_output(node, checker)
    elif isinstance(node, nodes.Expr):
        checker.infer(node)
    elif isinstance(node, nodes.Assign):
        checker.infer(node.node)
    else:
        for child in node.iter_child_nodes(exclude=("template", "target")):
            _walk(child, checker)


def _walk_output(node: nodes.Output, checker: Checker) -> None:
    """Checks what is written out; in a link also that a value can't end it or add to it."""
    link = ""
    for piece in node.nodes:
        if isinstance(piece, nodes.TemplateData):
            begun = _IN_LINK.search(link + piece.data)
            link = begun[0] if begun else ""
            continue
        kind = checker.infer(piece).kind
        safe = isinstance(piece, nodes.Filter) and piece.name in ("urlencode", "safe")
        if link and not safe and kind not in ("integer", "number", "boolean", "enum"):
            hint = "add `| urlencode`"
            checker.say("SJ248", piece, "this value may hold signs that end the link or add to it", hint, level="warning")
        link = link and f"{link}x"


def _walk_all(statements: list[nodes.Node], checker: Checker) -> None:
    for statement in statements:
        _walk(statement, checker)


def _targets(node: nodes.Node) -> list[str]:
    return [node.name] if isinstance(node, nodes.Name) else [n.name for n in node.find_all(nodes.Name)]


def _set_anywhere(template: Template) -> dict[str, Type]:
    """Names that a `set` brings, or a loop or `with` around an `include`: an included file sees what its includer does."""
    found: dict[str, Type] = {}
    for source in [*template.parts.values(), *template.sources.values()]:
        try:
            tree = parse_template(source.text)
        except ExpressionError:
            continue  # reported where its text is checked
        for node in tree.find_all((nodes.Assign, nodes.AssignBlock)):
            found |= dict.fromkeys(_targets(node.target), ANY)  # type: ignore[attr-defined]  # both have a target
        if source.file in {s.file for s in template.parts.values()} and template.sources:
            for scope in tree.find_all((nodes.For, nodes.With)):
                if any(True for _ in scope.find_all(nodes.Include)):
                    targets = [scope.target] if isinstance(scope, nodes.For) else scope.targets  # type: ignore[attr-defined]  # With
                    found |= {name: ANY for target in targets for name in _targets(target)}
    return found


def _names(text: str) -> Iterator[str]:
    try:
        tree = parse_template(text)
    except ExpressionError:
        return
    for node in tree.find_all(nodes.Name):
        yield node.name


def _problem(source: Source, code: str, offset: int, length: int, message: str, hint: str, level: str = "error") -> Problem:
    before = source.text[:offset]
    line = source.line + before.count("\n")
    column = offset - (before.rfind("\n") + 1) + 1
    if source.lead and line == source.line:  # the line of a field has its name in front, which isn't here to be shown
        return Problem(source.file, line, column + source.lead, code, length, message, hint, _level(level))
    lines = source.text.split("\n")
    text = lines[before.count("\n")] if before.count("\n") < len(lines) else ""
    return Problem(source.file, line, column, code, length, message, hint, _level(level), text)


def _level(level: str) -> Level:
    return "warning" if level == "warning" else "error"
