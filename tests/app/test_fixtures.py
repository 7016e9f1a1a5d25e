"""The shared fixtures themselves: a fresh database per test, a Temporal server that answers."""

from __future__ import annotations

import psycopg
from temporalio.client import Client


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


async def test_temporal_knows_its_namespace(temporal_address: str) -> None:
    """The session's Temporal server serves the namespace "default"."""
    client = await Client.connect(temporal_address)
    found = await client.count_workflows("WorkflowType = 'nobody runs this'")
    assert 0 == found.count
