"""Message templates as they lie in `templates/`: files with front matter, their layouts and partials, in one self-contained value
that is stored with a deploy. `template_checks` says what is wrong with one; `delivery.render` renders it.

A message is `templates/<channel>/<name>.<ext>`, one file per part: `.html` or `.mjml`, `.txt`, `.json`. Its version in another
language is `<name>.<locale>.<ext>`. Files under `templates/layouts` and `templates/partials` are reached by `{% extends %}`,
`{% include %}` and `{% from %}` (in the Italian version `letter.it.html` before `letter.html`), and nothing outside the folder
ever is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from jinja2 import nodes

from engine.authoring.expression_syntax import MAX_TEMPLATE, ExpressionError, parse_template
from engine.authoring.locales import fallbacks, language_file
from engine.core.wire import Json, digest
from engine.settings.problems import Problem
from engine.settings.yaml import Map, Text, read

PARTS = ("html", "mjml", "txt", "json")
"""The file endings of a message's parts."""
MARKUP = ("html", "mjml")
"""Those in which values are escaped; a message has one of them."""
SHARED = ("layouts", "partials")
"""Folders of files that messages include; no channel can have such a name."""
PAGES = "pages"
"""The folder of a project's own web pages, `NAME.html.j2`; they stand among the templates as if it were a channel."""

