"""Acts that an operator's pause overtakes, on the real database."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from engine.core.enrollment import Command
from engine.delivery.acts import CALLS_AT_ONCE, Acting, Asked
from engine.store import clock as clock_store
from engine.store.database import connect, fetch, run, transaction
from tests.harness import utc

NONE: Any = None


class Calling(Acting):
    """Its first call is made while an operator pauses everybody."""

    async def _call(self, a: Asked, variables: list[dict[str, Any]]) -> None:
        a.done("next")
        async with transaction(self.database) as c:
            await run(c, "update enrollments set paused_at = sojourn_now() where paused_at is null and :id = 1", id=a.enrollment)


async def test_no_group_of_calls_begins_after_a_pause(database_url: str) -> None:
    """Whoever is paused while earlier calls are made isn't called for, and is found by the resume."""
    database = connect(database_url)
    async with transaction(database) as c:
        await clock_store.begin(c, 1, utc("2026-03-01 20:00"))
        await run(
            c,
            "insert into enrollments (id, customer_id, journey, plan, key, entry_event, entered_at) overriding system value "
            "select n, 1, 'care', 'p', n::text, 1, sojourn_now() from generate_series(1, :n) n",
            n=CALLS_AT_ONCE + 2,
        )
    row, op = SimpleNamespace(status="live"), SimpleNamespace(step="tell")
    command = Command("act", 0, 0, 0, utc("2026-03-01 20:00"))
    calls = [Asked(n, command, op, row, f"{n}/tell/0/0", "UTC", {}) for n in range(1, CALLS_AT_ONCE + 3)]  # type: ignore[arg-type]
    await Calling(database, NONE, NONE, NONE, NONE, NONE)._calls(calls, [])
    assert [a.enrollment for a in calls if a.paused] == [CALLS_AT_ONCE + 1, CALLS_AT_ONCE + 2]
    assert {a.outcome.kind for a in calls if a.outcome and a.paused} == {"again"}
    async with transaction(database) as c:
        assert [r.id for r in await fetch(c, "select id from enrollments where kept_back order by id")] == [21, 22]
    await database.dispose()
