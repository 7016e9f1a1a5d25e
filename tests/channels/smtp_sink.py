"""SMTP servers on loopback: aiosmtpd with a handler that can fail at any stage, and one that speaks from a script. Tests only."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

logging.getLogger("mail.log").disabled = True  # the server logs every line it hears, and tests look for secrets in our logs

ABORT = "abort"
"""In place of a reply: the connection is cut."""

HANG = "hang"
"""In place of a reply: silence."""


@dataclass
class Post:
    """What a server did. `replies`: stage ("MAIL", "RCPT", "DATA", "RSET") → what it answers instead of accepting.

    `arrived`: raw messages. `froms`, `tos`: envelopes. `sessions`: connections greeted with EHLO. `logins`: (user, password)."""

    replies: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    arrived: list[bytes] = field(default_factory=list)
    froms: list[str] = field(default_factory=list)
    tos: list[str] = field(default_factory=list)
    options: list[list[str]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    sessions: int = 0
    servers: list[SMTP] = field(default_factory=list)

    def hang_up(self) -> None:
        """Close every connection."""
        for server in self.servers:
            if server.transport is not None:
                server.transport.abort()

    async def _say(self, server: Any, stage: str) -> str | None:
        reply = self.replies.get(stage)
        if reply == ABORT:
            server.transport.abort()
            await asyncio.sleep(3600)
        if reply == HANG:
            await asyncio.sleep(3600)
        return reply

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]) -> list[str]:
        """Count the session."""
        self.sessions += 1
        session.host_name = hostname
        reply = await self._say(server, "EHLO")
        return [reply] if reply else responses

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        """Take the sender."""
        reply = await self._say(server, "MAIL")
        if reply:
            return reply
        envelope.mail_from = address
        self.options.append(options)
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        """Take the recipient."""
        reply = await self._say(server, "RCPT")
        if reply:
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Take the message, then say what is to be said after the dot."""
        self.arrived.append(envelope.original_content)
        self.froms.append(envelope.mail_from)
        self.tos.extend(envelope.rcpt_tos)
        return await self._say(server, "DATA") or "250 OK"

    async def handle_RSET(self, server: Any, session: Any, envelope: Any) -> str:
        """Forget the envelope."""
        return await self._say(server, "RSET") or "250 OK"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        """One user, one password."""
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=self.logins[-1] == ("ada", "pass-9c1"), handled=False)


@asynccontextmanager
async def post(
    replies: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    implicit: bool = False,
    port: int = 0,
    **options: Any,
) -> AsyncIterator[Post]:
    """aiosmtpd, on a free port unless one is given. `tls`: offers STARTTLS, or TLS from the first byte where `implicit`."""
    told = Post(replies or {})
    loop = asyncio.get_running_loop()

    def session() -> SMTP:
        made = SMTP(
            told,
            hostname="mx.example",
            tls_context=None if implicit else tls,
            authenticator=told.authenticate,
            auth_require_tls=not implicit,
            loop=loop,
            **options,
        )
        told.servers.append(made)
        return made

    server = await loop.create_server(session, "127.0.0.1", port, ssl=tls if implicit else None)
    told.port = server.sockets[0].getsockname()[1]
    try:
        yield told
    finally:
        server.close()
        told.hang_up()
        await asyncio.sleep(0.01)


@dataclass
class Script:
    """A server that speaks from a script: `says` maps a command to the bytes it answers, "" is the greeting, "." the dot.

    None: cut the connection. b"": say nothing. `heard`: the lines that came."""

    says: Mapping[str, bytes | None]
    port: int = 0
    heard: list[bytes] = field(default_factory=list)


DIALOGUE: Mapping[str, bytes | None] = {
    "": b"220 mx\r\n",
    "EHLO": b"250 mx\r\n",
    "MAIL": b"250 ok\r\n",
    "RCPT": b"250 ok\r\n",
    "DATA": b"354 go\r\n",
    ".": b"250 ok\r\n",
    "RSET": b"250 ok\r\n",
    "QUIT": b"221 bye\r\n",
}
"""A dialogue that goes well."""


@asynccontextmanager
async def script(**changes: bytes | None) -> AsyncIterator[Script]:
    """A server that says DIALOGUE with `changes`: `greeting`, `dot`, or a command's name in lower case."""
    names = {"greeting": "", "dot": "."}
    told = Script({**DIALOGUE, **{names.get(k, k.upper()): v for k, v in changes.items()}})
    tasks: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        in_data, word = False, ""
        try:
            while True:
                if not in_data or word == ".":
                    said = told.says[word]
                    if said is None:
                        writer.transport.abort()
                        return
                    writer.write(said)
                    in_data = word == "DATA" and said.startswith(b"354")
                    if in_data and "BODY" in told.says:
                        await asyncio.sleep(0.05)
                        writer.transport.abort()
                        return
                line = (await reader.readline()).rstrip(b"\r\n")
                if not line and reader.at_eof():
                    return
                told.heard.append(line)
                word = line.decode("latin-1") if in_data else line.split(b" ")[0].decode("latin-1").upper()
        except (ConnectionError, asyncio.CancelledError):  # the end of the connection or of the test
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)  # so that a large body can be cut in its middle
    told.port = server.sockets[0].getsockname()[1]
    try:
        yield told
    finally:
        server.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(t for t in tasks if t is not None), return_exceptions=True)


def certificate(folder: Path, name: str = "127.0.0.1") -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate signed by itself for `name` (an address), and that certificate's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, private)
    return context, cert
