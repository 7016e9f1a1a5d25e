"""Retention, as `retention:` in sojourn.yaml and in tracking.yaml says: a chore that walks the tables, page by page, once a day.

Without a setting nothing goes, but for the records of merges that can't be undone any more. Caps go on counting, whatever is set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from engine.core.clock import Duration, add
from engine.core.clock import zone as zone_named
from engine.core.policy import Policy
from engine.delivery.deployment import NothingDeployed
from engine.delivery.deployments import Deployments
from engine.delivery.facts import window_start
from engine.store import feedback, merges, retention
from engine.store.database import Connection, Database, now, transaction
from engine.store.retention import KINDS, Rule

EVENTS = "event_properties"

REST = timedelta(hours=20)
"""After a walk a table is left alone for so long."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One rule with the values that its conditions read. `name`: under which its progress is kept. `kept`: how long."""

    name: str
    kind: str
    rule: Rule
    values: Mapping[str, Any]
    kept: Duration


@dataclass(frozen=True, slots=True)
class Due:
    """What would go of one table: how many rows now, and when the next (None: nothing that it could concern is there)."""

    walk: Walk
    rows: int
    next_at: datetime | None


@dataclass(slots=True)
class Expiring:
    """The chore of one process. `periods`: kind → days; kinds without one are kept."""

    database: Database
    deployments: Deployments
    periods: Mapping[str, int]

    async def run(self) -> bool:
        """One page of the first table whose turn it is; whether there is more to do at once."""
        async with transaction(self.database) as c:
            await merges.forget_records(c)
            await feedback.forget_tokens(c)
            moment = await now(c)
            walks = list(await self._walks(c, moment))
            progress = await retention.progress(c)
            waiting = [w for w in walks if _turn(progress.get(w.name), moment)]
            if not waiting:
                return False
            walk = waiting[0]
            _, over = await retention.page(c, walk.name, walk.rule, walk.values, moment)
        return not over or len(waiting) > 1

    async def due(self) -> list[Due]:
        """What would go now, and when the rest."""
        async with transaction(self.database) as c:
            moment = await now(c)
            progress = await retention.progress(c)
            found = []
            for walk in await self._walks(c, moment):
                rows, oldest = await retention.due(c, walk.rule, walk.values, _done_to(progress.get(walk.name), walk))
                later = None if oldest is None else max(moment, add(oldest, walk.kept, zone_named("UTC")))
                found.append(Due(walk, rows, later))
        return found

    async def _walks(self, c: Connection, moment: datetime) -> list[Walk]:
        try:
            deployment = await self.deployments.current(c)
        except NothingDeployed:
            return []
        own = {e.name: e.retention for e in deployment.tracking.events if e.retention is not None}
        return [*self._of_kinds(deployment.policy, moment, sorted(own)), *_of_events(own, moment)]

    def _of_kinds(self, policy: Policy, moment: datetime, own: list[str]) -> Iterator[Walk]:
        since = window_start(policy, moment) or moment
        for kind, days in sorted(self.periods.items()):
            kept = Duration(days=days)
            values = {"before": moment - timedelta(days=days), "window": since, "names": own, "only_these": False}
            for rule in KINDS[kind]:
                yield Walk(f"{kind}/{rule.table}", kind, rule, values, kept)


def _of_events(own: Mapping[str, Duration], moment: datetime) -> Iterator[Walk]:
    """Events that tracking.yaml gives a retention of their own."""
    for name, kept in sorted(own.items()):
        before = add(moment, Duration(-kept.months, -kept.days, -kept.seconds), zone_named("UTC"))
        values = {"before": before, "names": [name], "only_these": True}
        for rule in KINDS[EVENTS]:
            yield Walk(f"{EVENTS}/{rule.table}/{name}", f"{EVENTS} ({name})", rule, values, kept)


def _done_to(found: Any, walk: Walk) -> int:
    """Up to which number nothing is left to do."""
    return 0 if found is None or found.meaning != retention.meaning(walk.rule, walk.values) else int(found.done_to)


def _turn(found: Any, moment: datetime) -> bool:
    """Whether a walk is due: under way, or its last one long ago."""
    return found is None or found.up_to > 0 or found.ran_at is None or found.ran_at < moment - REST
