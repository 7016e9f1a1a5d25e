"""How far each channel's rate is used up, for all workers together; and which enrollments the relay brings before all others."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

PACING = """
create unlogged table paces (channel text primary key, free_at timestamptz not null, granted integer not null);
alter table enrollments add column urgent boolean not null default false;
alter table inputs add column urgent boolean not null default false;
create index inputs_urgent on inputs (id) where relayed_at is null and urgent;
"""
# `paces` is unlogged: a crash of PostgreSQL costs no more than one burst too many, and taking tokens waits for no disk.


def upgrade() -> None:
    """Add the table and the columns. Who is inside already stays with those who aren't urgent, for good."""
    op.execute(PACING)
