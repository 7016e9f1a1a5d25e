"""The few pages that customers see: plain, small, readable by screen readers and on phones, with nothing from elsewhere.

Every value is escaped here. The style is allowed by its hash, scripts and everything else by nothing.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape

from fastapi.responses import HTMLResponse

_STYLE = """
:root { color-scheme: light dark }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem;
  font: 1.0625rem/1.5 system-ui, sans-serif; background: #f4f4f1; color: #1c1c1a }
main { width: 100%; max-width: 28rem; padding: 2rem; border-radius: .75rem; background: #fff; border: 1px solid #d9d9d2 }
h1 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.25; text-wrap: balance }
p { margin: 0 0 1rem; overflow-wrap: anywhere }
p:last-child { margin-bottom: 0 }
button { width: 100%; min-height: 3rem; padding: .75rem 1rem; border: 0; border-radius: .5rem; cursor: pointer;
  font: inherit; font-weight: 600; background: #1f4fd1; color: #fff }
button:hover { background: #163ca3 }
button:focus-visible { outline: 3px solid #8fb0ff; outline-offset: 3px }
.quiet { margin-top: 1rem; font-size: .9375rem; color: #595954 }
@media (prefers-color-scheme: dark) {
  body { background: #161614; color: #ecece6 }
  main { background: #21211e; border-color: #3a3a35 }
  .quiet { color: #b0b0a8 }
}
"""

_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}


def page(title: str, *body: str, status: int = 200, headers: dict[str, str] | None = None, language: str = "en") -> HTMLResponse:
    """A page of its own. `title` is text; `body` is HTML that was escaped already."""
    html = (
        f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n" + "\n".join(body) + "\n</main>\n</body>\n</html>\n"
    )
    return HTMLResponse(html, status, {**HEADERS, **(headers or {})})


def paragraph(text: str, *, quiet: bool = False) -> str:
    """One paragraph of `text`."""
    return f'<p class="quiet">{escape(text)}</p>' if quiet else f"<p>{escape(text)}</p>"


def button(label: str, field: str, value: str) -> str:
    """A form of one button that posts `field` to the page's own address."""
    return (
        f'<form method="post">\n<input type="hidden" name="{escape(field)}" value="{escape(value)}">\n'
        f'<button type="submit">{escape(label)}</button>\n</form>'
    )
