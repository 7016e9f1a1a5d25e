"""Everything that needs a person: what the store knows of it, and what Temporal knows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from engine.core.wire import Json
from engine.insight.failures import Failures, failures
from engine.insight.story import plain
from engine.settings.project import Settings
from engine.store import relay
from engine.store.database import Database, transaction
from engine.temporal.client import Unreachable, cohort_prefix, connect
from engine.temporal.trouble import Queue, Stuck, queues, stuck

LOOKED_AT = 50
"""The newest cohorts that are asked one by one whether they stand still."""


@dataclass(frozen=True, slots=True)
class Found:
    """`unreachable`: why Temporal couldn't be asked, "" where it could."""

    store: Failures
    queues: tuple[Queue, ...]
    stuck: tuple[Stuck, ...]
    unreachable: str = ""

    @property
    def dead(self) -> tuple[Queue, ...]:
        """Queues in which something waits and for which nobody asks."""
        return tuple(q for q in self.queues if q.backlog and not q.pollers)

    @property
    def any(self) -> bool:
        """Whether something needs a person."""
        return bool(self.store.any or self.dead or self.stuck)

    def to_json(self) -> dict[str, Json]:
        """For machines."""
        temporal = {"queues": plain([asdict(q) for q in self.queues]), "stuck": plain([asdict(s) for s in self.stuck])}
        return {**self.store.to_json(), **temporal, "unreachable": self.unreachable}


async def find(settings: Settings, database: Database, temporal_address: str, prefix: str = "sojourn") -> Found:
    """Ask both. A Temporal that doesn't answer is a finding."""
    async with transaction(database) as c:
        told = await failures(c)
        cohorts = await relay.newest_cohorts(c, LOOKED_AT)
    try:
        client = await connect(temporal_address, settings.temporal.namespace)
        asked = await queues(client, prefix, sorted(settings.channels), datetime.now(UTC))
        still = await stuck(client, prefix, [f"{cohort_prefix(prefix)}{n}" for n in cohorts])
    except Unreachable as gone:
        return Found(told, (), (), str(gone))
    return Found(told, tuple(asked), tuple(still))
