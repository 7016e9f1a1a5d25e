"""Templates in a line, and what they give."""

from __future__ import annotations

from datetime import UTC, datetime

from engine.authoring.templates import Source, Template, sealed
from engine.delivery.render import render

CONTEXT: dict[str, object] = {
    "customer": {"first_name": "<Ada> & co", "items": "a property"},
    "event": {"items": [{"name": "Serum", "price": 20.0}, {"name": "Soap", "price": 5}], "empty": []},
    "now": datetime(2026, 3, 28, 12, 0, tzinfo=UTC),
    "percent": 10,
}


def message(text: str = "", part: str = "txt", sources: dict[str, str] | None = None, **fields: str) -> Template:
    """A template with one part and these fields."""
    return sealed(
        "email",
        "test",
        {k: Source("templates/email/test.txt", 2, v) for k, v in fields.items()},
        {part: Source(f"templates/email/test.{part}", 4, text)} if text else {},
        {path: Source(f"templates/{path}", 1, body) for path, body in (sources or {}).items()},
    )


def text(source: str, sources: dict[str, str] | None = None) -> str | None:
    """What a text part gives."""
    return render(message(source, sources=sources), CONTEXT, zone="Europe/Rome").text
