"""E-mail over SMTP (RFC 5321): STARTTLS or TLS, AUTH, a pool of connections that are used again.

SMTP has no idempotency: a server that took a message and whose answer got lost can't be asked. The Message-ID is the same on
every try, so that some mailboxes drop the repeat, but what was in flight during a crash may arrive twice under `on_unknown:
retry`, and not at all under `assume_sent`. Until the final dot of DATA is written nothing was sent, and all that fails is LATER.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

import aiosmtplib
from aiosmtplib.protocol import PERIOD_REGEX
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from channels.dkim import Dkim, Signer
from channels.mime import BadAddress, compose, mailbox, message_id, not_an_address, sender_of
from engine.delivery.channel import Adapter, Capabilities, Outgoing, Receipt, Result, too_big, without

HARD_BOUNCE = re.compile(r"\b5\.1\.(1|10)\b")
"""RFC 3463 and RFC 7505: no such mailbox, and a domain that takes no mail."""

GONE = (
    OSError,
    ssl.SSLError,
    aiosmtplib.SMTPServerDisconnected,
    aiosmtplib.SMTPConnectError,
    aiosmtplib.SMTPTimeoutError,
    TimeoutError,
)
"""The connection is of no more use. In which stage that happened decides what it means."""


class Settings(BaseModel):
    """`tls`: "starttls" (demanded, not optional), "tls" from the first byte, "none"; by default none on loopback, else starttls.

    `timeout`: seconds for one message, connecting included. `concurrency`: connections. `ca_file`: PEM of further authorities
    that may sign the server's certificate. `hello`: the name given in EHLO. `dkim`: signs every message."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    host: str
    port: int | None = Field(default=None, ge=1, le=65535)
    tls: Literal["starttls", "tls", "none"] | None = None
    username: str | None = None
    password: SecretStr = SecretStr("")
    ca_file: Path | None = None
    timeout: float = Field(default=30.0, gt=0, le=50)
    concurrency: int = Field(default=10, ge=1, le=200)
    max_bytes: int = Field(default=10_000_000, ge=1_000)
    on_unknown: Literal["assume_sent", "retry"] = "assume_sent"
    hello: str | None = None
    dkim: Dkim | None = None

    @property
    def local(self) -> bool:
        """Whether the server is on loopback."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def security(self) -> Literal["starttls", "tls", "none"]:
        """`tls` with its default."""
        return self.tls or ("none" if self.local else "starttls")

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> Settings:
        if self.username is not None and self.security == "none" and not self.local:
            raise ValueError("`username` with `tls: none` would send the password in the clear; use starttls or tls")
        return self


class Smtp(Adapter):
    """One SMTP server. `clock` gives the aware time for the Date header."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.settings = settings
        self.capabilities = Capabilities(
            address="email", concurrency=settings.concurrency, on_unknown=settings.on_unknown, local=settings.local
        )
        self.server = (settings.host, settings.port or {"tls": 465, "starttls": 587, "none": 25}[settings.security])
        self._clock = clock
        self._idle: list[aiosmtplib.SMTP] = []
        self._free = asyncio.Semaphore(settings.concurrency)
        self._tls: ssl.SSLContext | None = None
        self._signer = Signer(settings.dkim) if settings.dkim is not None else None
        self.signing = None if self._signer is None else self._signer.signing

    async def send(self, message: Outgoing) -> Receipt:
        """One dialogue. Raises ValueError for a sender or a template that a person must mend."""
        _, sender = sender_of(message.sender)
        try:
            to = mailbox(message.to)
            now = self._clock()
            raw = compose(message, now)
        except BadAddress as bad:
            return not_an_address(bad)
        if self._signer is not None:
            raw = self._signer.sign(raw, sender.rpartition("@")[2], int(now.timestamp())) + raw
        body = PERIOD_REGEX.sub(b"..", raw)
        if len(body) > self.settings.max_bytes:
            return too_big(len(body), self.settings.max_bytes)
        async with self._free:
            dialogue = Dialogue(sender, to, body)
            while True:
                receipt = await self._attempt(dialogue)
                if receipt is not None:
                    break
        words = without(receipt.words, [self.settings.password.get_secret_value()])
        return Receipt(
            receipt.result, message_id(message, sender.rpartition("@")[2]), words, receipt.retry_after, receipt.suppress
        )

    async def _attempt(self, dialogue: Dialogue) -> Receipt | None:
        """What became of it on one connection; None where an idle connection turned out to be dead and another must be tried."""
        reused = bool(self._idle)
        client = self._idle.pop() if reused else self._client()
        dialogue.stage = "connect"
        try:
            async with asyncio.timeout(self.settings.timeout):
                if not reused:
                    await client.connect()
                receipt = await dialogue.run(client)
                await self._keep(client, clean=receipt.result is Result.ACCEPTED)
                return receipt
        except GONE as lost:
            client.close()
            if reused and dialogue.stage == "MAIL":
                return None
            return dialogue.lost(lost)
        except aiosmtplib.SMTPException as broken:
            client.close()
            return dialogue.lost(broken)
        except BaseException:
            client.close()
            raise

    async def _keep(self, client: aiosmtplib.SMTP, clean: bool) -> None:
        """Back into the pool, with an empty envelope."""
        if client.is_connected:
            with contextlib.suppress(aiosmtplib.SMTPException, *GONE):
                if not clean:
                    await client.rset()
                self._idle.append(client)
                return
        client.close()

    def _client(self) -> aiosmtplib.SMTP:
        settings = self.settings
        if self._tls is None and settings.security != "none":
            self._tls = ssl.create_default_context()
            if settings.ca_file is not None:
                self._tls.load_verify_locations(cafile=settings.ca_file)
        return aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username,
            password=settings.password.get_secret_value() if settings.username is not None else None,
            use_tls=settings.security == "tls",
            start_tls=settings.security == "starttls",
            tls_context=self._tls,
            timeout=settings.timeout,
            local_hostname=settings.hello or ("localhost" if settings.local else None),
        )

    async def close(self) -> None:
        """Say goodbye on every idle connection."""
        idle, self._idle = self._idle, []
        for client in idle:
            with contextlib.suppress(aiosmtplib.SMTPException, *GONE):
                async with asyncio.timeout(1):
                    await client.quit()
            client.close()


