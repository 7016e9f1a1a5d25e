"""`roll`: every open cohort continues as new, noted in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.app.wiring import PREFIX, encryption_keys
from engine.core.wire import Json
from engine.settings.project import Settings
from engine.store import audit, relay
from engine.store.database import Database, transaction
from engine.temporal import histories, rolling
from engine.temporal.client import connect
from engine.temporal.histories import Run
from engine.temporal.rolling import Behind


@dataclass(frozen=True, slots=True)
class Rolled:
    """What came of it. `runs`: open cohorts when it began · `behind`: those that have not continued, with their reasons ·
    `enrollments`: how many are inside these."""

    runs: tuple[Run, ...]
    behind: tuple[Behind, ...] = ()
    enrollments: int = 0

    def to_json(self) -> dict[str, Json]:
        """For machines."""
        late = {b.run for b in self.behind}
        return {
            "rolled": [r.cohort for r in self.runs if r not in late],
            "behind": [{"cohort": b.run.cohort, "journey": b.run.journey, "reason": b.reason} for b in self.behind],
            "enrollments_behind": self.enrollments,
        }


async def open_cohorts(settings: Settings, temporal_address: str, journey: str | None, prefix: str = PREFIX) -> list[Run]:
    """The runs of a journey's cohorts (None: of all) that are open now. Raises Unreachable."""
    client = await connect(temporal_address, settings.temporal.namespace)
    return await histories.runs(client, prefix, histories.wanted(prefix, journey, open_only=True))


async def roll(
    settings: Settings,
    database: Database,
    temporal_address: str,
    runs: Sequence[Run],
    actor: str,
    *,
    seconds: float,
    step: Callable[[int], None] = lambda done: None,
    prefix: str = PREFIX,
) -> Rolled:
    """Have these runs continue as new, within `seconds` of real time. `step` hears how many have. Raises Unreachable."""
    client = await connect(temporal_address, settings.temporal.namespace, encryption_key=encryption_keys(settings))
    async with transaction(database) as c:
        await audit.note(c, actor, "roll", [f"cohort/{r.cohort}" for r in runs], {})
    behind = await rolling.roll(client, prefix, runs, seconds=seconds, step=step)
    async with transaction(database) as c:
        inside = await relay.members_of(c, sorted({b.run.cohort for b in behind}))
    return Rolled(tuple(runs), tuple(behind), sum(map(len, inside.values())))
