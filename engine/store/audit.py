"""The audit log: who did what to what, append-only, ids only and nothing personal."""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.wire import Json
from engine.store.database import Connection, rows, run


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
