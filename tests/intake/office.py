"""Broadcasts page by page, against a real PostgreSQL and without Temporal: whom they reach, when, once; clocks are moved by
hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Row

from engine.app.deploying import deploy
from engine.app.wiring import Core, open_core
from engine.authoring.project import load_project
from engine.core.incoming import Incoming
from engine.intake import operators
from engine.intake.fan_out import FanOut
from engine.settings.project import Settings
from engine.store import broadcasts
from engine.store import clock as clock_store
from engine.store.database import connect, fetch, run, transaction
from tests.harness import TRACKING, utc, write_project

FACTS = TRACKING.replace("attributes: {", "attributes: {birthday: date, renews_on: date, vip: boolean, ").replace(
    "events:", "events:\n  viewed: {properties: {product: string}}\n  cheaper: {properties: {product: string, price: number}}"
)
SEGMENTS = "segments:\n  vips: {if: customer.vip}\n  lookers: {did: viewed, at_least: 2}\n  keen: {if: segment('lookers')}\n"


def journey(enter: str, more: str = "") -> str:
    """A journey in which people wait for a year."""
    return f"journey: j\ntier: lifecycle\n{more}enter: {enter}\nsteps: [{{wait: 1 year, id: long}}]\n"


@dataclass(slots=True)
class Office:
    """A project without Temporal, on a database whose clock the test moves."""

    core: Core
    folder: Path
    fan_out: FanOut
    flying: list[tuple[int, int]] = field(default_factory=list)

    async def at(self, moment: str) -> None:
        """Move the clock to `moment` (UTC), and do all that a worker and Temporal would do then."""
        async with transaction(self.core.database) as c:
            await run(c, "update clock set real_epoch = clock_timestamp(), logical_epoch = :at", at=utc(moment))
        await self.work()

    async def work(self, pages: int | None = None) -> int:
        """Plan, and turn page after page (at most `pages`) until nothing is to be done now; how many that were. A turn that
        isn't over is gone on with the next time, as Temporal would."""
        await self.fan_out.plan_ahead()
        turned = 0
        while True:
            for r in await self.ready():
                async with transaction(self.core.database) as c:
                    await broadcasts.carried(c, [(r.id, r.turn)])
                self.flying.append((r.id, r.turn))
            if not self.flying or turned == pages:
                return turned
            over, wait = await self.fan_out.round(*self.flying[0])
            assert wait == 0
            turned += 1
            if over:
                self.flying.pop(0)

    async def ready(self) -> list[Row[Any]]:
        async with transaction(self.core.database) as c:
            return await broadcasts.ready(c, 50)

    async def deploy(self, *journeys: str) -> None:
        """Deploy these journeys, the first called j.yaml."""
        files = {f"journeys/j{i or ''}.yaml": text for i, text in enumerate(journeys)}
        write_project(self.folder, {"journeys/tracking.yaml": FACTS, "journeys/segments.yaml": SEGMENTS, **files})
        await deploy(self.core.database, load_project(self.folder, {"email", "sms"}), "test")

    async def know(self, people: dict[str, dict[str, Any]]) -> None:
        """Make these users known."""
        items = [
            Incoming("identify", "test", f"i-{u}-{hash(frozenset(t.items()))}", traits=t, identifiers={"user_id": u})
            for u, t in people.items()
        ]
        await self.core.intake.accept(items)

    async def track(self, user: str, event: str, at: str | None = None, **properties: Any) -> None:
        """One event."""
        made = Incoming(
            "track",
            "test",
            f"{user}/{event}/{at}/{properties}",
            event,
            properties,
            identifiers={"user_id": user},
            occurred_at=None if at is None else utc(at),
        )
        await self.core.intake.accept([made])

    async def query(self, statement: str, **values: Any) -> list[Row[Any]]:
        async with transaction(self.core.database) as c:
            return await fetch(c, statement, **values)

    async def entries(self) -> list[tuple[str, datetime]]:
        """(user, when they entered), in that order."""
        found = await self.query(
            "select i.value, e.entered_at from enrollments e join identifiers i using (customer_id) order by e.entered_at, "
            "i.value"
        )
        return [(r.value, r.entered_at.astimezone(UTC)) for r in found]

    async def who(self) -> list[str]:
        """The users who entered, in order."""
        return [user for user, _ in await self.entries()]

    async def counts(self) -> list[tuple[Any, ...]]:
        """(state, found, entered, refused, skipped) of each broadcast."""
        found = await self.query("select state, found, entered, refused, skipped from broadcasts order by starts_at, id")
        return [tuple(r) for r in found]

    async def act(self, act: str) -> list[int]:
        """Do this to all broadcasts."""
        ids = [r.id for r in await self.query("select id from broadcasts")]
        async with transaction(self.core.database) as c:
            return await operators.on_broadcasts(c, act, ids, "test")


@asynccontextmanager
async def office(folder: Path, database_url: str, moment: str) -> AsyncIterator[Office]:
    """An office whose clock stands at `moment` (UTC)."""
    database = connect(database_url)
    async with transaction(database) as c:
        await clock_store.begin(c, 1, utc(moment))
    await database.dispose()
    async with open_core(Settings(), database_url) as core:
        made = Office(core, folder, FanOut(core.database, core.deployments, core.intake, core.clock))
        await made.deploy(journey("{event: signed_up, again: always}"))  # so that people can be known before
        yield made


def users(names: Iterable[str], **traits: Any) -> dict[str, dict[str, Any]]:
    return {name: dict(traits) for name in names}


ONCE = "{schedule: {at: 2026-12-01 09:00, timezone: Europe/Rome}, audience: vips}"
BIRTHDAY = "{date: customer.birthday, at: '09:00', every: year}"
