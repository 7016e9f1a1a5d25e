"""The tags that a message was sent with, for caps that count them; and those of what is planned."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. What was sent before has no tags."""
    op.execute("alter table messages add column tags text[] not null default '{}'")
    op.execute("alter table planned add column tags text[] not null default '{}'")
