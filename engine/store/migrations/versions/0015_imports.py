"""Imports: how far each file has come in, so that one that was interrupted goes on where it stopped.

One row of `imports` is one file with one mapping, by the digest of both. It holds numbers only: nothing of the people in the
file, and not its name.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TABLES = """
create table imports (
    id bigint generated always as identity primary key,
    digest text not null unique, kind text not null, source text not null, actor text not null,
    rows bigint not null default 0, taken bigint not null default 0, known bigint not null default 0,
    bad bigint not null default 0,
    began_at timestamptz not null default clock_timestamp(), moved_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz
);
"""


def upgrade() -> None:
    """Add the table; nobody reads it yet."""
    op.execute(TABLES)
