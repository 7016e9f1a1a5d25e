"""Who is in which segment and stage, since when and why; how far definitions that are new have been worked out; and how far the
sweep has come that finds what time alone changes.

A customer's stage is the row of `stage_history` without an end. What is new is worked out in silence, for those who were
customers by then (`after_id` to `until_id`); `until_id` null: it has been."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = """
create table memberships (
    customer_id bigint not null, segment text not null,
    since timestamptz not null, cause text not null, event_id bigint,
    primary key (customer_id, segment)
);
create index memberships_segment on memberships (segment, customer_id);
create table stage_history (
    id bigint generated always as identity primary key,
    customer_id bigint not null, stage text not null, previous text,
    since timestamptz not null, until timestamptz, cause text not null, event_id bigint
);
create unique index stage_history_now on stage_history (customer_id) where until is null;
create index stage_history_customer on stage_history (customer_id, id);
create index stage_history_stage on stage_history (stage) where until is null;
create table interpretations (
    name text primary key, definition text not null, after_id bigint not null default 0, until_id bigint
);
create table sweeps (
    name text primary key, began_at timestamptz, after_id bigint not null default 0, until_id bigint
);
"""


def upgrade() -> None:
    """Add the tables; what is deployed already is worked out by the first sweep."""
    op.execute(TABLES)
