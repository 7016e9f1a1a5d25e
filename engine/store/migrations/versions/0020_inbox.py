"""The inbox: messages that stay with us, for the company's own pages and apps to show."""

from alembic import op

revision = "0020"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.execute(
        """
        create table inbox (
            id bigint generated always as identity primary key,
            customer_id bigint not null references customers,
            channel text not null,
            key text not null unique,
            title text not null,
            body text not null,
            data jsonb not null,
            created_at timestamptz not null,
            read_at timestamptz,
            archived_at timestamptz
        );
        create index inbox_customer on inbox (customer_id, id);
        """
    )
