"""Tasks that are handed to a program of the company's: to which, how far that has come, and what it calls them; tokens that a
provider signs for one notice alone; numbers from which somebody said STOP, whoever they belong to."""

from alembic import op

revision = "0031"
down_revision = "0027"
branch_labels = None
depends_on = None

TASKS = """
alter table tasks add column receiver text not null default '', add column handover text not null default ''
    check (handover in ('', 'waiting', 'handed_over', 'there', 'unknown', 'finished', 'left')),
    add column remote_id text not null default '', add column words text not null default '',
    add column tries integer not null default 0, add column lease_owner text, add column lease_until timestamptz;
create index tasks_remote on tasks (receiver, remote_id) where remote_id <> '';
create index tasks_to_finish on tasks (id) where handover in ('there', 'handed_over') and status <> 'open';
"""
# `receiver`: '' for our own list. `words`: what it said last. The lease is real time.

NOTICES = """
create table notice_tokens (
    source text not null, token text not null, body text not null, at timestamptz not null, primary key (source, token)
);
create index notice_tokens_at on notice_tokens (at);
"""
# `token`, `body`: digests. `at`: real time; none is kept for longer than its notice would be taken.


STOPPED = """
create index suppressions_stopped on suppressions (channel, regexp_replace(address, '[ ().]|(?<=.)-', '', 'g'))
    where reason = 'stop';
"""


def upgrade() -> None:
    """Add the columns, the table and the index. Tasks that are there are on our own list."""
    for part in (TASKS, NOTICES, STOPPED):
        op.execute(part)
