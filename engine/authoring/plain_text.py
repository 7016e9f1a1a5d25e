"""The text part of a mail that was written as HTML only: words, lists and links, with nothing of the looks.

Standard library only. A change here changes what people read whose mail program shows text.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

_UNSEEN = frozenset({"head", "style", "script", "title", "template", "noscript"})
_BLOCKS = frozenset(
    {"address", "article", "blockquote", "div", "dl", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header"}
    | {"hr", "main", "ol", "p", "pre", "section", "table", "ul"}
)
_LINES = frozenset({"br", "dd", "dt", "li", "tr"})
_VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
_HIDDEN = re.compile(r"display\s*:\s*none|mso-hide\s*:\s*all", re.IGNORECASE)


class _Reader(HTMLParser):
    """Collects words; a break is a run of newlines that is never longer than a paragraph needs."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self.open: list[tuple[str, bool]] = []
        self.link: list[tuple[str, int]] = []
        self.lists: list[int | None] = []

    @property
    def unseen(self) -> bool:
        return bool(self.open) and self.open[-1][1]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        hidden = self.unseen or tag in _UNSEEN or "hidden" in given or bool(_HIDDEN.search(given.get("style") or ""))
        if tag not in _VOID:
            self.open.append((tag, hidden))
        if hidden:
            return
        if tag in _BLOCKS:
            self.out.append("\n\n")
        elif tag in _LINES:
            self.out.append("\n")
        elif tag in ("td", "th"):
            self.out.append(" ")
        if tag in ("ul", "ol"):
            self.lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            self.out.append(self._bullet())
        elif tag == "a":
            self.link.append(((given.get("href") or "").strip(), len(self.out)))
        elif tag == "img":
            self.out.append(given.get("alt") or "")

    def _bullet(self) -> str:
        if self.lists and (count := self.lists[-1]) is not None:
            self.lists[-1] = count + 1
            return f"{count + 1}. "
        return "- "

    def handle_endtag(self, tag: str) -> None:
        if not any(name == tag for name, _ in self.open):
            return
        while True:
            name, hidden = self.open.pop()
            if not hidden:
                self._leave(name)
            if name == tag:
                return

    def _leave(self, tag: str) -> None:
        if tag == "a" and self.link:
            href, start = self.link.pop()
            words = " ".join("".join(self.out[start:]).split())
            if href and not href.startswith("#") and href.removeprefix("mailto:") != words:
                self.out.append(f" ({href})" if words else href)
        elif tag in ("ul", "ol") and self.lists:
            self.lists.pop()
        if tag in _BLOCKS:
            self.out.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self.unseen:
            self.out.append(re.sub(r"\s+", " ", data))


def text_from_html(html: str) -> str:
    """What a person reads in `html`: paragraphs apart by an empty line, links behind their words in brackets."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = [" ".join(line.split()) for line in "".join(reader.out).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
