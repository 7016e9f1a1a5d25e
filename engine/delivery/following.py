"""Links and opens of messages, followed as policy's `tracking` says: links lead through the API, which notes the click and sends
the reader on; a picture of one pixel tells that a letter was opened; campaign parameters stand in the links themselves.

Only links that stand in the message are ever signed, so nobody can have ours lead elsewhere. Pure: nothing is looked up here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from html import escape, unescape
from urllib.parse import parse_qsl, quote, urlsplit

from engine.core.policy import Followed
from engine.delivery.channel import Content
from engine.delivery.guard import inside
from engine.delivery.links import Links

log = logging.getLogger("sojourn.templates")

CLIPPED = 102 * 1024
"""Bytes of HTML beyond which Gmail shows the beginning of a letter only, without its unsubscribe link."""

LONGEST = 2000
"""Characters of a link that is led through the API; a longer one stays as it is."""

SHORTEST = 8
"""Characters of a short link's code; more where another link has the same ones already."""

_HREF = re.compile(
    r"(<(?:a|area)(?=[\s/])(?:[^<>\"']|\"[^\"]*\"|'[^']*')*?(?<![\w-])href\s*=\s*)(?:\"([^\"<>]*)\"|'([^'<>]*)')", re.IGNORECASE
)
_URL = re.compile(r"https?://[^\s<>\"'\u2028\u2029]+", re.IGNORECASE)
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)
_TRAILING = ".,;:!?…)]}»”’"

_said: set[str] = set()


@dataclass(slots=True)
class Following:
    """How one message is followed. `key`: its own · `about`: what `{journey}` and its like stand for · `length`: of the codes of
    short links · `codes`: those that `compose` has put into the message, code → URL."""

    links: Links
    rule: Followed
    key: str
    customer: int
    about: Mapping[str, str]
    length: int = field(default_factory=lambda: SHORTEST)
    codes: dict[str, str] = field(default_factory=dict)

    def compose(self, content: Content) -> Content:
        """`content` with its links led through the API. An HTML part's are signed, those of a text without one short: so texts
        stay short, and the text part of a letter stays readable."""
        self.codes.clear()
        html, text = content.html, content.text
        if html is not None:
            html = _HREF.sub(lambda found: self._attribute(found, self._signed), html)
            if self.rule.opens:
                pixel = f'<img src="{escape(self.links.opened(self.key, self.customer))}" width="1" height="1" alt="">'
                end = list(_BODY_END.finditer(html))
                html = f"{html[: end[-1].start()]}{pixel}{html[end[-1].start() :]}" if end else html + pixel
            _warn(content.template_hash, html)
        if text is not None:
            text = _URL.sub(lambda found: self._in_text(found[0], self._campaign if html is not None else self._short), text)
        return replace(content, html=html, text=text)

    def _attribute(self, found: re.Match[str], way: Callable[[str], str]) -> str:
        before, written = found[1], found[2] if found[2] is not None else found[3]
        url = unescape(written).strip()
        there = way(url) if self._ours(url) else url
        return found[0] if there == url else f'{before}"{escape(there)}"'

    def _in_text(self, written: str, way: Callable[[str], str]) -> str:
        url = written.rstrip(_TRAILING)
        if url.count("(") > url.count(")") and written[len(url) :].startswith(")"):
            url += ")"
        return (way(url) if self._ours(url) else url) + written[len(url) :]

    def _ours(self, url: str) -> bool:
        """Whether a link is to be followed: a web address outside, and none of the API's own."""
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
        except ValueError:
            return False
        odd = not url.isprintable() or " " in url or parts.username is not None or len(url) > LONGEST
        known = url == self.links.base or url.startswith(f"{self.links.base}/")
        return parts.scheme.lower() in ("http", "https") and bool(host) and not odd and not known and not inside(host)

    def _campaign(self, url: str) -> str:
        return with_parameters(url, {name: fill(text, self.about) for name, text in self.rule.utm})

    def _signed(self, url: str) -> str:
        url = self._campaign(url)
        return self.links.clicked(self.key, self.customer, url) if self.rule.clicks else url

    def _short(self, url: str) -> str:
        url = self._campaign(url)
        if not self.rule.clicks:
            return url
        length = self.length
        while self.codes.setdefault(code := self.links.code(self.key, url, length), url) != url:
            length += 1
        return self.links.short(code)


def fill(text: str, about: Mapping[str, str]) -> str:
    """`text` with `{journey}` and its like filled in."""
    return re.sub(r"\{(\w+)\}", lambda found: about.get(found[1], found[0]), text)


def with_parameters(url: str, given: Mapping[str, str]) -> str:
    """`url` with these parameters. One that it has already stays as it is."""
    there, mark, fragment = url.partition("#")
    has = {name for name, _ in parse_qsl(urlsplit(there).query, keep_blank_values=True)}
    more = "&".join(f"{quote(name)}={quote(value)}" for name, value in given.items() if name not in has and value)
    if not more:
        return url
    joint = "" if there.endswith(("?", "&")) else "&" if "?" in there else "?"
    return f"{there}{joint}{more}{mark}{fragment}"


def _warn(template: str, html: str) -> None:
    size = len(html.encode("utf-8", "replace"))
    if size > CLIPPED and template not in _said and len(_said) < 1000:
        _said.add(template)
        log.warning("a letter of the template %s has %d KB of HTML: Gmail shows the first 102 only", template, size // 1024)
