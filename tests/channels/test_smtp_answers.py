"""An SMTP server may answer before the client's loop has come round again; uvloop reads first. The answer must not be lost."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import aiosmtplib
from aiosmtplib.protocol import SMTPProtocol

from channels.smtp import Dialogue


class Prompt(asyncio.Transport):
    """A connection whose server answers the final dot within the very call that writes it."""

    def __init__(self, protocol: SMTPProtocol) -> None:
        super().__init__()
        self.protocol = protocol

    def write(self, data: Any) -> None:
        """Answer the dot at once."""
        if data == b".\r\n":
            self.protocol.data_received(b"250 2.0.0 queued\r\n")

    def is_closing(self) -> bool:
        """It stays open."""
        return False

    def get_write_buffer_size(self) -> int:
        """What was written is gone."""
        return 0


class Connected:
    """The part of an aiosmtplib client that the body of a message needs."""

    def __init__(self, protocol: SMTPProtocol, transport: Prompt) -> None:
        self.protocol, self.transport = protocol, transport


async def test_an_answer_within_the_write_is_heard() -> None:
    """The server's answer to the dot counts even when it is there before anything else has run."""
    protocol = SMTPProtocol(asyncio.get_running_loop())
    transport = Prompt(protocol)
    protocol.connection_made(transport)
    protocol.data_received(b"220 ready\r\n")
    await protocol.read_response()
    dialogue = Dialogue("a@example.com", "b@example.com", b"Subject: x\r\n\r\nhello\r\n")
    async with asyncio.timeout(5):
        answer = await dialogue._body(cast(aiosmtplib.SMTP, Connected(protocol, transport)))
    assert (250, "2.0.0 queued") == (answer.code, answer.message)
