"""An index for the end of an enrollment: it drops what its enrollment had waiting, without a look at every message there is."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.execute("create index messages_unsettled on messages (enrollment_id) where status in ('deferred', 'reserved', 'parked')")
