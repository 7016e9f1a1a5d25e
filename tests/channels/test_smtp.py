"""The smtp channel against real servers on loopback: conformance, failure at every stage of the dialogue, TLS, the pool."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import ClassVar

import pytest

from channels.smtp import Settings, Smtp
from engine.delivery.channel import ChannelError, Content, Outgoing, Receipt, Result, load_channel
from engine.delivery.testing import ANSWERS, Behaviour, ChannelCases, Stage
from tests.channels.http_sink import free_port
from tests.channels.smtp_sink import ABORT, HANG, Post, certificate, post, script

PASSWORD = "pass-9c1"
REPLIES: dict[str, dict[str, str]] = {
    "refuses": {"RCPT": "550 5.7.1 we don't want this"},
    "busy": {"MAIL": "451 4.7.1 greylisted"},
    "breaks_off": {"DATA": ABORT},
    "hangs": {"DATA": HANG},
    "nonsense": {"DATA": "what?"},
    "quotes": {"DATA": f"554 {PASSWORD} is a bad password"},
}
SILENT, PATIENT = 1.0, 50.0
"""Seconds before the channel gives up: where the server stays silent, and where it answers, however slow the machine is."""


class TestSmtp(ChannelCases):
    """Every conformance case that SMTP is capable of: it knows no Retry-After, a server's own error is a 4xx, and to take a
    message it says a code and no more."""

    answers: ClassVar = {b: r for b, r in ANSWERS.items() if b not in ("fails", "busy_for", "garbles")}
    secrets = (PASSWORD,)

    @asynccontextmanager
    async def stage(self, behaviour: Behaviour) -> AsyncIterator[Stage]:
        """aiosmtpd that offers AUTH; the password is sent only where TLS is, so here it is only held."""
        async with post(REPLIES.get(behaviour)) as told:
            port = free_port() if behaviour == "unreachable" else told.port
            timeout = SILENT if behaviour == "hangs" else PATIENT
            settings = {"use": "channels.smtp", "host": "127.0.0.1", "port": port, "password": PASSWORD, "timeout": timeout}
            channel = load_channel("email", settings)
            yield Stage(channel, settings, lambda: told.arrived)
            await channel.close()


def message(**changes: object) -> Outgoing:
    """A message that is accepted."""
    return TestSmtp().message(**changes)


def smtp(port: int, **settings: object) -> Smtp:
    """The channel before a server on `port`."""
    return Smtp(Settings.model_validate({"host": "127.0.0.1", "port": port, "timeout": PATIENT, **settings}))


async def sent(told: Post, channel: Smtp, **changes: object) -> EmailMessage:
    """The message as the server got it, parsed."""
    receipt = await channel.send(message(**changes))
    assert receipt.result == Result.ACCEPTED, receipt
    parsed = email.message_from_bytes(told.arrived[-1], policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


@pytest.mark.parametrize(
    ("stage", "reply", "expected", "suppress"),
    [
        ("EHLO", "421 4.3.2 shutting down", Result.LATER, None),
        ("MAIL", "421 4.3.2 shutting down", Result.LATER, None),
        ("MAIL", "452 4.3.1 disk full", Result.LATER, None),
        ("MAIL", "552 5.3.4 too big", Result.REFUSED, None),
        ("MAIL", ABORT, Result.LATER, None),
        ("MAIL", HANG, Result.LATER, None),
        ("RCPT", "450 4.2.1 mailbox busy", Result.LATER, None),
        ("RCPT", "421 4.7.0 try again", Result.LATER, None),
        ("RCPT", "550 5.1.1 no such user", Result.REFUSED, "hard_bounce"),
        ("RCPT", "556 5.1.10 takes no mail", Result.REFUSED, "hard_bounce"),
        ("RCPT", "550 5.1.12 something else", Result.REFUSED, None),
        ("RCPT", "552 5.2.2 mailbox full", Result.REFUSED, None),
        ("RCPT", ABORT, Result.LATER, None),
        ("RCPT", HANG, Result.LATER, None),
        ("DATA", "451 4.3.0 try again", Result.LATER, None),
        ("DATA", "421 4.3.2 shutting down", Result.LATER, None),
        ("DATA", "554 5.7.1 spam", Result.REFUSED, None),
        ("DATA", "550 5.1.1 no such user", Result.REFUSED, None),
        ("DATA", "299 odd", Result.ACCEPTED, None),
        ("DATA", "354 odd", Result.UNKNOWN, None),
        ("DATA", ABORT, Result.UNKNOWN, None),
        ("DATA", HANG, Result.UNKNOWN, None),
    ],
)
async def test_stages(stage: str, reply: str, expected: Result, suppress: str | None) -> None:
    """A failure at each stage is read as what it means for the message; before the dot nothing was sent."""
    async with post({stage: reply}) as told:
        channel = smtp(told.port, timeout=SILENT if reply == HANG else PATIENT)
        receipt = await channel.send(message())
        assert (receipt.result, receipt.suppress) == (expected, suppress), receipt
        await channel.close()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"greeting": b"554 go away\r\n"}, Result.LATER),
        ({"greeting": b"421 too many\r\n"}, Result.LATER),
        ({"greeting": b"\x00\xfe nonsense\r\n"}, Result.LATER),
        ({"greeting": b""}, Result.LATER),
        ({"greeting": None}, Result.LATER),
        ({"ehlo": None}, Result.LATER),
        ({"mail": b"hm\r\n"}, Result.LATER),
        ({"rcpt": b"999 odd\r\n"}, Result.LATER),
        ({"data": None}, Result.LATER),
        ({"data": b""}, Result.LATER),
        ({"data": b"250 not what was asked\r\n"}, Result.LATER),
        ({"data": b"554 no valid recipients\r\n"}, Result.REFUSED),
        ({"data": b"451 later\r\n"}, Result.LATER),
        ({"dot": b""}, Result.UNKNOWN),
        ({"dot": None}, Result.UNKNOWN),
        ({"dot": b"25"}, Result.UNKNOWN),
        ({"dot": b"250-" + b"x" * 40_000}, Result.UNKNOWN),
        ({"dot": b"250 queued as \xff\xfe\r\n"}, Result.ACCEPTED),
    ],
)
async def test_scripts(changes: dict[str, bytes | None], expected: Result) -> None:
    """Silence, a cut and nonsense at any point: LATER before the dot, UNKNOWN after it, never an exception."""
    async with script(**changes) as told:
        unfinished = any(said is not None and not said.endswith(b"\n") for said in changes.values())
        channel = smtp(told.port, timeout=SILENT if unfinished else PATIENT)
        receipt = await channel.send(message())
        assert receipt.result == expected, receipt
        await channel.close()


async def test_cut_in_the_body() -> None:
    """A connection cut in the middle of a large body delivered nothing: the dot is written last."""
    async with script(body=None) as told:
        channel = smtp(told.port)
        receipt = await channel.send(message(content=Content({}, text="line\n" * 1_500_000)))
        assert receipt.result == Result.LATER, receipt
        assert b"." not in told.heard
        await channel.close()


async def test_dots_and_line_ends() -> None:
    """Lines that begin with a dot, bare line ends and long lines arrive as they were written."""
    text = "one\n.\n..two\n.three\n" + "x" * 5000 + "\n"
    async with post() as told:
        channel = smtp(told.port)
        parsed = await sent(told, channel, content=Content({"subject": "s"}, text=text))
        assert parsed.get_content().replace("\r\n", "\n") == text
        assert max(len(line) for line in told.arrived[0].split(b"\r\n")) <= 998
        await channel.close()


async def test_headers() -> None:
    """Sender, Reply-To, Subject, Message-ID and one-click unsubscribe (RFC 8058) are as policy and the message say."""
    url = "https://m.skin.example/u/" + "a" * 200 + "?x=1,2"
    async with post() as told:
        channel = smtp(told.port)
        parsed = await sent(
            told, channel, unsubscribe_url=url, content=Content({"subject": "Für " * 40}, text="t", html="<p>ü</p>")
        )
        again = await sent(told, channel)
        other = await sent(told, channel, key="e1/how_to_use/1/0", unsubscribe_url=None)
        await channel.close()
    assert (parsed["From"], parsed["Reply-To"]) == ("Skin Co <care@skin.example>", "help@skin.example")
    assert parsed["Subject"] == ("Für " * 40).strip()
    assert f"List-Unsubscribe: <{url.replace(',', '%2C')}>\r\n".encode() in told.arrived[0]
    assert parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert parsed["List-Id"] == "<product-education.skin.example>"
    assert [p.get_content_type() for p in parsed.iter_parts()] == ["text/plain", "text/html"]
    assert parsed["Message-ID"] == again["Message-ID"]
    assert parsed["Message-ID"] != other["Message-ID"]
    assert "List-Unsubscribe" not in other
    assert "List-Id" not in other


async def test_addresses() -> None:
    """A domain with accents goes out in ASCII; a local part with accents needs SMTPUTF8, and is refused without it."""
    async with post(enable_SMTPUTF8=True) as modern, post() as plain:
        to_modern, to_plain = smtp(modern.port), smtp(plain.port)
        await sent(modern, to_modern, to="ada@bücher.example")
        await sent(modern, to_modern, to="josé@bücher.example")
        receipt = await to_plain.send(message(to="josé@bücher.example"))
        await to_modern.close()
        await to_plain.close()
    assert modern.tos == ["ada@xn--bcher-kva.example", "josé@xn--bcher-kva.example"]
    assert (receipt.result, receipt.suppress, plain.arrived) == (Result.REFUSED, None, [])


@pytest.mark.parametrize(
    "to", ["", "ada", "ada@", "@x.example", "a b@x.example", "a@x.example,b@x.example", "a@x\r\nDATA", "a@" + "x" * 300]
)
async def test_bad_addresses(to: str) -> None:
    """What is no address is refused for ever and not used again, without a connection."""
    channel = smtp(free_port())
    receipt = await channel.send(message(to=to))
    assert (receipt.result, receipt.suppress) == (Result.REFUSED, "invalid_address")


async def test_what_a_person_must_mend() -> None:
    """A sender that is no address and a template without a body are exceptions that say so: the message is parked."""
    channel = smtp(free_port())
    with pytest.raises(ValueError, match=r"policy\.yaml.*from"):
        await channel.send(message(sender={}))
    with pytest.raises(ValueError, match="neither text nor HTML"):
        await channel.send(message(content=Content({"subject": "s"})))


async def test_pool() -> None:
    """A batch takes at most `concurrency` connections, which later messages use again."""
    async with post() as told:
        channel = smtp(told.port, concurrency=3)
        answers = await channel.send_many([message(key=f"e{n}/s/0/0") for n in range(40)])
        await channel.send_many([message(key=f"f{n}/s/0/0") for n in range(10)])
        await channel.close()
    assert {a.result for a in answers if isinstance(a, Receipt)} == {Result.ACCEPTED}
    assert (len(told.arrived), told.sessions) == (50, 3)


async def test_a_refusal_keeps_the_connection() -> None:
    """After a refused recipient the envelope is reset, and the next message goes over the same connection."""
    async with post({"RCPT": "550 no"}) as told:
        channel = smtp(told.port)
        await channel.send(message())
        told.replies = {}
        assert (await channel.send(message())).result == Result.ACCEPTED
        assert told.sessions == 1
        await channel.close()


async def test_an_idle_connection_that_died() -> None:
    """A connection that the server closed while idle costs nothing: the message goes over a new one."""
    async with post() as told:
        channel = smtp(told.port)
        await channel.send(message())
        told.replies = {"MAIL": ABORT}
        broken = asyncio.ensure_future(channel.send(message()))
        await asyncio.sleep(0.05)
        told.replies = {}
        assert (await broken).result in (Result.ACCEPTED, Result.LATER)
        assert (await channel.send(message())).result == Result.ACCEPTED
        await channel.close()
    async with post() as told:
        channel = smtp(told.port)
        await channel.send(message())
        told.hang_up()
        assert (await channel.send(message())).result == Result.ACCEPTED
        assert told.sessions == 2
        await channel.close()


async def test_cancelled() -> None:
    """A send that is cancelled in the middle of its dialogue leaves no half-used connection behind."""
    async with post({"RCPT": HANG}) as told:
        channel = smtp(told.port, concurrency=1)
        waiting = asyncio.ensure_future(channel.send(message()))
        while not told.options:
            await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        told.replies = {}
        assert (await channel.send(message())).result == Result.ACCEPTED
        assert told.sessions == 2
        await channel.close()


@pytest.mark.parametrize("implicit", [False, True])
async def test_tls(tmp_path: Path, implicit: bool) -> None:
    """STARTTLS and TLS from the first byte work with a certificate that is trusted, and carry the password."""
    context, cert = certificate(tmp_path)
    async with post(tls=context, implicit=implicit) as told:
        tls = "tls" if implicit else "starttls"
        channel = smtp(told.port, tls=tls, ca_file=cert, username="ada", password=PASSWORD)
        assert (await channel.send(message())).result == Result.ACCEPTED
        assert told.logins == [("ada", PASSWORD)]
        await channel.close()


async def test_tls_that_cannot_be_trusted(tmp_path: Path) -> None:
    """An unknown certificate, one for another host, and a server without STARTTLS get neither password nor message: LATER."""
    context, _ = certificate(tmp_path)
    elsewhere, cert = certificate(tmp_path, "127.0.0.2")
    async with post(tls=context) as unknown, post(tls=elsewhere) as other, post() as none:
        for told, ca in ((unknown, None), (other, cert), (none, cert)):
            channel = smtp(told.port, tls="starttls", ca_file=ca, username="ada", password=PASSWORD)
            receipt = await channel.send(message())
            assert receipt.result == Result.LATER, receipt
            assert (told.logins, told.arrived) == ([], [])
            await channel.close()


async def test_wrong_password(tmp_path: Path) -> None:
    """A refused login concerns the connection: the message waits until it is mended, and the words say what to mend."""
    context, cert = certificate(tmp_path)
    async with post(tls=context) as told:
        channel = smtp(told.port, tls="starttls", ca_file=cert, username="ada", password="wrong-3b")
        receipt = await channel.send(message())
        assert receipt.result == Result.LATER
        assert "535" in receipt.words
        assert "wrong-3b" not in receipt.words
        await channel.close()


def test_no_password_in_the_clear() -> None:
    """A password without TLS to another machine is refused when the settings are read; TLS is the default there."""
    with pytest.raises(ChannelError, match="in the clear"):
        load_channel("email", {"use": "channels.smtp", "host": "mx.example", "username": "ada", "tls": "none"})
    assert [Settings(host=h).security for h in ("mx.example", "127.0.0.1", "localhost")] == ["starttls", "none", "none"]
