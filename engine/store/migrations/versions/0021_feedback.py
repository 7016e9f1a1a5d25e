"""What providers tell of messages, and the short links in texts: messages are found by their provider's id."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index and the table."""
    op.execute("create index messages_provider on messages (provider_id) where provider_id <> ''")
    op.execute(
        """create table short_links (
            id bigint generated always as identity primary key, code text not null unique,
            customer_id bigint not null, enrollment_id bigint not null, message text not null, url text not null,
            at timestamptz not null
        )"""
    )
    op.execute("create index short_links_customer on short_links (customer_id)")