_FRONT = re.compile(r"---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """A text of a template: the file it stands in (relative to the project), the line it begins at (from 1), the text, and how
    many characters stand before it on its line."""

    file: str
    line: int
    text: str
    lead: int = 0


@dataclass(frozen=True, slots=True)
class Template:
    """One message. `fields`: its front matter (subject, preheader, title …) · `parts`: html or mjml, txt, json · `sources`:
    layouts and partials by the path that names them · `versions`: the whole message in other languages, by locale ·
    `locale`: of such a version, "" for the message itself · `hash`: of all texts."""

    channel: str
    name: str
    fields: Mapping[str, Source]
    parts: Mapping[str, Source]
    sources: Mapping[str, Source]
    hash: str
    locale: str = ""
    versions: Mapping[str, Template] = field(default_factory=dict)

    def version(self, locale: str) -> Template:
        """The message for somebody with that locale: theirs, else that of their language, else the message itself."""
        return next((self.versions[tag] for tag in fallbacks(locale) if tag in self.versions), self)

    @property
    def files(self) -> dict[str, str]:
        """The text of every layout and partial, by path."""
        return {path: source.text for path, source in self.sources.items()}

    def to_json(self) -> Json:
        """JSON values that hold everything that rendering needs; `template_from_json` reads them back."""
        groups = {"fields": self.fields, "parts": self.parts, "sources": self.sources}
        body: dict[str, Json] = {"channel": self.channel, "name": self.name}
        if self.versions:
            body["versions"] = {locale: version.to_json() for locale, version in self.versions.items()}
        return body | {g: {k: [s.file, s.line, s.text, s.lead] for k, s in found.items()} for g, found in groups.items()}


def template_from_json(body: Json) -> Template:
    """The Template that `Template.to_json` wrote."""
    groups = [{k: Source(*s) for k, s in body[g].items()} for g in ("fields", "parts", "sources")]
    whole = sealed(body["channel"], body["name"], *groups)
    return with_versions(whole, {locale: template_from_json(one) for locale, one in body.get("versions", {}).items()})


def sealed(
    channel: str, name: str, fields: Mapping[str, Source], parts: Mapping[str, Source], sources: Mapping[str, Source]
) -> Template:
    """The template with its hash computed."""
    texts = [{k: s.text for k, s in group.items()} for group in (fields, parts, sources)]
    return Template(channel, name, fields, parts, sources, digest([channel, name, *texts]))


def with_versions(template: Template, versions: Mapping[str, Template]) -> Template:
    """The template with these versions in other languages, which its hash covers."""
    if not versions:
        return template
    found = {locale: replace(version, locale=locale) for locale, version in sorted(versions.items())}
    covered = digest([template.hash, *([locale, version.hash] for locale, version in found.items())])
    return replace(template, versions=found, hash=covered)


def load_templates(folder: Path, shown: str = "templates") -> tuple[dict[tuple[str, str], Template], list[Problem]]:
    """Every message under `folder` by (channel, name), and what is wrong with the files; `shown` names it there."""
    problems: list[Problem] = []
    texts = {path: text for path in _files(folder) if (text := _text(folder, path, shown, problems)) is not None}
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for path in texts:
        channel, _, rest = path.partition("/")
        name, _, extension = (rest.removesuffix(".j2") if channel == PAGES else rest).rpartition(".")
        if channel in SHARED or not name:
            continue
        if extension not in PARTS:
            hint = "the parts of a message are .html or .mjml, .txt and .json"
            problems.append(Problem(f"{shown}/{path}", 0, 0, "SJ123", 0, f"a template can't end in .{extension}", hint))
            continue
        base, _, tag = name.rpartition(".")
        locale = language_file(tag) if base and not base.endswith("/") else ""
        found.setdefault((channel, base if locale else name), {}).setdefault(locale, {})[extension] = path
    templates: dict[tuple[str, str], Template] = {}
    for key, versions in sorted(found.items()):
        made = {locale: _template(*key, locale, parts, texts, shown, problems) for locale, parts in versions.items()}
        default = made.pop("", None)
        if default is None:
            first, part = min((path, part) for parts in versions.values() for part, path in parts.items())
            hint = f"write {shown}/{'/'.join(key)}{first[first.rindex(f'.{part}') :]} for everybody else"
            problems.append(Problem(f"{shown}/{first}", 0, 0, "SJ124", 0, "there is no version for other languages", hint))
        else:
            templates[key] = with_versions(default, made)
    return templates, problems


def loose_files(folder: Path, templates: Mapping[tuple[str, str], Template], shown: str = "templates") -> list[Source]:
    """The layouts and partials under `folder` that none of `templates` includes."""
    read = {s.file for t in templates.values() for version in (t, *t.versions.values()) for s in version.sources.values()}
    found = []
    for path in _files(folder):
        unread = path.partition("/")[0] in SHARED and path.rpartition(".")[2] in PARTS and f"{shown}/{path}" not in read
        if unread and (text := _text(folder, path, shown, [])) is not None:
            found.append(Source(f"{shown}/{path}", 1, text))
    return found


def _template(
    channel: str, name: str, locale: str, paths: dict[str, str], texts: dict[str, str], shown: str, problems: list[Problem]
) -> Template:
    fields: dict[str, Source] = {}
    parts: dict[str, Source] = {}
    for extension, path in sorted(paths.items()):
        front, body = _front_matter(f"{shown}/{path}", texts[path], problems)
        for said, source in front.items():
            if said in fields and fields[said].text != source.text:
                message = f"`{said}` is given in {fields[said].file} too, and differs"
                problems.append(Problem(source.file, source.line, 1, "SJ401", 1, message, "say it in one of the two files"))
            fields.setdefault(said, source)
        parts[extension] = body
    if len(both := [paths[part] for part in MARKUP if part in paths]) > 1:
        message = f"{shown}/{both[0]} writes this part too"
        problems.append(Problem(f"{shown}/{both[1]}", 0, 0, "SJ125", 0, message, "keep one of the two"))
    sources: dict[str, Source] = {}
    for text in [s.text for s in (*fields.values(), *parts.values())]:
        _collect(text, texts, shown, locale, sources)
    return sealed(channel, name, fields, parts, sources)


def _collect(text: str, texts: dict[str, str], shown: str, locale: str, found: dict[str, Source]) -> None:
    """Adds what `text` includes, and what that includes, in this language where it is written in it. What isn't there is left for
    the checks to report."""
    for path in included(text):
        stem, dot, ending = path.rpartition(".")
        ways = [*(f"{stem}.{tag}{dot}{ending}" for tag in fallbacks(locale)), path]
        there = next((way for way in ways if way in texts), None)
        if there is not None and path not in found:
            found[path] = Source(f"{shown}/{there}", 1, texts[there])
            _collect(texts[there], texts, shown, locale, found)


def included(text: str) -> Iterator[str]:
    """The files that `text` names in `extends`, `include` and `from`; none where it can't be parsed."""
    try:
        tree = parse_template(text)
    except ExpressionError:
        return
    for node in tree.find_all((nodes.Extends, nodes.Include, nodes.FromImport)):
        name = node.template  # type: ignore[attr-defined]  # all have it, their common base doesn't
        if isinstance(name, nodes.Const) and isinstance(name.value, str):
            yield name.value


def _front_matter(file: str, text: str, problems: list[Problem]) -> tuple[dict[str, Source], Source]:
    """The fields between the `---` lines at the head of a file, and its body."""
    front = _FRONT.match(text)
    if front is None:
        if text.startswith("---\n"):
            hint = "a line of three dashes ends it"
            problems.append(Problem(file, 1, 1, "SJ122", 3, "the front matter has no end", hint, text="---"))
        return {}, Source(file, 1, text)
    body = Source(file, front.group(0).count("\n") + 1, text[front.end() :])
    # An empty line stands in for the first `---`, so that the lines count as in the file.
    document = read("\n" + front[1], file)
    problems.extend(document.problems)
    if document.root is not None and not isinstance(document.root, Map):
        problems.append(document.problem("SJ122", document.root, "front matter holds fields", "write `subject: …`"))
    fields: dict[str, Source] = {}
    for key, value in document.root.entries if isinstance(document.root, Map) else ():
        if isinstance(value, Text):
            fields[key.value] = Source(file, value.line, value.value, value.column - 1 + max(value.lead, 0))
        else:
            problems.append(document.problem("SJ122", key, f"`{key.value}` must be a text"))
    return fields, body


def _files(folder: Path) -> list[str]:
    """Paths of all files below `folder`, sorted; links that lead out of it and hidden files aren't followed."""
    root = folder.resolve()
    found = []
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if not hidden and path.is_file() and path.resolve().is_relative_to(root):
            found.append(inside.as_posix())
    return sorted(found)


def _text(folder: Path, path: str, shown: str, problems: list[Problem]) -> str | None:
    try:
        text = (folder / path).read_text("utf-8-sig")
    except UnicodeDecodeError:
        problems.append(
            Problem(f"{shown}/{path}", 0, 0, "SJ108", 0, "this file is not UTF-8 text", "save it with UTF-8 encoding")
        )
        return None
    if len(text) > MAX_TEMPLATE:
        problems.append(Problem(f"{shown}/{path}", 0, 0, "SJ108", 0, f"this file is longer than {MAX_TEMPLATE} characters"))
        return None
    return text
