"""The project's own keys: made at random on first use, kept in the database, each with an id so that older ones stay readable."""

from __future__ import annotations

import os

from engine.store.database import Connection, fetch, run

_LOCK = 7_235_773
"""Advisory lock under which one process makes a key while others wait."""


async def keys(c: Connection, name: str) -> dict[int, bytes]:
    """The keys of this name by id, the highest of which is in use; none where none was ever made."""
    found = await fetch(c, "select id, value from secrets where name = :name order by id", name=name)
    return {r.id: bytes(r.value) for r in found}


async def made(c: Connection, name: str) -> dict[int, bytes]:
    """`keys`, the first of which is made now where there is none."""
    found = await keys(c, name)
    if not found:
        await run(c, "select pg_advisory_xact_lock(:n)", n=_LOCK)
        found = await keys(c, name)
    if not found:
        await run(c, "insert into secrets (name, value) values (:name, :value)", name=name, value=os.urandom(32))
        found = await keys(c, name)
    return found
