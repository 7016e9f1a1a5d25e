"""The demo's mailbox: an SMTP server on this machine that puts every letter it gets into a maildir, which mail programs read.

It only receives. aiosmtpd, which does the talking, comes with the `dev` extra.
"""

from __future__ import annotations

import mailbox
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path

from engine.app.processes import free_port

INSTALL = "pip install 'sojourn[embedded,dev]'"
FIRST_LINES = 6


class MailboxError(Exception):
    """The mailbox can't be opened; the message says what to install."""


@dataclass(frozen=True, slots=True)
class Letter:
    """What a look into one letter shows. `lines`: the first of its text; `headers`: (name, value) worth showing."""

    headers: tuple[tuple[str, str], ...]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An open mailbox: where it listens, and its maildir."""

    folder: Path
    port: int

    def count(self) -> int:
        """How many letters have arrived."""
        return sum(1 for part in ("new", "cur") for _ in (self.folder / part).iterdir())

    def last_to(self, address: str) -> Letter | None:
        """The last letter to `address`, None when there is none."""
        found = None
        for path in sorted((p for part in ("new", "cur") for p in (self.folder / part).iterdir()), key=_arrived):
            letter = BytesParser(policy=default).parsebytes(path.read_bytes())
            assert isinstance(letter, EmailMessage)
            if address in str(letter["To"]):
                found = letter
        return None if found is None else _look(found)


def _arrived(path: Path) -> float:
    return path.stat().st_mtime


def _look(letter: EmailMessage) -> Letter:
    shown = ("From", "To", "Subject", "List-Unsubscribe-Post")
    body = letter.get_body(("plain", "html"))
    text = body.get_content() if body is not None else ""
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return Letter(tuple((name, str(letter[name])) for name in shown if letter[name]), tuple(lines[:FIRST_LINES]))


@contextmanager
def open_mailbox(folder: Path) -> Iterator[Mailbox]:
    """Receive into the maildir `folder` on a free port of 127.0.0.1, in a thread, until the block ends. Raises MailboxError."""
    try:
        from aiosmtpd.controller import Controller
        from aiosmtpd.handlers import Mailbox as Handler
    except ImportError:
        raise MailboxError(f"the demo's mail server isn't installed: {INSTALL}") from None
    mailbox.Maildir(folder, create=True)
    # A pooled connection carries hundreds of letters; aiosmtpd would hang up after twenty.
    limits = {"*": 1_000_000}
    controller = Controller(
        Handler(folder),
        hostname="127.0.0.1",
        port=free_port(),
        server_hostname="localhost",
        enable_SMTPUTF8=True,
        command_call_limit=limits,
    )
    controller.start()
    try:
        yield Mailbox(folder, controller.port)
    finally:
        controller.stop()
