"""`why` and replays, as tests ask for them, and what `sojourn why` prints of the answer."""

from __future__ import annotations

import io
from datetime import datetime

from rich.console import Console

from engine.cli.drawing import draw
from engine.delivery.deployments import Deployments
from engine.insight.lived import read_lives
from engine.insight.retracing import Retraced, retrace
from engine.insight.story import Why
from engine.insight.why import why
from engine.store.database import transaction
from tests.harness import Running


async def ask(run: Running, customer: int, journey: str | None = None, at: datetime | None = None) -> Why:
    """`why`, in a transaction of its own."""
    async with transaction(run.worker.core.database) as c:
        return await why(c, customer, journey, at=at)


async def replayed(run: Running) -> list[Retraced]:
    """Every enrollment of everybody who was identified, replayed."""
    deployments = Deployments()
    async with transaction(run.worker.core.database) as c:
        lives = [life for customer in run.customers.values() for life in await read_lives(c, customer, None, deployments)]
    return [retrace(life) for life in lives]


def shown(told: Retraced) -> str:
    """A replay that isn't exact, to look at."""
    lines = [f"{t.at:%d %H:%M:%S.%f} {t.what} [{t.basis}] {t.words}: {' -> '.join(t.way)}" for t in told.transitions]
    return "\n".join([f"enrollment {told.life.id}", *lines, *told.differs, *told.missing, str(told.exact)])


def drawn(told: Why, width: int = 200, *, short: bool = False) -> str:
    """The screen, as plain text."""
    console = Console(width=width, record=True, color_system=None, file=io.StringIO())
    console.print(draw(told, short=short))
    return console.export_text()
