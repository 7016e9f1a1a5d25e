"""What is wrong with the markup of a message before it is deployed: links that lead nowhere, images without words, a page that is
too large or says nothing as text.

Codes: SJ244 a link, SJ245 an image without words, SJ246 the size, SJ247 nothing to read as text, SJ248 a value in a link; SJ126
MJML that is none. Links and images are looked at as they are written, in place; size and MJML in two renderings without data, one
in which every condition holds and one in which none does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import urlsplit

from engine.authoring.dressing import dressed
from engine.authoring.expression_syntax import ExpressionError, static_text
from engine.authoring.findings import Finding
from engine.authoring.pages import Body, Page, TemplateError

CLIPPED = 102 * 1024
"""Bytes of HTML after which Gmail cuts a message off. Source: spamresource.com, "What is Gmail clipping and what to do about it",
12 January 2022, read 2026-11-22; Gmail itself documents no figure, and others measured up to 105 KB."""

LINKS = {"a": "href", "area": "href", "mj-button": "href", "mj-social-element": "href", "mj-navbar-link": "href"}
"""Elements that are links, and the attribute that says where to."""
IMAGES = ("img", "mj-image")

_STAND_IN = "\ue000"
_NEVER = re.compile(r"""[\s<>"{}|\\^`]""")
_OWN_MACHINE = re.compile(r"localhost$|127\.|0\.0\.0\.0$|::1$|.*\.(localhost|internal|local)$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Elements(HTMLParser):
    """Notes links and images with the place that each begins at, not those that `mj-attributes` only describes."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self.found: list[tuple[str, dict[str, str], int]] = []
        self.described = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.described = self.described or tag == "mj-attributes"
        if (tag in LINKS or tag in IMAGES) and not self.described:
            line, column = self.getpos()
            given = {name.strip(_STAND_IN): value or "" for name, value in attrs}
            self.found.append((tag, given, self.starts[line - 1] + column))

    def handle_endtag(self, tag: str) -> None:
        self.described = self.described and tag != "mj-attributes"


def check_markup(source: str) -> Iterator[Finding]:
    """What is wrong with the links and images of a text, by offset. Nothing where the text can't be parsed as a template."""
    try:
        plain = static_text(source, _STAND_IN)
    except ExpressionError:
        return
    for tag, given, offset in _Elements(plain).found:
        length = len(tag) + 1
        if tag in LINKS and (LINKS[tag] in given or not {"name", "id", *_dynamic(given)} & given.keys()):
            wrong, hint = broken(given.get(LINKS[tag], ""))
        elif "href" in given:
            wrong, hint = broken(given["href"])
        else:
            wrong, hint = "", ""
        if wrong:
            yield Finding("SJ244", f"this link {wrong}", hint, offset, length)
        if tag in IMAGES:
            if not _dynamic(given) and not given.get("src", "").strip():
                yield Finding("SJ244", "this image has no src", "say where it is: https://…", offset, length)
            if "alt" not in given and not _dynamic(given):
                hint = 'add alt="what it shows", or alt="" where it only decorates'
                yield Finding("SJ245", "this image has no words for those who don't see it", hint, offset, length, "warning")


def _dynamic(given: dict[str, str]) -> set[str]:
    """The names of attributes that the template language writes."""
    return {name for name in given if name == "" or _STAND_IN in name}


def broken(link: str) -> tuple[str, str]:
    """Why a link leads nowhere and how to mend it, both empty where it may lead somewhere. Stand-ins will be filled by values."""
    link = link.strip()
    if link in ("", "#"):
        return "leads nowhere", "say where to: https://…"
    if link[0] in (_STAND_IN, "#"):
        return "", ""
    plain = re.sub(f"{_STAND_IN}+", "x", link)
    scheme, colon, rest = plain.partition(":")
    scheme = scheme.lower()
    if not colon or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) or "." in scheme:
        return f"has no scheme: {plain[:60]!r}", "begin it with https://"
    if found := _NEVER.search(plain):
        return f"holds {found[0]!r}, which no link can", "write it as %20 and the like; a value with | urlencode"
    if scheme in ("mailto", "tel", "sms"):
        return ("" if rest else "leads nowhere", "")
    if scheme not in ("http", "https"):
        return f"begins with {scheme}:, which mail programs don't open", "begin it with https://"
    try:
        parts = urlsplit(plain)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return f"isn't one that can be read: {plain[:60]!r}", "https://host/path"
    if _STAND_IN in link.partition("://")[2].partition("/")[0]:
        return "", ""
    if not host or ("." not in host and ":" not in host) or _OWN_MACHINE.match(host):
        return f"leads to {host or 'no host'}, where no reader gets", "name a host that everybody can reach"
    return "", ""


def check_page(body: Body, *, mjml: bool, mail: bool, alone: bool) -> Iterator[Finding]:
    """What is wrong with a part as a whole. `mail`: it goes by e-mail; `alone`: no text part is written beside it."""
    for full in (False, True):
        try:
            page = body.render(Page({}, _EPOCH, "UTC", lambda name: False, trial=full))
        except TemplateError:
            continue  # what it asks for without data says little about what it asks for with them
        try:
            html, text = dressed(page, mjml=mjml)
        except ExpressionError as error:
            yield Finding(error.code, error.message, error.hint, 0, 1)
            return
        if not full or not mail:
            continue
        size = len(html.encode())
        if size > CLIPPED:
            hint = "say less, or lead to a page with the rest"
            said = f"its HTML has {size // 1024} KB, and Gmail cuts off what is over {CLIPPED // 1024}"
            yield Finding("SJ246", said, hint, 0, 1, "warning")
        if alone and not text.strip():
            hint = "give its images alt texts, or write a .txt beside it"
            yield Finding("SJ247", "there is nothing to read in it as text", hint, 0, 1, "warning")
