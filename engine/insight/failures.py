"""What needs a person, as far as the store knows: parked enrollments by cause, and what lies before relay and quarantine. Reads
only. What Temporal knows is `temporal.trouble`'s.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from datetime import datetime

from engine.core.wire import Json
from engine.insight.gauges import MOST
from engine.insight.story import plain
from engine.store import chosen, gauges, pauses, quarantine, relay
from engine.store.database import Connection

PATIENCE = 30.0
"""Seconds that an input may wait for a relay before that is trouble."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Enrollments parked in one step for one cause, which is their reasons without names and numbers. `newest`: the number of one
    of them, with its `reason`; `parked_at`: of the latest (None: before that was kept). `retry`: the command for all of them."""

    cause: str
    journey: str
    step: str
    n: int
    newest: int
    reason: str
    parked_at: datetime | None
    retry: str


@dataclass(frozen=True, slots=True)
class Backlog:
    """Inputs of one lane that no cohort has been told (MOST: that many or more). `seconds`: for how long the oldest has waited,
    real time."""

    lane: str
    n: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Aside:
    """Calls of one source in the quarantine, since the oldest came."""

    source: str
    n: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class KeptBack:
    """Enrollments of a journey that a resume, cut off, hasn't let go. `resume`: the command that does."""

    journey: str
    n: int
    resume: str


@dataclass(frozen=True, slots=True)
class Failures:
    """All of it."""

    parked: tuple[Cause, ...]
    relay: tuple[Backlog, ...]
    quarantine: tuple[Aside, ...]
    kept_back: tuple[KeptBack, ...]

    @property
    def any(self) -> bool:
        """Whether something needs a person: inputs that are just on their way don't."""
        late = [b for b in self.relay if b.seconds > PATIENCE]
        return bool(self.parked or self.quarantine or self.kept_back or late)

    def to_json(self) -> dict[str, Json]:
        """For machines: the same fields, moments as ISO text."""
        return {k: plain(v) for k, v in asdict(self).items()}


async def failures(c: Connection) -> Failures:
    """What needs a person now."""
    waited, pending = await relay.waiting_seconds(c), await gauges.pending_inputs(c, MOST)
    return Failures(
        parked=tuple(
            Cause(r.cause, r.journey, r.step, r.n, r.newest, r.reason, r.parked_at, _retry(r.journey, r.step, r.cause))
            for r in await chosen.parked(c)
        ),
        relay=tuple(Backlog("urgent" if u else "bulk", n, waited.get(u, 0.0)) for u, n in pending.items() if n),
        quarantine=tuple(Aside(r.source, r.n, r.oldest) for r in await quarantine.backlog(c)),
        kept_back=tuple(KeptBack(r.journey, r.n, f"sojourn resume {r.journey}") for r in await pauses.left_behind(c)),
    )


def _retry(journey: str, step: str, cause: str) -> str:
    """The command for exactly these."""
    parts = ["sojourn", "retry", "--journey", journey, *(["--step", step] if step else []), "--reason", cause]
    return shlex.join(parts)
