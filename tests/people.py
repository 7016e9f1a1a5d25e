"""The door of a deployed project, with short ways to say who is who, for tests of identity."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Row

from engine.app.deploying import deploy
from engine.app.wiring import Core, open_core
from engine.authoring.project import load_project
from engine.core.incoming import Accepted, Incoming
from engine.settings.project import Settings
from engine.store.database import fetch, transaction
from tests.harness import POLICY, TRACKING, write_project

JOURNEYS = {
    "journeys/tracking.yaml": f"{TRACKING}computed: {{sign_ups: {{count: signed_up}}}}\n",
    "journeys/once.yaml": """
        journey: once
        tier: lifecycle
        enter: {event: signed_up, again: never}
        steps: [{wait: 30d, id: month}]
    """,
    "journeys/order.yaml": """
        journey: order
        tier: lifecycle
        enter: {event: signed_up, key: order_id, again: always}
        exit: [{event: cancelled}]
        steps: [{wait_for: confirmed, timeout: 30d, id: confirming}]
    """,
    "journeys/many.yaml": """
        journey: many
        tier: lifecycle
        enter: {event: pinged, again: always, while_active: parallel}
        steps: [{wait: 30d, id: month}]
    """,
    "journeys/italian.yaml": """
        journey: italian
        tier: lifecycle
        enter: {event: confirmed, again: never}
        exit: [{if: customer.country == "US"}]
        steps: [{wait: 30d, id: month}]
    """,
}

_numbers = itertools.count()


@dataclass(slots=True)
class People:
    """A door, and the store behind it."""

    core: Core

    async def accept(self, *batch: Incoming) -> list[Accepted]:
        """Through the door, in one batch."""
        return await self.core.intake.accept(list(batch))

    async def query(self, statement: str, **values: Any) -> Sequence[Row[Any]]:
        """Rows straight from the store."""
        async with transaction(self.core.database) as c:
            return await fetch(c, statement, **values)

    async def who(self, value: str) -> int | None:
        """The customer to whom an identifier leads."""
        found = await self.query("select customer_id from identifiers where value = :value", value=value)
        return found[0].customer_id if found else None

    async def identify(self, user: str = "", anonymous: str = "", /, **traits: Any) -> int:
        """Say who somebody is; the customer's id."""
        return (await self.accept(named("identify", user, anonymous, traits=traits)))[0].customer

    async def track(
        self, user: str, event: str, at: datetime | None = None, /, anonymous: str = "", **properties: Any
    ) -> Accepted:
        """One event."""
        return (await self.accept(named("track", user, anonymous, name=event, properties=properties, occurred_at=at)))[0]

    async def alias(self, user: str, previous: str) -> Accepted:
        """Another id of the same person."""
        who = {"user_id": user, "previous_id": previous}
        return (await self.accept(Incoming("alias", "test", f"p{next(_numbers)}", identifiers=who)))[0]

    async def merges(self) -> list[tuple[int, int, str]]:
        """(gone, kept, cause) of every merge, in order."""
        return [(r.gone, r.kept, r.cause) for r in await self.query("select gone, kept, cause from merges order by id")]

    async def owners(self, table: str) -> list[int]:
        """The customers whom the rows of a table belong to, each once."""
        return [r[0] for r in await self.query(f"select distinct customer_id from {table} order by 1")]


def named(kind: str, user: str = "", anonymous: str = "", /, **values: Any) -> Incoming:
    """A call of `kind` that names a person by these ids."""
    who = {k: v for k, v in {"user_id": user, "anonymous_id": anonymous}.items() if v}
    return Incoming(kind, "test", f"n{next(_numbers)}", identifiers=who, **values)  # type: ignore[arg-type]


@asynccontextmanager
async def opened(folder: Path, url: str, *, identity: str = "", rules: str = "", files: Any = ()) -> AsyncIterator[People]:
    """A door with JOURNEYS (or `files`) deployed. `identity`: of policy.yaml; `rules`: more of it."""
    policy = POLICY + rules + (f"identity: {identity}\n" if identity else "")
    project = write_project(folder, {**dict(files or JOURNEYS), "journeys/policy.yaml": policy})
    async with open_core(Settings(), url) as core:
        await deploy(core.database, load_project(project, {"email", "sms"}), "test")
        yield People(core)
