"""The quarantine: calls that couldn't be taken as they were, kept whole with the reason until a person mends or drops them.

`call` and `mended` are JSON as text. `body` is what a call doesn't say of itself: see `intake.kept`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, rows, run

WAITING = "released_at is null and dropped_at is null"


async def add(c: Connection, items: Sequence[dict[str, Any]]) -> None:
    """Put aside: source, at, reason, body, message_id, call. One that its source has sent before stays as it is."""
    if items:
        await run(
            c,
            "insert into quarantine (source, at, reason, body, message_id, call) "
            "select source, at, reason, body, message_id, call from jsonb_to_recordset(cast(:rows as jsonb)) as r("
            "source text, at timestamptz, reason text, body jsonb, message_id text, call text) "
            "on conflict (message_id, source) do nothing",
            rows=rows(items),
        )


async def number_of(c: Connection, source: str, message_id: str) -> int | None:
    """The number of what this message of the source was put aside as, None where it wasn't."""
    found = await fetch(c, "select id from quarantine where message_id = :id and source = :source", id=message_id, source=source)
    return int(found[0].id) if found else None


async def listing(
    c: Connection,
    *,
    source: str | None = None,
    reason: str | None = None,
    ids: Sequence[int] | None = None,
    everything: bool = False,
    limit: int | None = None,
) -> list[Row[Any]]:
    """What fits all that is given (`reason`: a part of it, ignoring case), newest first: id, source, at, reason, kind, name,
    mended (whether), released_at, dropped_at. Only what still waits, unless `everything`."""
    return await fetch(
        c,
        "select id, source, at, reason, body->>'kind' as kind, body->>'name' as name, mended is not null as mended, released_at, "
        f"dropped_at from quarantine where (:everything or {WAITING}) "
        "and (cast(:source as text) is null or source = :source) "
        "and (cast(:reason as text) is null or strpos(lower(reason), lower(:reason)) > 0) "
        "and (cast(:ids as bigint[]) is null or id = any(cast(:ids as bigint[]))) "
        "order by id desc limit cast(:limit as bigint)",
        everything=everything,
        source=source,
        reason=reason,
        ids=list(ids) if ids is not None else None,
        limit=limit,
    )


async def backlog(c: Connection) -> list[Row[Any]]:
    """What waits for somebody to mend it, by source: source, n, oldest (when it came)."""
    return await fetch(
        c, f"select source, count(*) as n, min(at) as oldest from quarantine where {WAITING} group by 1 order by 2 desc, 1"
    )


async def whole(c: Connection, ids: Sequence[int]) -> list[Row[Any]]:
    """These, in the order in which they came: id, source, at, reason, body, message_id, call, mended, released_at,
    dropped_at."""
    return await fetch(
        c,
        "select id, source, at, reason, body, message_id, call, mended, released_at, dropped_at from quarantine "
        "where id = any(cast(:ids as bigint[])) order by id",
        ids=list(ids),
    )


async def mend(c: Connection, number: int, call: str, message_id: str | None, reason: str) -> bool:
    """Keep a corrected call beside the one that came; whether it still waits. `message_id` None: the one that it has; the same
    where another row has it already. `reason`: what is wrong with it still, else it stays."""
    touched = await run(
        c,
        "update quarantine q set mended = :call, reason = coalesce(nullif(:reason, ''), reason), message_id = case "
        "when cast(:message as text) is null or exists (select 1 from quarantine o where o.message_id = :message "
        f"and o.source = q.source and o.id <> q.id) then message_id else :message end where id = :id and {WAITING}",
        call=call,
        message=message_id,
        reason=reason,
        id=number,
    )
    return touched == 1


async def released(c: Connection, ids: Sequence[int]) -> list[int]:
    """Those of `ids` that waited until now, and have gone through the door."""
    return await _ended(c, "released_at = clock_timestamp()", ids)


async def drop(c: Connection, ids: Sequence[int]) -> list[int]:
    """Throw away what those of `ids` that still wait held; which these were. The row stays, so that the same message isn't put
    aside again."""
    return await _ended(c, "dropped_at = clock_timestamp(), call = null, mended = null, body = '{}'", ids)


async def _ended(c: Connection, how: str, ids: Sequence[int]) -> list[int]:
    found = await fetch(
        c,
        f"update quarantine set {how} where id = any(cast(:ids as bigint[])) and {WAITING} returning id",
        ids=sorted(set(ids)),
    )
    return sorted(r.id for r in found)


async def still(c: Connection, reasons: Mapping[int, str]) -> None:
    """Why these (number → reason) couldn't be released, where they wait."""
    if reasons:
        await run(
            c,
            "update quarantine q set reason = r.reason "
            "from jsonb_to_recordset(cast(:rows as jsonb)) as r(id bigint, reason text) "
            f"where q.id = r.id and {WAITING}",
            rows=rows({"id": i, "reason": why} for i, why in sorted(reasons.items())),
        )


async def waiting(c: Connection) -> dict[str, int]:
    """Source → how many of its calls wait to be mended, released or dropped."""
    found = await fetch(c, f"select source, count(*) as n from quarantine where {WAITING} group by 1")
    return {r.source: r.n for r in found}