class Dialogue:
    """MAIL, RCPT, DATA for one message. `stage`: connect, MAIL, RCPT, DATA, body, dot; from `dot` on it may have been sent."""

    def __init__(self, sender: str, to: str, body: bytes) -> None:
        self.sender, self.to, self.body = sender, to, body
        self.stage = "connect"

    async def run(self, client: aiosmtplib.SMTP) -> Receipt:
        """The server's answer. Raises what aiosmtplib raises when the connection is lost or the server talks nonsense."""
        self.stage = "MAIL"
        encoding = "ascii" if (self.sender + self.to).isascii() else "utf-8"
        try:
            options = await self._options(client, encoding)
            if options is None:
                words = "not sent: the server doesn't offer SMTPUTF8, which this address needs"
                return Receipt(Result.REFUSED, words=words)
            await client.mail(self.sender, options=options, encoding=encoding)
            self.stage = "RCPT"
            await client.rcpt(self.to, encoding=encoding)
            self.stage = "DATA"
            answer = await client.execute_command(b"DATA")
            if answer.code == 354:
                answer = await self._body(client)
        except aiosmtplib.SMTPResponseException as refused:
            if refused.code < 400:
                raise
            answer = aiosmtplib.SMTPResponse(refused.code, refused.message)
        return self._read(answer)

    async def _options(self, client: aiosmtplib.SMTP, encoding: str) -> list[str] | None:
        """ESMTP parameters of MAIL, or None where the server can't take the addresses. A first MAIL needs EHLO."""
        if client.is_ehlo_or_helo_needed:
            await client.ehlo()
        size = [f"SIZE={len(self.body)}"] if client.supports_extension("size") else []
        if encoding == "ascii":
            return size
        return [*size, "SMTPUTF8", "BODY=8BITMIME"] if client.supports_extension("smtputf8") else None

    async def _body(self, client: aiosmtplib.SMTP) -> aiosmtplib.SMTPResponse:
        """Write the message, then the dot, and wait. The dot is written only when all else has left this process, so that a
        connection lost before it is known to have delivered nothing."""
        protocol, transport = client.protocol, client.transport
        if protocol is None or transport is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        waiting = cast("asyncio.WriteTransport", transport)  # uvloop's transports don't inherit from asyncio's
        self.stage = "body"
        reply = asyncio.ensure_future(protocol.read_response())
        try:
            # `reply` must listen before anything is written: an answer that finds nobody listening is thrown away, and uvloop
            # reads before it runs what was scheduled. It also writes only at the end of a round, and counts nothing before.
            await asyncio.sleep(0)
            protocol.write(self.body)
            await asyncio.sleep(0)
            while waiting.get_write_buffer_size() and not reply.done():
                await asyncio.wait([reply], timeout=0.005)
            if not reply.done():
                protocol.write(b".\r\n")
                self.stage = "dot"
            return await reply
        finally:
            reply.cancel()

    def _read(self, answer: aiosmtplib.SMTPResponse) -> Receipt:
        words = f"{answer.code} {answer.message}"
        if answer.code == 421 or 400 <= answer.code < 500:
            return Receipt(Result.LATER, words=words)
        if 500 <= answer.code < 600:
            gone = self.stage == "RCPT" and HARD_BOUNCE.search(answer.message)
            return Receipt(Result.REFUSED, words=words, suppress="hard_bounce" if gone else None)
        if self.stage == "dot":
            return Receipt(Result.ACCEPTED if 200 <= answer.code < 300 else Result.UNKNOWN, words=words)
        return Receipt(Result.LATER, words=f"out of turn after {self.stage}: {words}")

    def lost(self, why: Exception) -> Receipt:
        """What it means that the dialogue broke off where it stands. Before MAIL a refusal concerns the connection (greeting,
        TLS, password), not this message: it waits until somebody mends that."""
        code = f"{why.code} " if isinstance(why, aiosmtplib.SMTPResponseException) else ""
        said = str(getattr(why, "message", "")) or str(why) or type(why).__name__
        return Receipt(Result.UNKNOWN if self.stage == "dot" else Result.LATER, words=f"at {self.stage}: {code}{said}")


def channel(config: Mapping[str, object]) -> Smtp:
    """The channel for `config`, see Settings."""
    return Smtp(Settings.model_validate(config))
