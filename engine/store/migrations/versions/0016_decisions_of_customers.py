"""Decisions are found by their customer: for an export, and for an erasure."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.execute("create index decisions_customer on decisions (customer_id)")
