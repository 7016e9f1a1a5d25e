"""The next send of each enrollment, as far as it is certain, and the messages that wait: what caps set slots aside for; and where
each channel finds a customer's address, for processes that don't run the channel."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

PLANNED = """
create table planned (
    enrollment_id bigint primary key, customer_id bigint not null,
    journey text not null, step text not null, tier text not null, channels jsonb not null, topic text,
    entered_at timestamptz not null, planned_at timestamptz not null, due timestamptz not null, expires_at timestamptz,
    send_window jsonb, waiting boolean not null default false, until timestamptz
);
create index planned_customer on planned (customer_id);
create table channels (name text primary key, address text not null);
"""


def upgrade() -> None:
    """Add the tables. What is under way registers itself with its next wait or its next decision."""
    op.execute(PLANNED)
