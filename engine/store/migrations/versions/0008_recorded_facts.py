"""What each decision looked at, so that `sojourn audit` and `why` can decide it again. Decisions from before have none.

JSON, kept as text: nothing searches in it, and jsonb would take a quarter more room and turn every number into a numeric."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; a column without a default rewrites no row."""
    op.execute("alter table decisions add column facts text")
