"""A send that goes by several channels is one message to caps; what a sender's standing with its provider is judged by: how far
it has been warmed up, how many messages and complaints there were on each day, and which channels rest because of these."""

from alembic import op

revision = "0023"
down_revision = "0021"
branch_labels = None
depends_on = None

SENDS = """
alter table messages add column charged text[] not null default '{}';
alter table planned add column charged text[] not null default '{}';
"""
# `charged`: the channels on which the same send took slots before; caps that counted those don't count this one.

SENDERS = """
alter table channels add column complaints jsonb;
create table channel_days (
    channel text not null, day date not null, sent bigint not null default 0, complained bigint not null default 0,
    primary key (channel, day)
);
create table channel_rests (
    channel text primary key, since timestamptz not null, sent bigint not null, complained bigint not null, days integer not null
);
create table warmups (
    channel text not null, sender text not null, begun_on date not null, day integer not null, used bigint not null,
    quota bigint not null, granted bigint not null, primary key (channel, sender)
);
"""
# `channels.complaints`: the limit that `sojourn.yaml` sets, null where there is none. `warmups.granted`: what the last one who
# asked was given.


def upgrade() -> None:
    """Add the columns and the tables. Messages that are there were each counted by themselves."""
    for part in (SENDS, SENDERS):
        op.execute(part)
