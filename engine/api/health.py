"""`/healthz`: the process lives. `/readyz`: everything that it needs is there, or what isn't. No login."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from engine.api import describe
from engine.api.reach import Reach
from engine.observe.words import in_a_line
from engine.store import readiness, relay, senders
from engine.store.database import transaction
from engine.store.schema import head
from engine.temporal.grouping import BULK, URGENT

log = logging.getLogger("sojourn.api")

PATIENCE = 4.0
"""Seconds that each part gets to answer."""

SKEW = 1.0
"""Seconds between our clock and the database's from which on it is worth a warning."""

BACKLOG = 60.0
"""Seconds that an input may wait for a relay before it is worth a warning."""


@dataclass(slots=True)
class Findings:
    """`checks`: part → "ok" or what is wrong. `warnings`: what doesn't keep this process from taking events. Temporal and workers
    are among them: while they are down events are accepted, and relayed afterwards."""

    checks: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def ready(self) -> bool:
        """Whether nothing is wrong."""
        return all(said == "ok" for part, said in self.checks.items() if part != "temporal")


def routes(reach: Reach) -> APIRouter:
    """Both routes."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="The process lives")
    async def healthz() -> dict[str, str]:
        """Looks at nothing else."""
        return {"status": "ok"}

    @router.get("/readyz", summary="Everything it needs is there", responses={503: {"description": _NOT_READY}})
    async def readyz() -> JSONResponse:
        """The database at this schema and a deployment. Temporal that doesn't answer is a warning, and so are inputs that no
        worker has brought to it for a minute, a channel that rests because of complaints, and a clock over a second away from the
        database's."""
        found = Findings()
        await asyncio.gather(_database(reach, found), _temporal(reach, found))
        body = {"ready": found.ready(), "checks": dict(sorted(found.checks.items())), "warnings": found.warnings}
        return describe.Answer(body, 200 if found.ready() else 503, {"Cache-Control": "no-store"})

    return router


_NOT_READY = "Something is missing; `checks` says what."


async def _database(reach: Reach, found: Findings) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            version = await readiness.schema_version(reach.database)
            found.checks["database"] = "ok"
            if version != head():
                found.checks["schema"] = (
                    f"the database is at schema {version or 'none'}, this version needs {head()}: run `sojourn migrate`"
                )
                return
            found.checks["schema"] = "ok"
            async with transaction(reach.database) as c:
                before = datetime.now(UTC)
                theirs = await readiness.wall_clock(c)
                ours = before + (datetime.now(UTC) - before) / 2
                deployed = await readiness.newest_deployment(c)
                waiting = await relay.waiting_seconds(c)
                resting = await senders.rests(c)
    except TimeoutError:
        found.checks["database"] = f"it doesn't answer within {PATIENCE:.0f} s"
        return
    except (SQLAlchemyError, OSError) as error:
        log.warning("not ready: the database: %s", in_a_line(error))
        found.checks["database"] = "it can't be reached"
        return
    found.checks["deployment"] = "ok" if deployed else "nothing is deployed yet: run `sojourn deploy`"
    for urgent, seconds in sorted(waiting.items(), reverse=True):
        if seconds > BACKLOG:
            found.warnings.append(_backlog(URGENT if urgent else BULK, seconds))
    found.warnings += [_rests(r) for r in resting]
    skew = (theirs - ours).total_seconds()
    if abs(skew) > SKEW:
        found.warnings.append(f"this machine's clock and the database's are {abs(skew):.1f} s apart")


def _rests(r: Any) -> str:
    since = f"{r.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{r.channel} rests since {since}: {senders.tell(r)} (`sojourn channels lift {r.channel}`)"


def _backlog(lane: str, seconds: float) -> str:
    told = f"what happened {seconds:.0f} s ago to enrollments of the {lane} lane hasn't been brought to Temporal: "
    return f"{told}does a worker serve it (`sojourn worker`, without `--lane` or with `--lane {lane}`)?"


async def _temporal(reach: Reach, found: Findings) -> None:
    found.checks["temporal"] = await _said(reach.temporal())
    if found.checks["temporal"] != "ok":
        found.warnings.append("Temporal doesn't answer: events are accepted and relayed when it is back")


async def _said(probe: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(PATIENCE):
            await probe
    except TimeoutError:
        return f"it doesn't answer within {PATIENCE:.0f} s"
    except Exception as error:  # noqa: BLE001  # whatever the probe says is the finding, and it is logged
        log.warning("not ready: Temporal: %s", in_a_line(error))
        return "it can't be reached"
    return "ok"
