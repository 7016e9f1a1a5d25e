"""What may be said of an exception in a log: never a customer's data. Words of strangers are left out, because any of them may
quote what it choked on; words of ours may be said where their class vouches for them.
"""

from __future__ import annotations

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

QUOTING = ("22", "54", "XX")
"""Classes of PostgreSQL's states whose first line quotes values: a datum that its type refuses, a limit, an inner failure."""


class Sayable(Exception):
    """The base of exceptions whose words name no customer and quote nobody: they may stand in logs."""


def in_a_line(error: BaseException) -> str:
    """What went wrong, on one line: the words of the driver or the system without statement, details and links, those of a
    `Sayable`, else the name of the exception's class."""
    said = error.orig if isinstance(error, DBAPIError) else error
    state = str(getattr(said, "sqlstate", None) or "")
    lines = str(said).strip().splitlines()
    if not lines or not isinstance(said, (psycopg.Error, OSError, PoolTimeout, Sayable)):
        return type(said).__name__
    if state[:2] in QUOTING:
        return f"{type(said).__name__} ({state})"
    return lines[0]
