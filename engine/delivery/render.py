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

from engine.authoring.pages import Body, Page, TemplateError
from engine.authoring.statements import compile_body
from engine.authoring.templates import Source, Template
from engine.core.wire import Json
from engine.delivery.channel import Content
from engine.delivery.plain_text import text_from_html

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

    def render(
        self,
        channel: str,
        name: str,
        context: Mapping[str, object],
        *,
        zone: str = "UTC",
        segments: Callable[[str], bool] = _no_segments,
    ) -> Content:
        """The content of message `name` on `channel`. `context`: the names that it sees; `zone`: in which times are written.

        Raises RenderError: no such template, a text or a loop beyond its bounds, JSON that isn't, an empty message."""
        template = self._templates.get((channel, name))
        if template is None:
            raise RenderError(f"{channel}/{name}", f"templates/{channel}/{name}", 0, "there is no such template")
        return render(template, context, zone=zone, segments=segments)


def render(
    template: Template,
    context: Mapping[str, object],
    *,
    zone: str = "UTC",
    segments: Callable[[str], bool] = _no_segments,
) -> Content:
    """The content of one template; see `Renderer.render`."""
    compiled = _compile(_ByHash(template))
    names = dict(context)
    now = names.get("now")
    moment = now if isinstance(now, datetime) else _EPOCH

    def rendered(source: Source, body: Body) -> str:
        try:
            return body.render(Page(dict(names), moment, zone, segments))
        except TemplateError as error:
            raise _placed(template, source, error) from None

    fields = {field: " ".join(rendered(source, body).split()) for field, source, body in compiled.fields}
    parts = {part: rendered(source, body) for part, source, body in compiled.parts}
    html, text = parts.get("html"), parts.get("txt")
    if text is not None:
        text = text.strip("\n")
    elif html is not None:
        text = text_from_html(html)
    data = _json(template, parts["json"]) if "json" in parts else None
    if not text and not html and data is None and not any(fields.values()):
        raise RenderError(_named(template), f"templates/{_named(template)}", 0, "the message is empty")
    return Content(fields, text, html, data, template.hash)


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
        tuple((part, source, compiled(source, part == "html")) for part, source in template.parts.items()),
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
