"""The real servers that tests run against: started once per session on first use, shared by all xdist workers.

They live in a session folder that outlives any worker. Whoever ends the session stops them; the next session sweeps up after
one that was killed. Data is thrown away, so fsync is off.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from engine.app import postgres, temporal_server
from engine.app.postgres import Postgres
from engine.app.processes import alive, command_line, stop
from engine.app.temporal_server import TemporalServer

PREFIX = "sojourn-tests-"
SESSION = "SOJOURN_TEST_SESSION"
TEMPLATE = "template_sojourn"


@dataclass(frozen=True, slots=True)
class Servers:
    """What a session's tests share: a PostgreSQL (`database_url` names its maintenance database) and an in-memory Temporal."""

    database_url: str
    temporal_address: str
    postgres_pid: int
    temporal_pid: int

    def url_of(self, name: str) -> str:
        """The URL of the database called `name` on this PostgreSQL."""
        return self.database_url.rpartition("/")[0] + "/" + name


def open_session() -> Path:
    """Make this session's folder, named in the environment for xdist workers, after clearing up what killed sessions left."""
    temporary = Path(tempfile.gettempdir())
    for left in temporary.glob(f"{PREFIX}*"):
        owner = left.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not alive(int(owner)):
            close_session(left)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    folder.chmod(0o711)  # the account that runs PostgreSQL for root passes through
    os.environ[SESSION] = str(folder)
    return folder


def close_session(folder: Path) -> None:
    """Stop the servers in `folder` and remove it."""
    if (folder / "servers.json").exists():
        pid = json.loads((folder / "servers.json").read_text())["temporal_pid"]
        if alive(pid) and "temporal" in command_line(pid):
            stop(pid, temporal_server.IN_ORDER)
    if (folder / "postgres" / "data").exists():
        postgres.stop_left_over(folder / "postgres")
    shutil.rmtree(folder, ignore_errors=True)


def servers() -> Servers:
    """This session's servers, started by whoever asks first."""
    folder = Path(os.environ[SESSION])
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = folder / "servers.json"
        if not known.exists():
            started = _start(folder)
            known.write_text(json.dumps(asdict(started)))
        return Servers(**json.loads(known.read_text()))


_kept: list[Postgres | TemporalServer] = []
"""Keeps the claim on the data for as long as this process lives."""


def _start(folder: Path) -> Servers:
    database = Postgres.start(folder / "postgres", durable=False)
    temporal = TemporalServer.start(None, ui_port=None, exact_timers=True, log=folder / "temporal.log")
    _kept.extend((database, temporal))
    return Servers(database.url, temporal.address, database.pid, temporal.pid)


def migrated_template() -> None:
    """Make the template database that every test's database is a copy of, once per session."""
    from engine.store.schema import migrate

    running = servers()
    folder = Path(os.environ[SESSION])
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "template").exists():
            return
        with psycopg.connect(running.database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database if exists {}").format(sql.Identifier(TEMPLATE)))
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(TEMPLATE)))
        migrate(running.url_of(TEMPLATE))
        (folder / "template").touch()


_idle: list[str] = []
"""Names of this process's databases that nobody uses: as empty as the template."""


@contextlib.contextmanager
def fresh_database() -> Iterator[str]:
    """The URL of a database like the migrated template, of which there is nothing left afterwards, whoever is connected.

    Making and dropping databases was nearly half of what the tests took: one that was used is emptied and used again."""
    running = servers()
    migrated_template()
    name = _idle.pop() if _idle else _made()
    url = running.url_of(name)
    try:
        yield url
    finally:
        if _emptied(url):
            _idle.append(name)
        else:
            with psycopg.connect(running.database_url, autocommit=True) as connection:
                connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _made() -> str:
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(servers().database_url, autocommit=True) as connection:
        statement = sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(TEMPLATE))
        connection.execute(statement)
    return name


def _emptied(url: str) -> bool:
    """Throw everybody out and remove what was written; False where the schema is another than the template's."""
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(THROW_OUT)
            if connection.execute(SHAPE).fetchone() != _template()[0]:
                return False
            with connection.transaction():
                connection.execute("set local session_replication_role = replica")  # no triggers: some tables forbid it
                connection.execute(EMPTY)
                for table, found in _template()[1].items():
                    statement = "insert into {} overriding system value select * from jsonb_populate_recordset(null::{}, %s)"
                    name = sql.Identifier(table)
                    connection.execute(sql.SQL(statement).format(name, name), [json.dumps(found)])
        return True
    except psycopg.Error:
        return False


@functools.cache
def _template() -> tuple[object, dict[str, list[object]]]:
    """The shape of the template's schema, and the rows that it has: table → rows."""
    with psycopg.connect(servers().url_of(TEMPLATE), autocommit=True) as connection:
        shape = connection.execute(SHAPE).fetchone()
        found = {}
        for (table,) in connection.execute("select relname from pg_class where oid in (" + TABLES + ")").fetchall():
            rows = connection.execute(sql.SQL("select to_jsonb(t) from {} t").format(sql.Identifier(table))).fetchall()
            if rows:
                found[table] = [row for (row,) in rows]
        return shape, found


TABLES = "select oid from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
THROW_OUT = """
select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
"""
SHAPE = f"""
select (select md5(string_agg(format('%s.%s %s %s %s', attrelid::regclass, attname, atttypid, attnotnull, attisdropped), ','
                   order by attrelid::regclass::text, attnum)) from pg_attribute where attrelid in ({TABLES}) and attnum > 0),
       (select md5(string_agg(pg_get_triggerdef(oid), ',' order by tgrelid, tgname)) from pg_trigger where not tgisinternal),
       (select md5(string_agg(indexrelid::regclass::text, ',' order by indexrelid::regclass::text)) from pg_index
        where indrelid in ({TABLES})),
       (select md5(string_agg(conname, ',' order by conname)) from pg_constraint where conrelid in ({TABLES})),
       (select md5(string_agg(prosrc, ',' order by proname)) from pg_proc where pronamespace = 'public'::regnamespace),
       (select count(*) from pg_class where relnamespace = 'public'::regnamespace)
"""
EMPTY = f"""
do $$
declare one record; there boolean;
begin
    for one in {TABLES.replace("select oid", "select oid::regclass as name, oid")} loop
        if pg_relation_size(one.oid) > 65536 then
            execute format('truncate %s cascade', one.name);
        else
            execute format('select exists (select 1 from %s)', one.name) into there;
            if there then execute format('delete from %s', one.name); end if;
        end if;
    end loop;
    perform setval(format('%I', sequencename)::regclass, 1, false) from pg_sequences
    where schemaname = 'public' and last_value is not null;
end $$
"""
