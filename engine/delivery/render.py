"""Templates and a context to a message's content. A template reaches nothing but its context: it is never turned into Python, and
no attribute or method of an object exists in it.

    RenderError           this template fails for this context: the author mends it, or the data; the enrollment is parked
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from engine.authoring.dressing import dressed
from engine.authoring.expression_syntax import ExpressionError
from engine.authoring.locales import fallbacks
from engine.authoring.pages import Body, Page, TemplateError
from engine.authoring.statements import compile_body
from engine.authoring.templates import MARKUP, PAGES, Source, Template
from engine.core.wire import Json
from engine.delivery.channel import Content

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RenderError(Exception):
    """`template` ("email/welcome") can't be rendered; `file` and `line` (0: the message as a whole) say where, `message` why."""

    def __init__(self, template: str, file: str, line: int, message: str) -> None:
        super().__init__(f"{file}:{line}: {message}" if line else f"{template}: {message}")
        self.template = template
        self.file = file
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class _Compiled:
    fields: tuple[tuple[str, Source, Body], ...]
    parts: tuple[tuple[str, Source, Body], ...]


def _no_segments(name: str) -> bool:
    return False


class Renderer:
    """Renders the templates of one deploy; compiles each once, by its hash."""

    def __init__(self, templates: Mapping[tuple[str, str], Template]) -> None:
        self._templates = templates

    def template(self, channel: str, name: str) -> Template | None:
        """One of them; None where there is none such."""
        return self._templates.get((channel, name))

    def render(
        self,
        channel: str,
        name: str,
        context: Mapping[str, object],
        *,
        zone: str = "UTC",
        locale: str = "",
        segments: Callable[[str], bool] = _no_segments,
    ) -> Content:
        """The content of message `name` on `channel`. `context`: the names that it sees; `zone`: in which times are written;
        `locale`: the customer's, in whose language it is where it has been written in that.

        Raises RenderError: no such template, a text or a loop beyond its bounds, JSON that isn't, an empty message."""
        template = self._templates.get((channel, name))
        if template is None:
            raise RenderError(f"{channel}/{name}", f"templates/{channel}/{name}", 0, "there is no such template")
        return render(template, context, zone=zone, locale=locale, segments=segments)


def render(
    template: Template,
    context: Mapping[str, object],
    *,
    zone: str = "UTC",
    locale: str = "",
    segments: Callable[[str], bool] = _no_segments,
) -> Content:
    """The content of one template; see `Renderer.render`."""
    version = template.version(locale)
    spoken = fallbacks(locale)[0] if version.locale else ""
    compiled = _compile(_ByHash(version))
    names = {"locale": spoken, **context}
    now = names.get("now")
    moment = now if isinstance(now, datetime) else _EPOCH

    def rendered(source: Source, body: Body, held: dict[str, int] | None = None) -> str:
        try:
            return body.render(Page(dict(names), moment, zone, segments, locale=spoken, held=held))
        except TemplateError as error:
            raise _placed(version, source, error) from None

    fields = {field: " ".join(rendered(source, body).split()) for field, source, body in compiled.fields}
    html, text, data = None, None, None
    for part, source, body in compiled.parts:
        if version.channel == PAGES:  # a browser shows it as it is written
            html = rendered(source, body)
        elif part in MARKUP:
            held: dict[str, int] = {}
            page = rendered(source, body, held)
            try:
                html, text = dressed(page, mjml=part == "mjml", preheader=fields.get("preheader", ""), held=held)
            except ExpressionError as error:
                raise RenderError(_named(version), source.file, source.line, error.message) from None
        elif part == "txt":
            text = rendered(source, body).replace("\xa0", " ").strip("\n")
        else:
            data = _json(version, rendered(source, body))
    if not text and not html and data is None and not any(fields.values()):
        raise RenderError(_named(version), f"templates/{_named(version)}", 0, "the message is empty")
    return Content(fields, text, html, data, template.hash, version.locale)


class _ByHash:
    """A template as a cache's key: equal hashes are equal templates."""

    __slots__ = ("template",)

    def __init__(self, template: Template) -> None:
        self.template = template

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByHash) and other.template.hash == self.template.hash

    def __hash__(self) -> int:
        return hash(self.template.hash)


@lru_cache(maxsize=2048)
def _compile(key: _ByHash) -> _Compiled:
    template = key.template

    def compiled(source: Source, html: bool) -> Body:
        try:
            return compile_body(source.text, source.file, template.files, html)
        except TemplateError as error:
            raise _placed(template, source, error) from None

    return _Compiled(
        tuple((field, source, compiled(source, False)) for field, source in template.fields.items()),
        tuple((part, source, compiled(source, part in MARKUP)) for part, source in sorted(template.parts.items())),
    )


def _placed(template: Template, source: Source, error: TemplateError) -> RenderError:
    """The error with its file and line: in the part itself, or in a layout or partial that it includes."""
    where = template.sources.get(error.file, source)
    line = where.line + where.text.count("\n", 0, error.offset)
    return RenderError(_named(template), where.file, line, error.message)


def _named(template: Template) -> str:
    return f"{template.channel}/{template.name}"


def _json(template: Template, text: str) -> Json:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        source = template.parts["json"]
        raise RenderError(_named(template), source.file, source.line, f"what it gives is not JSON: {error}") from None
