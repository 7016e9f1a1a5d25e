"""Imports of files: how far each one has come, by a digest of the file and of what its columns mean. Moments are real time.

Progress is written in the transaction that takes the rows in, so it is exact after any crash.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from engine.store.database import Connection, fetch, run


async def alone(c: Connection, digest: str) -> bool:
    """Whether this connection is the only one that imports this now. It is until it is closed, or its process dies."""
    found = await fetch(c, "select pg_try_advisory_lock(hashtextextended('import/' || :digest, 0)) as mine", digest=digest)
    return bool(found[0].mine)


async def let_go(c: Connection, digest: str) -> None:
    """Others may import it: the connection goes back to its pool, and locks of a session would go with it."""
    await fetch(c, "select pg_advisory_unlock(hashtextextended('import/' || :digest, 0))", digest=digest)


async def begun(c: Connection, digest: str, kind: str, source: str, actor: str) -> Row[Any]:
    """The import with this digest, made where there is none: id, rows (read so far, bad ones too), taken, known, bad,
    erased (rows about people who were erased), ended_at."""
    found = await fetch(
        c,
        "insert into imports (digest, kind, source, actor) values (:digest, :kind, :source, :actor) "
        "on conflict (digest) do update set actor = excluded.actor returning id, rows, taken, known, bad, erased, ended_at",
        digest=digest,
        kind=kind,
        source=source,
        actor=actor,
    )
    return found[0]


async def anew(c: Connection, number: int) -> Row[Any]:
    """The file is read from its first row again; the same row."""
    found = await fetch(
        c,
        "update imports set rows = 0, taken = 0, known = 0, bad = 0, erased = 0, ended_at = null where id = :id "
        "returning id, rows, taken, known, bad, erased, ended_at",
        id=number,
    )
    return found[0]


async def advance(c: Connection, number: int, *, before: int, rows: int, taken: int, known: int, bad: int, erased: int) -> bool:
    """It has come further by so many rows; False where it isn't at the row `before`, because another process moved it."""
    done = await run(
        c,
        "update imports set rows = rows + :rows, taken = taken + :taken, known = known + :known, bad = bad + :bad, "
        "erased = erased + :erased, moved_at = clock_timestamp() where id = :id and rows = :before",
        id=number,
        before=before,
        rows=rows,
        taken=taken,
        known=known,
        bad=bad,
        erased=erased,
    )
    return done == 1


async def end(c: Connection, number: int) -> None:
    """Its last row has been read."""
    await run(c, "update imports set ended_at = clock_timestamp() where id = :id", id=number)


async def unheeded(c: Connection, source: str, since: datetime) -> int:
    """How many consents that a source told of since then (logical time) don't count: they must be confirmed, or were taken back
    elsewhere."""
    found = await fetch(
        c,
        "select count(*) as n from consents where via = :source and state = 'pending' and recorded_at >= :since",
        source=source,
        since=since,
    )
    return int(found[0].n)
