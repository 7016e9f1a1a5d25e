"""What is done to a rendered page before it can leave: MJML made HTML, styles put into the elements, the preheader hidden at its
top, and the same as text.

MJML and CSS are read by native libraries that nothing stops once they run: what they get is counted first, and a page that would
take them long is refused. Neither opens a file or a connection. What is done to one page is kept, so that customers whose pages
differ in held values only (see `pages.Page`) share it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache

from markupsafe import escape

from engine.authoring.expression_syntax import ExpressionError
from engine.authoring.pages import BEGIN, END, MAX_OUTPUT
from engine.authoring.plain_text import text_from_html

MAX_PAGE = 200_000
"""Characters of a page before anything is done to it: twice what Gmail shows."""
MAX_ELEMENTS = 10_000
"""Elements of a page whose styles are put into them."""
MAX_MJML = 1_500
"""Elements of a page in MJML."""
MAX_REPEATED = 10_000_000
"""Characters of the longest element in MJML times the elements, which may all have its attributes."""
GROWTH = 6
"""Elements of HTML for one of MJML."""
MAX_MATCHING = 10_000_000
"""Parts of selectors times elements."""
MAX_COPYING = 200_000_000
"""Declarations times kinds of properties times elements: what it costs where all of them hold for every element."""
MAX_REOPENED = 2_000_000
"""Elements times those that HTML opens again by itself in each paragraph after the one that they were left open in."""
STACK = 256 * 1024 * 1024
"""Bytes of address space for the libraries' own recursion: enough for MAX_ELEMENTS inside each other."""

_BODY = re.compile(r"<body\b[^<>]*>", re.IGNORECASE)
_STYLE = re.compile(r"<(?:mj-)?style\b[^<>]*>", re.IGNORECASE)
_STYLE_END = re.compile(r"</(?:mj-)?style", re.IGNORECASE)
_RAW = re.compile(r"<(xmp|plaintext|iframe|noembed|noframes|noscript|script)\b.*?(?:</\1>|\Z)", re.DOTALL)
_FORMATS = re.compile(r"<(?:a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)\b", re.IGNORECASE)
_NEAR = re.compile(r" at position (\d+):(\d+)")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""What MJML, being XML, can't hold. Source: XML 1.0, 2.2 "Characters"."""
_HELD = re.compile(f"{BEGIN}(\\d+){END}")
_HIDDEN = "display:none;font-size:1px;line-height:1px;max-height:0;max-width:0;opacity:0;overflow:hidden;mso-hide:all"
_FILLING = "\u034f\u200c\xa0" * 60
"""What keeps a mailbox from showing the letter's first lines behind the preheader: nothing that can be seen."""


def dressed(page: str, *, mjml: bool, preheader: str = "", held: Mapping[str, int] | None = None) -> tuple[str, str]:
    """A rendered page as it leaves, and what it says as text. `preheader`: the words that a mailbox shows behind the subject;
    `held`: the values that were held back, which are put in.

    Raises ExpressionError: MJML that is none, or a page that asks for too much."""
    values = list(held or ())
    if preheader:
        values.append(preheader)
    words = f"{BEGIN}{len(values) - 1}{END}" if preheader else ""
    if len(page) > MAX_PAGE:
        raise ExpressionError(
            f"this page has more than {MAX_PAGE:,} characters", hint="say less, or lead to a page with the rest"
        )
    html, text = _dressed(page, mjml, words)
    return _filled(html, [str(escape(v)) for v in values]), _filled_text(text, values)


@lru_cache(maxsize=128)
def _dressed(page: str, mjml: bool, preheader: str) -> tuple[str, str]:
    html = _from_mjml(page) if mjml else page
    styled = not mjml and _STYLE.search(html) is not None
    # Also where nothing is styled: then it is well-formed, and Python's parser, which takes long over what isn't, reads it after.
    read = _inlined(html, styled)
    if styled:
        html = read
    if preheader and "<mj-preview" not in page:
        hidden = f'<div style="{_HIDDEN}">{preheader}{_FILLING}</div>'
        body = _BODY.search(html)
        at = body.end() if body else 0
        html = html[:at] + hidden + html[at:]
    return html, text_from_html(_RAW.sub("", read))


