"""The schema's versions: a database of an older one is brought up with what is in it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from alembic import command
from psycopg import sql
from psycopg.rows import dict_row

from engine.core.compact import encode_state
from engine.core.enrollment import State
from engine.store.database import sqlalchemy_url
from engine.store.schema import SchemaError, _config, check, migrate
from tests import servers

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def older() -> Iterator[str]:
    """The URL of a database without any schema."""
    running, name = servers.servers(), sql.Identifier(f"older_{secrets.token_hex(6)}")
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(name))
        yield running.url_of(name.as_string(None).strip('"'))
        connection.execute(sql.SQL("drop database {} with (force)").format(name))


def upgrade(url: str, revision: str) -> None:
    """Bring a database to an older revision."""
    from sqlalchemy import create_engine

    engine = create_engine(sqlalchemy_url(url))
    with engine.connect() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def test_whoever_is_parked_is_so_for_a_reason_that_is_kept(older: str) -> None:
    """Of those who are parked when parkings come to be kept the row is made of their own; what the reason quotes is left out.
    Everybody else stays as they were."""
    upgrade(older, "0031")
    with pytest.raises(SchemaError, match="0031"):
        check(older)
    state = encode_state(State("parked", op=4, at=NINE, visit=2, attempt=1, seq=7, reason="template"))
    insert = (
        "insert into enrollments (id, customer_id, journey, plan, status, reason, entry_event, entered_at, last_seq, step, "
        "state, parked_at) values (%s, %s, 'tour', 'p', %s, %s, 1, %s, 9, 'hello', %s, %s)"
    )
    words = "templates/email/hello.txt:1: Ada can't be greeted"
    with psycopg.connect(older, autocommit=True, row_factory=dict_row) as c:
        for number, status, reason, body, at in (
            (1, "parked", words, state, NINE),
            (2, "parked", "channel", state, None),
            (3, "live", "", state, None),
            (4, "ended", "completed", None, None),
        ):
            values = (number, number, status, reason, NINE, None if body is None else psycopg.types.json.Jsonb(body), at)
            c.execute(insert, values)
        before = c.execute("select * from enrollments order by id").fetchall()
        migrate(older)
        check(older)
        assert before == c.execute("select * from enrollments order by id").fetchall()
        first, second = c.execute("select * from parkings order by enrollment_id").fetchall()
        assert (1, 7, NINE, 4, 2, 1, "hello", "templates/email/hello.txt") == tuple(first.values())
        assert (2, "channel", True) == (second["enrollment_id"], second["reason"], second["at"] > NINE)
        assert [] == c.execute("select * from moved").fetchall()
        migrate(older)
        assert 2 == len(c.execute("select * from parkings").fetchall())
