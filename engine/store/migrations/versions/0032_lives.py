"""What a replay of one life needs beside its inputs: how an enrollment went on at each hand-over, and what it was parked for."""

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

MOVED = """
create table moved (
    enrollment_id bigint not null, seq integer not null, at timestamptz not null, asked integer not null,
    followed boolean not null, done_to integer not null, first integer, old_plan text not null, new_plan text not null,
    behind boolean not null, state jsonb, primary key (enrollment_id, seq)
);
"""
# `seq`: the input with which it begins where it goes on: those before it came on `old_plan`. `asked`: the `move` that its cohort
# let it go for. `done_to`: the input up to which its moves are done with; where it `followed` one, that one, else it went on as
# before. `first`: the reset that it followed before that one, at the same time. `behind`: it went on behind the send that it
# stood at. `state`: in which it was let go.


PARKINGS = """
create table parkings (
    enrollment_id bigint not null, seq integer not null, at timestamptz not null, op integer not null, visit integer not null,
    attempt integer not null, step text, reason text not null, primary key (enrollment_id, seq)
);
insert into parkings (enrollment_id, seq, at, op, visit, attempt, step, reason)
select id, coalesce((state ->> 6)::integer, 0), coalesce(parked_at, sojourn_now()), coalesce((state ->> 1)::integer, 0),
    coalesce((state ->> 4)::integer, 0), coalesce((state ->> 5)::integer, 0), step, left(split_part(reason, ':', 1), 60)
from enrollments where status = 'parked' and state is not null;
"""
# `seq`: the highest input that it had seen: a later `retry` or `skip` ends it. `reason`: its beginning only, which quotes nobody.


def upgrade() -> None:
    """Add both tables. Who is parked has a row of it; how somebody was moved before can't be told any more."""
    for part in (MOVED, PARKINGS):
        op.execute(part)
