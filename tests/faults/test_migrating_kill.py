"""`kill -9` of a worker while people are brought to another plan: all of them arrive, and nobody gets anything twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from engine.app.deploying import Wishes, deploy
from engine.app.wiring import open_core
from engine.authoring.project import load_project
from engine.intake.moving import Moving
from engine.settings.project import load_settings
from engine.store.database import fetch, transaction
from tests.faults.cast import cast, prepare, provider, until, write_faulty

USERS = [f"u{n}" for n in range(24)]
OLD = """
journey: moved
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - {send: email, id: hello, template: hello, topic: news}
  - {wait: 30d, id: old_name}
  - {send: email, id: never, template: again, topic: news}
"""
NEW = """
journey: moved
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - {send: email, id: hello, template: hello, topic: news}
  - {wait: 1s, id: new_name}
  - {send: email, id: after, template: again, topic: news}
"""


@pytest.mark.nightly  # its processes have timeouts of two seconds, which a crowded machine doesn't keep
async def test_a_worker_that_is_killed_meanwhile_loses_nobody(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Half of them have been handed over when it dies; another one brings the rest."""
    async with provider() as told:
        folder = write_faulty(tmp_path, told.port, {"journeys/moved.yaml": OLD}, cohort=4)
        await prepare(folder, database_url, USERS)
        play = cast(folder, task_queue_prefix, database_url, temporal_address)
        async with open_core(load_settings(folder, {}), database_url, pool=2) as core:

            async def count(what: str) -> int:
                async with transaction(core.database) as c:
                    return (await fetch(c, f"select count(*) as n from {what}"))[0].n

            async def all_at(what: str, n: int) -> None:
                async def there() -> bool:
                    return play.in_order() and await count(what) >= n

                await until(there, 240, lambda: [p.log.read_text()[-1500:] for p in play.started])

            try:
                worker = play.worker()
                play.intake([[f"s-{u}", u, "signed_up", {}] for u in USERS])
                await all_at("enrollments where step = 'old_name' and wake_at is not null", len(USERS))
                (folder / "journeys/moved.yaml").write_text(NEW)
                compiled = load_project(folder, {"email"})
                await deploy(core.database, compiled, "test", Wishes("migrate", named=(("", "old_name", "new_name"),)))
                mover = Moving(core.database, core.deployments)
                while await mover.round():
                    pass
                await all_at(f"enrollments where plan = '{compiled.plans['moved'].hash}'", 1)
                worker.kill()
                play.worker()
                await all_at("enrollments where status = 'ended' and reason = 'completed'", len(USERS))
                assert {("hello", 1), ("after", 1)} == {(step, len(keys)) for (_, step), keys in told.messages.items()}
                assert {2} == set(told.per_customer().values())
                assert len(USERS) == len(told.per_customer())
                assert {"sent"} == {r.status for r in await _rows(core.database)}
                assert Counter({"hello": len(USERS), "after": len(USERS)}) == Counter(r.step for r in await _rows(core.database))
            finally:
                play.close()


async def _rows(database: object) -> list[object]:
    async with transaction(database) as c:  # type: ignore[arg-type]  # an engine
        return await fetch(c, "select status, step from messages")
