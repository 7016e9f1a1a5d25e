"""What is wrong with a project's own web pages (`templates/pages/`) before they are deployed, and which names they see."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from engine.authoring.findings import BOOLEAN, TEXT, Scope
from engine.authoring.template_checks import check_names
from engine.authoring.templates import PAGES, Template
from engine.authoring.types import Type
from engine.settings.problems import Problem

PREFERENCES = "preferences"
"""The page on which customers choose what to get."""

FIELDS = ("seen", "act", "on")
"""Fields that the form of that page can't do without."""

_OPTIONAL = Type("string")


def _list(**fields: Type) -> Type:
    return Type("list", item=Type("object", fields=tuple(fields.items()), optional=False), optional=False)


SEES: Mapping[str, Type] = {
    "language": TEXT,
    "locale": _OPTIONAL,
    "words": Type("object", optional=False),
    "seen": TEXT,
    "channels": _list(
        name=TEXT,
        label=TEXT,
        choices=_list(value=TEXT, topic=_OPTIONAL, label=TEXT, on=BOOLEAN, pending=BOOLEAN),
    ),
    "until": TEXT,
    "earliest": TEXT,
    "latest": TEXT,
    "caps": _list(name=TEXT, label=TEXT, own=TEXT, options=_list(value=TEXT, label=TEXT, chosen=BOOLEAN)),
    "saved": BOOLEAN,
    "error": TEXT,
}
"""Names that the page of preferences sees."""


def check_pages(templates: Mapping[tuple[str, str], Template]) -> list[Problem]:
    """What is wrong with the pages among a project's templates."""
    problems: list[Problem] = []
    for (channel, name), template in templates.items():
        if channel != PAGES:
            continue
        for version in (template, *template.versions.values()):
            problems += _check(name, version)
    return problems


def _check(name: str, template: Template) -> Iterator[Problem]:
    """What is wrong with a page in one language."""
    main = template.parts.get("html")
    if name != PREFERENCES or main is None:
        file = next(iter(template.parts.values())).file
        hint = "the page that a project can have is preferences.html.j2"
        yield Problem(file, 0, 0, "SJ249", 0, f"there is no page {name!r}", hint)
        return
    yield from check_names(template, Scope(SEES))
    text = "".join(source.text for source in (main, *template.sources.values()))
    for field in FIELDS:
        if not re.search(rf"""name\s*=\s*["']?{field}\b""", text):
            hint = "docs/reference/preferences.md shows the form that it needs"
            yield Problem(main.file, 1, 1, "SJ249", 1, f"the form has no field named {field!r}", hint)