def _from_mjml(page: str) -> str:
    import mrml

    page = _NOT_XML.sub(" ", page)

    longest = max(map(len, page.split("<")))
    if page.count("<") > MAX_MJML or longest * page.count("<") > MAX_REPEATED:
        raise ExpressionError("this page has too many elements, or too large ones", hint="send less in one message")
    _count(page, page.count("<") * GROWTH)
    # Without fonts of its own: one that the author doesn't name would be fetched from a third party at each opening.
    options = mrml.RenderOptions(fonts={})
    try:
        html = str(_with_room(lambda: mrml.to_html(page, render_options=options).content))
    except ValueError as wrong:
        raise ExpressionError(f"this is not MJML: {_near(str(wrong), page)}", code="SJ126") from None
    if left := re.search(r"<mj-[\w-]+", html):
        raise ExpressionError(f"this is not MJML: there is no element {left[0]}> at its place", code="SJ126")
    return html


def _near(words: str, source: str) -> str:
    """The library's words, with the text instead of a position in what nobody has seen."""
    found = _NEAR.search(words)
    said = _NEAR.sub("", words).replace(" in root template", "")
    return f"{said}: {source[int(found[1]) : int(found[2])][:60]}" if found else said


def _inlined(html: str, styled: bool) -> str:
    """The page, well-formed, and where it is `styled` with its styles put into the elements. What can't stand in an element
    (media queries) stays where it is, and so does a style with `data-css-inline="keep"`."""
    import css_inline

    _count(html, html.count("<"), styled)
    inliner = css_inline.CSSInliner(
        inline_style_tags=styled,
        keep_style_tags=not styled,
        keep_at_rules=True,
        keep_link_tags=True,
        load_remote_stylesheets=False,
    )
    try:
        return _with_room(lambda: inliner.inline(html))
    except ValueError as wrong:
        raise ExpressionError(f"its styles can't be read: {wrong}") from None


def _count(page: str, elements: int, styled: bool = True) -> None:
    """Raises ExpressionError where a page of so many elements would take the libraries long."""
    first, *more = _STYLE_END.split(page) if styled else ("",)
    styles = [piece[begun.end() :] for piece in (first, *more) if (begun := _STYLE.search(piece))]
    rules = [piece.rpartition("}")[2] for style in styles for piece in style.split("{")[:-1]]
    said = [piece.partition(":")[0].strip() for style in styles for piece in re.split(r"[;{}]", style) if ":" in piece]
    matching = sum(len(re.split(r"[\s>+~,]+", rule)) for rule in rules) * elements
    copying = len(said) * len(set(said)) * elements
    reopened = len(_FORMATS.findall(page)) * elements
    if elements > MAX_ELEMENTS or matching > MAX_MATCHING or copying > MAX_COPYING or reopened > MAX_REOPENED:
        hint = "send less in one message, or style it with fewer rules"
        raise ExpressionError("this page has too many elements, or too many styles for them", hint=hint)


def _with_room(work: Callable[[], str]) -> str:
    """What `work` gives, called where it may recurse as deep as MAX_ELEMENTS lets it. Raises ValueError where it fails."""
    given: list[str] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            given.append(work())
        except BaseException as wrong:  # noqa: BLE001 - a panic of a Rust library is no Exception, and must not end the thread unheard
            failed.append(wrong)

    with _STARTING:
        before = threading.stack_size(STACK)
        try:
            thread = threading.Thread(target=run, name="dressing")
            thread.start()
        finally:
            threading.stack_size(before)
    thread.join()
    if failed:
        raise ValueError(str(failed[0])) from failed[0]
    return given[0]


_STARTING = threading.Lock()


def _filled(page: str, values: list[str]) -> str:
    """The page with the held values in their places. Raises ExpressionError where it gets too long."""
    if not values:
        return page
    size = len(page) + sum(len(values[int(found[1])]) for found in _HELD.finditer(page) if int(found[1]) < len(values))
    if size > MAX_OUTPUT:
        raise ExpressionError(f"the rendered text is longer than {MAX_OUTPUT:,} characters")
    return _HELD.sub(lambda found: values[int(found[1])] if int(found[1]) < len(values) else found[0], page)


def _filled_text(text: str, values: list[str]) -> str:
    """The same of a text, in which every value is on one line."""
    return _filled(text, [" ".join(value.split()) for value in values])
