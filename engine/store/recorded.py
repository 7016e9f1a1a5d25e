"""Decisions as they were recorded, for `sojourn audit`: chosen, counted and read in batches. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which decisions: of one customer, of one journey's messages, made at `since` or later; None: of all."""

    customer: int | None = None
    journey: str | None = None
    since: datetime | None = None

    def statement(self, columns: str) -> str:
        """A select of `columns` from the decisions `d` (and their messages `m`, where a journey is chosen)."""
        wanted = {"d.customer_id = :customer": self.customer, "m.journey = :journey": self.journey, "d.at >= :since": self.since}
        joined = " join messages m on m.key = d.key" if self.journey is not None else ""
        conditions = [condition for condition, value in wanted.items() if value is not None]
        return f"select {columns} from decisions d{joined}" + (f" where {' and '.join(conditions)}" if conditions else "")

    def values(self) -> dict[str, Any]:
        """What the statement's names stand for."""
        named = {"customer": self.customer, "journey": self.journey, "since": self.since}
        return {name: value for name, value in named.items() if value is not None}


async def extent(c: Connection, chosen: Chosen) -> tuple[int, int]:
    """(how many decisions fit, the newest one's id): what comes later belongs to the next audit."""
    found = await fetch(c, chosen.statement("count(*) as n, coalesce(max(d.id), 0) as newest"), **chosen.values())
    return found[0].n, found[0].newest


async def some(c: Connection, chosen: Chosen, n: int) -> list[int]:
    """The ids of `n` decisions chosen by chance, in order; of all where there are no more."""
    statement = f"select id from ({chosen.statement('d.id')} order by random() limit :n) s order by id"
    return [r.id for r in await fetch(c, statement, **chosen.values(), n=n)]


_COLUMNS = (
    "d.id, d.key, d.customer_id, d.at, d.decision, d.reason, d.rule, d.detail, d.until, d.earliest, d.gates, d.policy, d.plan, "
    "d.consent_version, d.facts"
)


async def by_id(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """These decisions, whole, in order."""
    return await fetch(
        c, f"select {_COLUMNS} from decisions d where d.id = any(cast(:ids as bigint[])) order by d.id", ids=list(ids)
    )


async def following(c: Connection, chosen: Chosen, after: int, newest: int, n: int) -> list[Row[Any]]:
    """The next `n` decisions with an id over `after`, up to `newest`, whole and in order."""
    statement = chosen.statement(_COLUMNS)
    word = "and" if " where " in statement else "where"
    statement += f" {word} d.id > :after and d.id <= :newest order by d.id limit :n"
    return await fetch(c, statement, **chosen.values(), after=after, newest=newest, n=n)
