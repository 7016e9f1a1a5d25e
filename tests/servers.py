"""The real servers that tests run against: started once per session on first use, shared by all xdist workers.

They live in a session folder that outlives any worker. Whoever ends the session stops them; the next session sweeps up after
one that was killed. Data is thrown away, so fsync is off.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
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


@contextlib.contextmanager
def fresh_database(name: str) -> Iterator[str]:
    """The URL of a new database called `name`, a copy of the migrated template, dropped afterwards whoever is connected."""
    running = servers()
    migrated_template()
    with psycopg.connect(running.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
    try:
        yield running.url_of(name)
    finally:
        with psycopg.connect(running.database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
