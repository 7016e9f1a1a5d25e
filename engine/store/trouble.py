"""What is tried again until it works is said twice: when it begins, and when it is over."""

from __future__ import annotations

import logging

from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from engine.observe.words import in_a_line


def lost(error: BaseException) -> bool:
    """Whether the database couldn't be reached, ended the connection or had none free: nothing is wrong with what was asked."""
    if isinstance(error, (PoolTimeout, InterfaceError, OSError)):
        return True
    if not isinstance(error, DBAPIError):
        return False
    # No state: the connection was never made or broke. 08 connection, 53 resources, 57 shut down or starting.
    state = str(getattr(error.orig, "sqlstate", None) or "")
    return not state or error.connection_invalidated or state[:2] in ("08", "53", "57")


class Trouble:
    """What keeps the parts of `who` from their work, by part."""

    def __init__(self, log: logging.Logger, who: str) -> None:
        self._log, self._who = log, who
        self._held: dict[object, str] = {}

    def met(self, part: object, error: BaseException) -> bool:
        """A part has failed, and tries again. Says so, unless the same already stands in some part's way; whether it did."""
        text = in_a_line(error)
        kind = "the database can't be reached" if lost(error) else text
        new = kind not in self._held.values()
        self._held[part] = kind
        if new:
            told = text if kind == text else f"{kind}: {text}"
            self._log.warning("%s; %s tries again until it works", told, self._who)
        return new

    def over(self, part: object) -> None:
        """A part works. Says so once nothing stands in any part's way."""
        if self._held.pop(part, None) is not None and not self._held:
            self._log.warning("%s works again", self._who)
