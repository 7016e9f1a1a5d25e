"""What sources sent, counted; how far each one's rate is used up; and a quarantine whose rows can be mended and released.

A row of the quarantine is known by its source and message id, so that an event that is sent again is put aside once."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

QUARANTINE = """
alter table quarantine add column message_id text, add column call text, add column mended text,
    add column dropped_at timestamptz;
update quarantine set call = cast(jsonb_build_object(
    'type', body->'kind', 'messageId', body->'message_id', 'userId', body->'identifiers'->'user_id',
    'anonymousId', body->'identifiers'->'anonymous_id', 'event', body->'name', 'properties', body->'properties',
    'traits', body->'traits', 'timestamp', body->'occurred_at') as text);
update quarantine q set message_id = q.body->>'message_id'
    from (select min(id) as id from quarantine group by source, body->>'message_id') first where q.id = first.id;
create unique index quarantine_once on quarantine (message_id, source);
create index quarantine_waiting on quarantine (id) where released_at is null and dropped_at is null;
"""
# `call` and `mended` are JSON as text: jsonb holds no NUL character, and a call is put aside for having one.

SOURCES = """
create table source_counts (
    source text not null, day date not null,
    accepted bigint not null, duplicate bigint not null, quarantined bigint not null, refused bigint not null,
    last_at timestamptz not null, primary key (source, day)
);
create unlogged table source_paces (source text primary key, free_at timestamptz not null, granted boolean not null);
"""
# `source_paces` is unlogged as `paces` is: a crash of PostgreSQL costs no more than one burst too many.


def upgrade() -> None:
    """Add what is kept from now on, and give the rows that are there the form that can be mended."""
    for part in (QUARANTINE, SOURCES):
        op.execute(part)
