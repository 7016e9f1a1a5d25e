"""Who told us of a consent and when; who was in the project's holdout on entering; whom a limit of journeys kept out."""

from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None

CONSENTS = """
alter table consents add column via text not null default '', add column recorded_at timestamptz;
"""
HOLDOUTS = """
alter table enrollments add column global_holdout text;
"""
LIMITS = """
create table refusals (
    id bigint generated always as identity primary key,
    customer_id bigint not null, journey text not null, key text not null default '',
    event_id bigint not null, at timestamptz not null, rule text not null, detail text not null
);
create index refusals_customer on refusals (customer_id, id);
create index refusals_event on refusals (event_id);
"""


def upgrade() -> None:
    """Add what is recorded from now on."""
    for part in (CONSENTS, HOLDOUTS, LIMITS):
        op.execute(part)
