"""`why`, as tests ask it, and what `sojourn why` prints of the answer."""

from __future__ import annotations

import io
from datetime import datetime

from rich.console import Console

from engine.cli.drawing import draw
from engine.insight.story import Why
from engine.insight.why import why
from engine.store.database import transaction
from tests.harness import Running


async def ask(run: Running, customer: int, journey: str | None = None, at: datetime | None = None) -> Why:
    """`why`, in a transaction of its own."""
    async with transaction(run.worker.core.database) as c:
        return await why(c, customer, journey, at=at)


def drawn(told: Why, width: int = 200, *, short: bool = False) -> str:
    """The screen, as plain text."""
    console = Console(width=width, record=True, color_system=None, file=io.StringIO())
    console.print(draw(told, short=short))
    return console.export_text()
