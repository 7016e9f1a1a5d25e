"""Which trace an input belongs to, so that a message is found from the request behind it; when each chore was last done."""

from alembic import op

revision = "0027"
down_revision = "0025"
branch_labels = None
depends_on = None

TRACES = """
alter table inputs add column trace text;
create table chores (name text primary key, succeeded_at timestamptz not null);
"""
# `inputs.trace`: a W3C traceparent, null where traces are off. `chores.succeeded_at`: real time.


def upgrade() -> None:
    """Add both. A null column costs no rewriting of the table."""
    op.execute(TRACES)
