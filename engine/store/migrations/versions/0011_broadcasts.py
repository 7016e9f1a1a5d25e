"""Broadcasts: who comes into journeys by a schedule, a date or an event about a thing, page by page; and whom each has still
to reach.

One row of `broadcasts` is one occurrence (for `date`: the entry, for as long as it is deployed). `broadcast_people` holds
those who were found and haven't been enrolled yet, each with their own moment.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLES = """
create table broadcasts (
    id bigint generated always as identity primary key,
    journey text not null, kind text not null, rule text not null, occurrence text not null, place smallint not null,
    entry jsonb not null, event_id bigint, depth smallint not null default 0,
    state text not null default 'open' check (state in ('open', 'paused', 'done', 'cancelled', 'missed')),
    created_at timestamptz not null, starts_at timestamptz not null, began_at timestamptz, ended_at timestamptz,
    after_id bigint not null default 0, until_id bigint, gathered boolean not null default false,
    found bigint not null default 0, skipped bigint not null default 0,
    entered bigint not null default 0, refused bigint not null default 0,
    paced_until timestamptz, next_at timestamptz, carried boolean not null default false, turn integer not null default 0,
    unique (journey, kind, rule, occurrence)
);
create index broadcasts_next on broadcasts (next_at) where state = 'open' and not carried;
create index broadcasts_dates on broadcasts (journey) where kind = 'date' and state in ('open', 'paused');
create index broadcasts_event on broadcasts (event_id) where event_id is not null;
create table broadcast_people (
    broadcast_id bigint not null, customer_id bigint not null,
    due_at timestamptz not null, occurrence text not null default '',
    primary key (broadcast_id, customer_id)
);
create index broadcast_people_customer on broadcast_people (customer_id);
create index broadcast_people_due on broadcast_people (broadcast_id, due_at, customer_id);
"""


def upgrade() -> None:
    """Add both tables; nobody reads them yet."""
    op.execute(TABLES)
