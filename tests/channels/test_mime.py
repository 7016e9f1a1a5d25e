"""The e-mail that is written by hand, read again by the standard library's parser."""

from __future__ import annotations

import email
import email.policy
import re
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import EmailMessage
from typing import cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from channels.mime import compose, sender_of
from engine.delivery.channel import Content, Outgoing, clean_line, clean_text
from engine.delivery.testing import INJECTION, ODD

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
words = st.text(max_size=120) | st.text('aé=?_ .,"\\<>()@\r\n\t€🦄', max_size=200)
bodies = st.text(max_size=400) | st.lists(st.text("ab é=.\t-🦄", max_size=300), max_size=8).map("\r\n".join)
LONG = "x" * 5_000 + "\n" + "è " * 900 + "\n.\n..\n" + "日本語" * 300


def outgoing(subject: str, name: str, text: str | None, html: str | None, **changes: object) -> Outgoing:
    plain: dict[str, object] = {
        "key": "1/hello/0/0",
        "to": "ada@example.com",
        "content": Content({"subject": subject}, text=text, html=html),
        "sender": {"from": f"{name} <care@skin.example>", "reply_to": "help@skin.example"},
        "unsubscribe_url": "https://m.skin.example/u/abc",
        **dict.fromkeys(("journey", "step", "template", "tier"), "x"),
        "customer": "1",
    }
    return Outgoing(**{**plain, **changes})  # type: ignore[arg-type]  # the caller names fields of Outgoing


def read(raw: bytes) -> EmailMessage:
    """The mail, which must be one: CRLF line ends alone, no line too long, nothing that the parser finds wrong."""
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", raw)
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    mail = cast(EmailMessage, email.message_from_bytes(raw, policy=email.policy.default))
    assert not mail.defects
    return mail


def lines(text: str) -> list[str]:
    """As a mail program sees them."""
    return re.sub(r"\r\n|\r", "\n", clean_text(text)).removesuffix("\n").split("\n")


@settings(max_examples=60, deadline=None)
@given(subject=words, text=bodies, html=st.none() | bodies)
@example(subject=INJECTION, text=ODD, html=ODD)
@example(subject="a" * 500, text=LONG, html=LONG)
@example(subject="=?utf-8?q?x?=", text="", html=None)
@example(subject="", text="ends in empty lines\r\r", html="")
@example(subject="How to use it", text="ends in a blank \n.\nFrom me\n--=_\n", html="<p>\r\rx")
def test_what_is_written_is_read(subject: str, text: str, html: str | None) -> None:
    """Subject and bodies come back as they were, whatever they hold, and make no header, part or command of their own."""
    raw = compose(outgoing(subject, "Skin Co", text, html), NOW)
    mail = read(raw)
    assert mail["Subject"] == clean_line(subject)
    assert set(mail.keys()) <= {
        "From", "To", "Reply-To", "Subject", "Date", "Message-ID", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Id",
        "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
    }  # fmt: skip
    assert max(map(len, raw.partition(b"\r\n\r\n")[2].split(b"\r\n"))) <= 78
    parts = [part for part in mail.walk() if not part.is_multipart()]
    assert [p.get_content_type() for p in parts] == ["text/plain"] + ["text/html"] * (html is not None)
    for part, body in zip(parts, (text, html), strict=False):
        assert lines(part.get_content()) == lines(body or "")


@settings(max_examples=60, deadline=None)
@given(name=st.text(max_size=60) | st.text('aé =?_.,"\\()', max_size=60))
@example(name='Skin & Co., "The" (Rome)')
@example(name="Zoë 🦄")
def test_senders(name: str) -> None:
    """A display name comes back as policy has it, whatever must be quoted or encoded in it."""
    quoted = clean_line(name).replace("\\", "\\\\").replace('"', '\\"')
    message = outgoing("Hi", f'"{quoted}"', "x", None)
    expected, address = sender_of(message.sender)
    raw = compose(message, NOW)
    mail = read(raw)
    (found,) = mail["From"].addresses
    shown = found.display_name
    if not expected.isascii():  # the newer parser puts blanks between encoded words that stand for one (RFC 2047 section 6.2)
        written = email.message_from_bytes(raw)["From"].rpartition(" <")[0]
        shown = str(make_header(decode_header(written)))
    assert (shown, found.addr_spec) == (expected, address)
    assert [a.addr_spec for a in mail["Reply-To"].addresses] == ["help@skin.example"]


@pytest.mark.parametrize("to", ["ada@example.com", "zoë@example.com", "o'neil+x@bücher.example"])
def test_recipients(to: str) -> None:
    """The mailbox of a recipient, also where only SMTPUTF8 carries it."""
    mail = read(compose(outgoing("Hi", "Skin Co", "x", "<p>x"), NOW).replace("zoë".encode(), b"zoe"))
    assert mail["Date"].datetime == NOW
    raw = compose(outgoing("Hi", "Skin Co", "x", None, to=to), NOW).decode()
    local, _, domain = to.partition("@")
    assert f"\r\nTo: {local}@{domain.encode('idna').decode()}\r\n" in raw


def test_boundary() -> None:
    """A body can't end the part that it stands in, not even one that knows how boundaries are made."""
    first = compose(outgoing("x", "Skin Co", "x", "<p>x"), NOW)
    boundary = re.search(rb'boundary="(.*?)"', first)[1].decode()  # type: ignore[index]  # or it fails
    mail = read(compose(outgoing("x", "Skin Co", f"x\n--{boundary}--\ny", "<p>x"), NOW))
    assert [lines(p.get_content()) for p in mail.iter_parts()] == [["x", f"--{boundary}--", "y"], ["<p>x"]]
