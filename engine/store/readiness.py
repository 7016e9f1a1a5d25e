"""What a process asks of the database before it calls itself ready. Reads only."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.exc import ProgrammingError

from engine.store.database import Connection, Database, fetch, transaction


async def wall_clock(c: Connection) -> datetime:
    """The database server's own clock, without the time scale. Aware UTC."""
    moment: datetime = (await fetch(c, "select clock_timestamp()"))[0][0]
    return moment.astimezone(UTC)


async def schema_version(database: Database) -> str | None:
    """The revision that the schema is at, None where nothing was ever migrated. In a transaction of its own, because a missing
    table breaks the one that asks for it."""
    try:
        async with transaction(database) as c:
            found = await fetch(c, "select version_num from alembic_version")
    except ProgrammingError:
        return None
    return found[0][0] if found else None


async def newest_deployment(c: Connection) -> int | None:
    """The number of the deployment in force, None before the first."""
    number: int | None = (await fetch(c, "select max(id) from deployments"))[0][0]
    return number
