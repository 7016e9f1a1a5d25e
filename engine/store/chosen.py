"""Which enrollments somebody means: by journey, step, status, customer, age, reason, plan or number. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch

STATUSES = ("live", "parked", "ended")

CAUSE = (
    "regexp_replace(regexp_replace(e.reason, '(^|[^[:alnum:]])(''[^'']*(''|$)|\"[^\"]*(\"|$))', '\\1…', 'g'), "
    "'[0-9]+([.:][0-9]+)*', 'N', 'g')"
)
"""A reason without what differs from one person to the next: what stands in quotes, and numbers."""

SINCE = (
    "coalesce((select max(m.planned_at) from messages m where m.customer_id = e.customer_id and m.enrollment_id = e.id "
    "and m.status in ('deferred', 'reserved', 'handed_over', 'parked')), "
    "to_timestamp((e.state->>2)::double precision / 1e6), e.entered_at)"
)
"""Since when somebody stands in their step, in logical time, as far as that is recorded."""

GROUPS = {
    "journey": "e.journey",
    "step": "coalesce(e.step, '')",
    "status": "e.status",
    "reason": CAUSE,
    "plan": "e.plan",
}
"""What enrollments are counted by. `reason`: by its cause."""

_PAUSED = "(e.paused_at is not null or exists (select 1 from journeys j where j.name = e.journey and j.paused_at is not null))"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What enrollments must fit, all of it; None: anything. `reason`: a part of it or of its cause, ignoring case · `plan`: what
    its hash begins with · `entered_before`, `standing_before`: they came in, or to their step, before then · `states`: one of
    these · `paused`: by themselves or with their journey, and inside · `by_themselves`: paused whatever their journey is."""

    journey: str | None = None
    step: str | None = None
    states: Sequence[str] | None = None
    customer: int | None = None
    reason: str | None = None
    plan: str | None = None
    entered_before: datetime | None = None
    standing_before: datetime | None = None
    paused: bool = False
    by_themselves: bool = False
    ids: Sequence[int] | None = None

    def where(self) -> tuple[str, dict[str, Any]]:
        """The condition on `enrollments e`, and its values."""
        wanted = {
            "e.journey = :journey": ("journey", self.journey),
            "coalesce(e.step, '') = :step": ("step", self.step),
            "e.status = any(cast(:states as text[]))": ("states", None if self.states is None else list(self.states)),
            "e.customer_id = :customer": ("customer", self.customer),
            f"(strpos(lower(e.reason), lower(:reason)) > 0 or strpos(lower({CAUSE}), lower(:reason)) > 0)": (
                "reason",
                self.reason,
            ),
            "starts_with(e.plan, :plan)": ("plan", self.plan),
            "e.entered_at < :entered": ("entered", self.entered_before),
            f"{SINCE} < :standing": ("standing", self.standing_before),
            "e.id = any(cast(:ids as bigint[]))": ("ids", None if self.ids is None else list(self.ids)),
        }
        parts = [condition for condition, (_, value) in wanted.items() if value is not None]
        parts += [f"{_PAUSED} and e.status <> 'ended'"] if self.paused else []
        parts += ["e.paused_at is not null"] if self.by_themselves else []
        return " and ".join(parts) or "true", {name: value for name, value in wanted.values() if value is not None}


async def numbers(c: Connection, chosen: Chosen) -> list[int]:
    """The numbers of those that fit, in order."""
    where, values = chosen.where()
    return [r.id for r in await fetch(c, f"select e.id from enrollments e where {where} order by e.id", **values)]


async def any_is(c: Connection, chosen: Chosen) -> bool:
    """Whether anybody fits."""
    where, values = chosen.where()
    return bool(await fetch(c, f"select 1 from enrollments e where {where} limit 1", **values))


async def listing(c: Connection, chosen: Chosen, limit: int) -> list[Row[Any]]:
    """Those that fit, newest first: id, customer_id, journey, plan, key, status, reason, holdout, step, since (they stand there),
    wake_at, entered_at, ended_at, parked_at, paused (whether), and `user` to call the customer by."""
    where, values = chosen.where()
    return await fetch(
        c,
        f"select e.id, e.customer_id, e.journey, e.plan, e.key, e.status, e.reason, e.holdout, e.step, {SINCE} as since, "
        f"e.wake_at, e.entered_at, e.ended_at, e.parked_at, {_PAUSED} and e.status <> 'ended' as paused, "
        "coalesce((select i.value from identifiers i where i.customer_id = e.customer_id "
        "order by i.kind desc, i.value limit 1), '') as user "
        f"from enrollments e where {where} order by e.id desc limit :limit",
        limit=limit,
        **values,
    )


async def counts(c: Connection, chosen: Chosen, by: Sequence[str]) -> list[Row[Any]]:
    """How many fit, by each of `by` (of GROUPS): a column for each, and n; the largest first."""
    where, values = chosen.where()
    columns = ", ".join(f'{GROUPS[name]} as "{name}"' for name in by)
    places = ", ".join(str(i + 1) for i in range(len(by)))
    return await fetch(
        c,
        f"select {columns}, count(*) as n from enrollments e where {where} group by {places} order by n desc, {places}",
        **values,
    )


async def parked(c: Connection) -> list[Row[Any]]:
    """Everybody who is parked, by cause, journey and step: n, and of the newest one its number, when it was parked (None: before
    that was kept) and the reason in full. The largest first."""
    return await fetch(
        c,
        f"select {CAUSE} as cause, e.journey, coalesce(e.step, '') as step, count(*) as n, max(e.id) as newest, "
        "max(e.parked_at) as parked_at, (array_agg(e.reason order by e.id desc))[1] as reason "
        "from enrollments e where e.status = 'parked' group by 1, 2, 3 order by n desc, 2, 3, 1",
    )
