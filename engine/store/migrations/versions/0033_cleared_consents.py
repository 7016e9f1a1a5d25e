"""Statements that take back what was said before, and agree to nothing."""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None

CLEARED = """
alter table consents drop constraint consents_state_check,
    add constraint consents_state_check check (state in ('granted', 'withdrawn', 'pending', 'cleared')) not valid;
"""
# Not valid: nobody reads through all rows, which the constraint before it held to less, while the gates wait.


def upgrade() -> None:
    """Let statements be cleared."""
    op.execute(CLEARED)
