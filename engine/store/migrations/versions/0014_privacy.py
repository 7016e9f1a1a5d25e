"""What privacy needs: marks of who was erased, objections to profiling, tokens, how far retention has come; and an audit log that
PostgreSQL itself keeps from being changed."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

PEOPLE = """
alter table customers add column objected boolean not null default false;
create table erased (kind text not null, mark text not null, erased_at timestamptz not null, primary key (kind, mark));
"""
# `mark` is an HMAC of an identifier under a key of the project: it names nobody, and tells whether somebody was erased.

TOKENS = """
create table tokens (
    name text primary key, role text not null, digest bytea not null unique,
    created_at timestamptz not null default clock_timestamp(), created_by text not null,
    revoked_at timestamptz, revoked_by text
);
"""

RETENTION = """
create table retention (kind text primary key, up_to bigint not null default 0, ran_at timestamptz);
"""
# `up_to`: the highest number whose row has been looked at in the walk that is under way, 0 when it is over.

AUDIT = """
create index audit_subject on audit (subject, id);
create function audit_stays() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' and current_setting('sojourn.retention', true) = 'audit' then
        return old;
    end if;
    raise exception 'the audit log is append-only' using errcode = 'insufficient_privilege';
end
$$;
create trigger audit_rows_stay before update or delete on audit for each row execute function audit_stays();
create trigger audit_stays_whole before truncate on audit for each statement execute function audit_stays();
"""


def upgrade() -> None:
    """Add all of it. The audit log keeps what it has."""
    for part in (PEOPLE, TOKENS, RETENTION, AUDIT):
        op.execute(part)
