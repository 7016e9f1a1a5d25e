"""Journeys and enrollments that an operator pauses, who waits because of it, steps that one skips, and since when somebody is
parked."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

PAUSES = """
alter table journeys add column last_paused_at timestamptz, add column resumed_at timestamptz;
alter table enrollments add column paused_at timestamptz, add column last_paused_at timestamptz,
    add column resumed_at timestamptz, add column kept_back boolean not null default false,
    add column parked_at timestamptz, add column skipped text, add column skipped_at timestamptz;
create index enrollments_kept_back on enrollments (journey, id) where kept_back;
create index enrollments_parked on enrollments (id) where status = 'parked';
"""
# `paused_at`: since when, null where it isn't. `last_paused_at`, `resumed_at`: the pause before, which may be why a message came
# too late. `kept_back`: what it asks for next waits because of a pause. `skipped`: the step that was skipped last.


def upgrade() -> None:
    """Add the columns and the indexes. Nobody could pause before; those who are parked already don't say since when."""
    op.execute(PAUSES)
