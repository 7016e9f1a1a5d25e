"""What is known of what is gone: which events retention has emptied, how far its walks have been done with for good; and the few
calls and merges that erasures and predictions look for are found by an index; an import counts rows about people who
were erased."""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

EVENTS = "alter table events add column emptied boolean not null default false"

RETENTION = """
alter table retention add column done_to bigint not null default 0, add column meaning text not null default '',
    add column whole_at timestamptz;
"""
# `done_to`: up to this number nothing is left to be done of what `meaning`, a digest, says; `whole_at`: when a walk last began
# with the first row, whatever was done before.

IMPORTS = "alter table imports add column erased bigint not null default 0"

FOUND = """
create index quarantine_mended on quarantine (id) where mended is not null;
create index merges_undone on merges (undone_at) where undone_at is not null;
"""


def upgrade() -> None:
    """Add columns and indexes; what was emptied before isn't known to be."""
    for part in (EVENTS, RETENTION, IMPORTS, FOUND):
        op.execute(part)
