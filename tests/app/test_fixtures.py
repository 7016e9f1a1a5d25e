"""The shared fixtures themselves: a fresh database per test, a Temporal server that answers."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql
from temporalio.client import Client

from tests.servers import fresh_database


def test_a_database_is_migrated_and_empty(database_url: str) -> None:
    """Each test gets a database of its own that has the newest schema and no customers."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute("select count(*) from customers").fetchone()
        connection.execute("create table only_here (a int)")
        connection.commit()
    assert (0,) == found


def test_what_a_test_leaves_is_gone_in_the_next(database_url: str) -> None:
    """A table that an earlier test made in its database doesn't exist in this one."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute("select to_regclass('only_here')").fetchone()
    assert (None,) == found


def test_a_database_that_was_written_to_is_as_empty_as_a_new_one() -> None:
    """Few rows and many, numbers that count up, what may only be added to, and connections that are left open."""
    with fresh_database() as url:
        left = psycopg.connect(url)
        with psycopg.connect(url, autocommit=True) as c:
            new = dump(c)
            made = (
                "insert into customers (attributes, created_at, updated_at) select '{}', now(), now() from generate_series(1, %s)"
            )
            c.execute(made, [3_000])
            c.execute("insert into audit (actor, act, subject) values ('ops', 'looked', 'ada')")
            c.execute("update clock set scale = 7")
            assert new != dump(c)
    with fresh_database() as again, psycopg.connect(again, autocommit=True) as c:
        assert (url, new) == (again, dump(c))
        c.execute(made, [1])
        assert (1,) == c.execute("select id from customers").fetchone()
    with pytest.raises(psycopg.OperationalError):
        left.execute("select 1")


def dump(c: psycopg.Connection[Any]) -> dict[str, Any]:
    """Every table's rows."""
    tables = c.execute("select tablename from pg_tables where schemaname = 'public' order by 1").fetchall()
    statement = sql.SQL("select to_jsonb(t) from {} t order by 1")
    return {name: c.execute(statement.format(sql.Identifier(name))).fetchall() for (name,) in tables}


async def test_temporal_knows_its_namespace(temporal_address: str) -> None:
    """The session's Temporal server serves the namespace "default"."""
    client = await Client.connect(temporal_address)
    found = await client.count_workflows("WorkflowType = 'nobody runs this'")
    assert 0 == found.count
