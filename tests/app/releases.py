"""A project that is released again and again, and its database: what tests of releases and of hand-overs share."""

from __future__ import annotations

from pathlib import Path

from engine.app.deploying import (
    Changes,
    Release,
    Wishes,
    earlier,
    put_in_force,
    release_of,
)
from engine.app.release import looked_at
from engine.authoring.project import Compiled, load_project
from engine.delivery.deployments import Deployments
from engine.store.database import transaction
from tests.harness import write_project
from tests.people import People

STAY = """
journey: once
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - wait: 30d
    id: month
"""
OTHER = STAY.replace("30d", "20d").replace("month", "weeks")
TWO = STAY.replace("once", "two")


class Desk:
    """A project and its database."""

    def __init__(self, folder: Path, people: People) -> None:
        self.folder, self.people = folder, people

    def compiled(self, **journeys: str) -> Compiled:
        """The project with these journeys written anew."""
        files = {f"journeys/{name}.yaml": text for name, text in journeys.items()}
        return load_project(write_project(self.folder, files), {"email", "sms"})

    async def put(self, what: Compiled | Release, wishes: Wishes | None = None, seen: Changes | None = None) -> Changes:
        """Put it in force; what it changed."""
        release = what if isinstance(what, Release) else release_of(what)
        return (await put_in_force(self.people.core.database, release, "test", wishes or Wishes(), seen))[1]

    async def see(self, what: Compiled, wishes: Wishes) -> Changes:
        """What it would change."""
        async with transaction(self.people.core.database) as c:
            return await looked_at(c, Deployments(), release_of(what), wishes)

    async def enter(self, *users: str) -> dict[str, str]:
        """Sign them up; who is on which plan, all of them."""
        for user in users:
            await self.people.identify(user)
            await self.people.track(user, "signed_up")
        rows = await self.people.query("select i.value, e.plan from enrollments e join identifiers i using (customer_id)")
        return {r.value: r.plan for r in rows}

    async def earlier(self, which: str | None) -> Release:
        """What was in force."""
        async with transaction(self.people.core.database) as c:
            return await earlier(c, which)
