"""The one door to PostgreSQL: a SQLAlchemy async engine on psycopg 3, and the few habits every statement shares.

Statements take arrays or one JSON document of rows (`rows`) and return rows; nobody loops over single statements.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from psycopg.types.json import set_json_dumps, set_json_loads
from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

set_json_loads(orjson.loads)
set_json_dumps(orjson.dumps)

Connection = AsyncConnection
Database = AsyncEngine

COLLISIONS = 10
"""How often a transaction is tried that collides with another."""

T = TypeVar("T")


class Outrun(Exception):
    """Raised within `collision_free`: what the transaction read is no longer so behind its locks; it is to be run again."""


class _Enough(Exception):
    """What was to be shown is known: nothing of it is kept."""


def sqlalchemy_url(url: str) -> str:
    """`url` (postgresql://…) with the psycopg 3 driver named."""
    for prefix in ("postgresql+psycopg://", "postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url[len(prefix) :]
    raise ValueError(f"a database URL starts with postgresql://, this one starts with {url.split(':', 1)[0]!r}")


def connect(url: str, *, pool: int = 10, name: str = "sojourn") -> Database:
    """An engine with at most `pool` connections. Connections are made when first needed and tested after a pause."""
    return create_async_engine(
        sqlalchemy_url(url),
        pool_size=pool,
        max_overflow=0,
        pool_pre_ping=True,
        pool_timeout=30,
        connect_args={"application_name": name, "options": "-c timezone=UTC", "connect_timeout": 5, "prepare_threshold": 2},
        json_deserializer=orjson.loads,
        hide_parameters=True,  # the text of an error goes into logs and Temporal's histories: no customer's data with it
    )


@asynccontextmanager
async def transaction(database: Database) -> AsyncIterator[Connection]:
    """One transaction, committed at the end and rolled back on an exception."""
    async with database.begin() as connection:
        yield connection


@asynccontextmanager
async def snapshot(database: Database) -> AsyncIterator[Connection]:
    """One transaction that sees the store as it was at its first statement, whatever others commit meanwhile: for who reads much
    of one moment, and need hold up nobody for it."""
    async with database.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        async with connection.begin():
            yield connection


@asynccontextmanager
async def at_once(database: Database) -> AsyncIterator[Connection]:
    """A connection on which every statement commits by itself: for single statements that hold a lock which many wait for."""
    async with database.connect() as connection:
        yield await connection.execution_options(isolation_level="AUTOCOMMIT")


async def collision_free(database: Database, do: Callable[[Connection], Awaitable[T]], *, dry_run: bool = False) -> T:
    """What `do` gives, in one transaction; run again where PostgreSQL gave it up in favour of another, or it was `Outrun`: the
    last of `COLLISIONS` attempts raises. `dry_run`: nothing of it is kept."""
    for attempt in range(1, COLLISIONS + 1):
        try:
            async with transaction(database) as c:
                answer = await do(c)
                if dry_run:
                    raise _Enough
            return answer
        except _Enough:
            return answer
        except (Outrun, DBAPIError) as error:
            if attempt == COLLISIONS or not (isinstance(error, Outrun) or collided(error)):
                raise
    raise AssertionError("the last attempt returns or raises")


def collided(error: DBAPIError) -> bool:
    """Whether PostgreSQL gave a transaction up in favour of another (deadlock, serialisation): running it again is right."""
    return getattr(error.orig, "sqlstate", None) in ("40P01", "40001")


def arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of whole numbers as PostgreSQL's array literals, which every statement casts to its type: this takes a seventh of
    the time that the driver's own way takes."""
    return {name: _literal(value) if type(value) is list else value for name, value in values.items()}


def _literal(value: list[Any]) -> Any:
    return "{" + ",".join(map(str, value)) + "}" if all(type(item) is int for item in value) else value


async def fetch(connection: Connection, statement: str, /, **values: Any) -> list[Row[Any]]:
    """All rows of `statement`."""
    return list((await connection.execute(_prepared(statement), arguments(values))).all())


async def run(connection: Connection, statement: str, /, **values: Any) -> int:
    """Execute `statement`; the number of rows it touched."""
    return (await connection.execute(_prepared(statement), arguments(values))).rowcount


_statements: dict[str, Any] = {}


def _prepared(statement: str) -> Any:
    found = _statements.get(statement)
    if found is None:
        found = _statements[statement] = text(statement)
    return found


def rows(items: Iterable[Mapping[str, Any]]) -> str:
    """Many rows as one JSON document for `jsonb_to_recordset`."""
    return orjson.dumps(list(items), default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()


def json_text(value: Any) -> str:
    """A JSON value as text."""
    return orjson.dumps(value).decode()


def _plain(value: object) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, tuple):
        return list(value)
    return str(value)


async def now(connection: Connection) -> datetime:
    """The database's logical time now, which decisions use. Aware UTC."""
    moment: datetime = (await fetch(connection, "select sojourn_now()"))[0][0]
    return moment.astimezone(UTC)
