"""Releases: what a deploy does beside putting documents in force (canaries, journeys that take nobody), and whom it moves from
older plans."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

DEPLOYMENTS = """
alter table deployments add column act text not null default 'deploy';
alter table deployments add column rollout jsonb not null default '{}';
"""
# `act`: deploy, promote, or "rollback to 7". `rollout`: journey → {"drained": true} or {"canary": plan, "share": 0.1}.

MOVES = """
create table moves (
    id bigint generated always as identity primary key, deployment bigint not null, journey text not null, plan text not null,
    named jsonb not null default '{}', after bigint not null default 0, asked bigint not null default 0, done_at timestamptz
);
create index moves_open on moves (id) where done_at is null;
alter table inputs add column was jsonb;
create index inputs_moves on inputs (enrollment_id) where kind = 'move' and note is distinct from 'done';
"""
# A row brings all who are in `journey` on another plan to `plan`: those up to enrollment `after` have been asked. `named`: old
# step → new step. `inputs.was`: what an input matched on the plan on which it came, where its enrollment is on another now.


def upgrade() -> None:
    """Add the columns and the table."""
    for part in (DEPLOYMENTS, MOVES):
        op.execute(part)
