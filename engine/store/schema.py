"""The schema's versions: migrate a database up, and refuse one that this code doesn't know.

Migrations stand in `migrations/versions`, expand first and contract in a later release, so that old and new workers can
run side by side.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from engine.store.database import sqlalchemy_url

MIGRATION_LOCK = 7_235_771
"""Advisory lock under which one process migrates while others wait."""


class SchemaError(Exception):
    """The database's schema is not the one this code works with; the message says what to do."""


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def migrate(url: str) -> None:
    """Bring the database at `url` to the newest schema. Safe to call from many processes at once, and again."""
    engine = create_engine(sqlalchemy_url(url), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as holder:
            holder.execute(text("select pg_advisory_lock(:n)"), {"n": MIGRATION_LOCK})
            migrator = create_engine(sqlalchemy_url(url))
            try:
                with migrator.connect() as connection:
                    _refuse_newer(MigrationContext.configure(connection).get_current_revision())
                    connection.rollback()
                    config = _config()
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
            finally:
                migrator.dispose()
    finally:
        engine.dispose()


def check(url: str) -> None:
    """Raise SchemaError unless the database at `url` has exactly this code's schema."""
    engine = create_engine(sqlalchemy_url(url))
    try:
        with engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
    _refuse_newer(found)
    if found != head():
        raise SchemaError(f"the database is at schema {found or 'none'}, this version needs {head()}: run `sojourn migrate`")


@cache
def head() -> str:
    """The revision that this code works with."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    assert found is not None
    return found


def _refuse_newer(found: str | None) -> None:
    known = {s.revision for s in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise SchemaError(f"the database is at schema {found}, which this version doesn't know: upgrade Sojourn on this machine")
