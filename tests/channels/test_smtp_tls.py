"""The smtp channel over TLS: what breaks before, in and after the handshake; a server in its own process that is killed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from channels.smtp import Settings, Smtp
from engine.delivery.channel import Result
from tests.channels.http_sink import free_port
from tests.channels.smtp_sink import ABORT, HANG, certificate, post
from tests.channels.test_smtp import PASSWORD, PATIENT, SILENT, message


def secured(port: int, cert: Path, timeout: float = PATIENT, tls: str = "starttls") -> Smtp:
    """The channel with a password."""
    who = {"username": "ada", "password": PASSWORD}
    return Smtp(
        Settings.model_validate({"host": "127.0.0.1", "port": port, "tls": tls, "ca_file": cert, "timeout": timeout, **who})
    )


@asynccontextmanager
async def before_tls(answer: bytes | None, then: bytes | None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that offers STARTTLS, says `answer` to it and goes on in the clear with `then`; None: it cuts the connection.
    Gives its port and what it heard."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx\r\n")
        while line := await reader.readline():
            heard.append(line)
            word = line.split()[0].upper() if line.split() else b""
            if word == b"EHLO":
                writer.write(b"250-mx\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS\r\n")
            elif word == b"STARTTLS":
                for said in (answer, then):
                    if said is None:
                        writer.transport.abort()
                        return
                    writer.write(said)
                heard.append(await reader.read())
            else:
                writer.write(b"250 ok\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "then"),
    [
        (b"454 4.7.0 TLS not available\r\n", b""),
        (b"502 no such command\r\n", b""),
        (None, None),
        (b"", b""),
        (b"220 go ahead\r\n", None),
        (b"220 go ahead\r\n", b""),
        (b"220 go ahead\r\n", b"\x16\x03\x01 no handshake\r\n"),
        (b"220 go ahead\r\n250 injected before the handshake\r\n", b""),
    ],
)
async def test_no_handshake(tmp_path: Path, answer: bytes | None, then: bytes | None) -> None:
    """Where TLS doesn't come about, for whatever reason, neither password nor message leaves: LATER."""
    _, cert = certificate(tmp_path)
    async with before_tls(answer, then) as (port, heard):
        channel = secured(port, cert, SILENT)
        receipt = await channel.send(message())
        await channel.close()
    assert receipt.result == Result.LATER, receipt
    said = b"".join(heard)
    assert b"AUTH" not in said
    assert b"MAIL" not in said
    assert PASSWORD not in receipt.words


async def test_stages_over_tls(tmp_path: Path) -> None:
    """Each stage of the dialogue means over TLS what it means in the clear, also where the connection breaks or goes silent."""
    context, cert = certificate(tmp_path)
    async with post(tls=context) as told:
        for stage, reply, expected in (
            ("EHLO", ABORT, Result.LATER),
            ("MAIL", ABORT, Result.LATER),
            ("RCPT", ABORT, Result.LATER),
            ("RCPT", "550 5.1.1 no such user", Result.REFUSED),
            ("RCPT", HANG, Result.LATER),
            ("DATA", "451 later", Result.LATER),
            ("DATA", "554 spam", Result.REFUSED),
            ("DATA", ABORT, Result.UNKNOWN),
            ("DATA", HANG, Result.UNKNOWN),
        ):
            told.replies = {stage: reply}
            channel = secured(told.port, cert, 3 * SILENT if reply == HANG else PATIENT)
            receipt = await channel.send(message())
            assert receipt.result == expected, (stage, reply, receipt)
            await channel.close()
        told.replies = {}
        channel = secured(told.port, cert)
        answers = await channel.send_many([message(key=f"e{n}/s/0/0") for n in range(20)])
        logins = len(told.logins)
        await channel.send(message())
        assert {getattr(a, "result", a) for a in answers} == {Result.ACCEPTED}
        assert len(told.logins) == logins
        await channel.close()


ROOT = Path(__file__).parents[2]
SERVER = """
import asyncio, ssl, sys
from pathlib import Path
from tests.channels.smtp_sink import HANG, certificate, post

async def main(folder, port, stage):
    context, _ = certificate(Path(folder))
    async with post({stage: HANG} if stage else {}, tls=context, port=int(port)) as told:
        print("ready", flush=True)
        while not told.arrived:
            await asyncio.sleep(0.01)
        print("arrived", flush=True)
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


@asynccontextmanager
async def process(folder: Path, port: int, stage: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server in a process of its own, ready; it is killed at the end."""
    pipe = asyncio.subprocess.PIPE
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(folder), str(port), stage, stdout=pipe, cwd=ROOT
    )
    try:
        assert made.stdout is not None
        assert await made.stdout.readline() == b"ready\n"
        yield made
    finally:
        if made.returncode is None:
            made.kill()
        await made.wait()


async def test_a_server_that_is_killed(tmp_path: Path) -> None:
    """Killed after the dot the outcome is unknown; while it is gone messages wait; once it is back they go."""
    port = free_port()
    async with process(tmp_path, port, "DATA") as server:
        channel = secured(port, tmp_path / "cert.pem")
        sending = asyncio.ensure_future(channel.send(message()))
        assert server.stdout is not None
        assert await server.stdout.readline() == b"arrived\n"
        server.kill()
        assert (await sending).result == Result.UNKNOWN
    assert (await channel.send(message())).result == Result.LATER
    await channel.close()
    async with process(tmp_path, port, "") as server:
        channel = secured(port, tmp_path / "cert.pem")
        assert (await channel.send(message())).result == Result.ACCEPTED
        server.kill()
        await server.wait()
        assert (await channel.send(message())).result == Result.LATER
        await channel.close()
