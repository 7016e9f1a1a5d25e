"""Computed attributes as they are kept for each customer, and how far filling them in for everybody has come.

`definition` is the hash of what the attribute means: a row of another one is as good as none. `state` is what events are added
to; `value` the value that follows, where time alone doesn't change it. `fits` are the models that predictions are made with.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLES = """
create table computed (
    customer_id bigint not null, name text not null, definition text not null,
    state jsonb not null, value jsonb, primary key (customer_id, name)
) with (fillfactor = 80);
create table backfills (
    definitions text primary key, begun_at timestamptz not null default clock_timestamp(),
    after_id bigint not null default 0, until_id bigint not null, customers bigint not null default 0, done_at timestamptz,
    anew boolean not null default false
);
create index computed_orders on computed (customer_id) where name = '$orders';
create table fits (
    id bigint generated always as identity primary key, at timestamptz not null, definition text not null,
    customers bigint not null, parameters jsonb, why text not null default '',
    after_id bigint not null default 0, filled bigint not null default 0, done_at timestamptz
);
create index fits_definition on fits (definition, id);
"""


def upgrade() -> None:
    """Add the tables; what isn't there yet is worked out from the events."""
    op.execute(TABLES)
