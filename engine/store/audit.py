"""The audit log: who did what to what, ids only and nothing personal. PostgreSQL refuses to change a row of it, and to remove one
but where `may_expire` was called.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.core.wire import Json
from engine.store.database import Connection, fetch, rows, run


async def note(c: Connection, actor: str, act: str, subjects: Sequence[str], detail: dict[str, Json]) -> None:
    """One row for each of `subjects` (such as "enrollment/12"): `actor` did `act`, with what `detail` says (no personal data)."""
    if subjects:
        await run(
            c,
            "insert into audit (actor, act, subject, detail) select :actor, :act, subject, cast(:detail as jsonb) "
            "from unnest(cast(:subjects as text[])) as s(subject)",
            actor=actor,
            act=act,
            subjects=list(subjects),
            detail=rows([detail])[1:-1],
        )


async def listing(
    c: Connection,
    *,
    actor: str | None = None,
    act: str | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Row[Any]]:
    """The newest rows that fit all that is given, at most `limit`: id, at, actor, act, subject, detail. `subject`: the whole
    ("customer/7"), or a kind ("customer"). `before`: only rows with a lower number."""
    return await fetch(
        c,
        "select id, at, actor, act, subject, detail from audit where (cast(:actor as text) is null or actor = :actor) "
        "and (cast(:act as text) is null or act = :act) "
        "and (cast(:subject as text) is null or subject = :subject or starts_with(subject, :subject || '/')) "
        "and (cast(:since as timestamptz) is null or at >= :since) "
        "and (cast(:before as bigint) is null or id < :before) order by id desc limit :limit",
        actor=actor,
        act=act,
        subject=subject,
        since=since,
        before=before,
        limit=limit,
    )


async def may_expire(c: Connection) -> None:
    """Let this transaction remove rows: retention alone calls this."""
    await run(c, "select set_config('sojourn.retention', 'audit', true)")
