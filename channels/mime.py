"""One e-mail from one message: the headers and parts that `smtp` sends and `file` keeps. No adapter, and no I/O.

Every value from a template, a profile or policy goes through here before it meets a header; keep it that way.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode, encodebytes
from binascii import b2a_qp
from collections.abc import Mapping
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.utils import format_datetime, parseaddr
from functools import lru_cache
from urllib.parse import quote

import idna

from engine.delivery.channel import Outgoing, Receipt, Result, clean_line, clean_text

MAX_ADDRESS = 254
"""Octets of a mailbox, RFC 5321 section 4.5.3.1."""

MAX_LINE = 78
"""Characters of a line that is sent as it is."""


class BadAddress(ValueError):
    """Not a mailbox that mail can be sent to."""


def not_an_address(bad: BadAddress) -> Receipt:
    """The refusal of a recipient that can't be one."""
    return Receipt(Result.REFUSED, words=f"not sent: {bad}", suppress="invalid_address")


def mailbox(address: str) -> str:
    """`address` ("ada@bücher.example") as SMTP takes it, its domain in ASCII (IDNA 2008). Raises BadAddress.

    The local part stays as it is; where it isn't ASCII the server must offer SMTPUTF8."""
    local, at, domain = address.strip().rpartition("@")
    if not at or not local or not domain or address.strip() != clean_line(address) or " " in address.strip():
        raise BadAddress("not an e-mail address")
    try:
        ascii_domain = idna.encode(domain, uts46=True).decode() if not domain.isascii() else domain.lower()
        spec = Address(username=local, domain=ascii_domain).addr_spec if local.isascii() else f"{local}@{ascii_domain}"
    except (idna.IDNAError, HeaderParseError, ValueError, IndexError) as wrong:
        raise BadAddress("not an e-mail address") from wrong
    if len(spec.encode()) > MAX_ADDRESS or any(c in spec for c in '<>",; ()') or spec.startswith(".") or ".." in spec:
        raise BadAddress("not an e-mail address that can be used")
    return spec


def sender_of(sender: Mapping[str, str], field: str = "from") -> tuple[str, str]:
    """(display name, mailbox) of policy's sender. Raises ValueError where it names none that can be used."""
    try:
        return _sender(sender.get(field, ""))
    except BadAddress as wrong:
        raise ValueError(f"policy.yaml: the sender's `{field}` of this channel is not an e-mail address") from wrong


@lru_cache(maxsize=256)
def _sender(written: str) -> tuple[str, str]:
    name, address = parseaddr(clean_line(written))
    return name, mailbox(address)


def message_id(message: Outgoing, domain: str) -> str:
    """`<…@domain>`, the same whenever the same handover is tried again."""
    return f"<{hashlib.sha256(message.key.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}@{domain}>"


def _encoded(line: str, room: int) -> str:
    """`line` as it is where it is ASCII and has at most `room` characters, else as folded encoded words (RFC 2047, 75 each)."""
    if line.isascii() and len(line) <= room and "=?" not in line:
        return line
    words, chunk = [], b""
    for character in line:
        if len(chunk) + len(character.encode()) > 42:
            words.append(chunk)
            chunk = b""
        chunk += character.encode()
    return "\r\n ".join(f"=?utf-8?b?{b64encode(word).decode()}?=" for word in [*words, chunk])


@lru_cache(maxsize=256)
def _person(name: str, address: str) -> str:
    """A display name and a mailbox as they stand in a header."""
    if name.isascii() and "=?" not in name:
        return str(Address(display_name=name, addr_spec=address)) if address.isascii() else f"{quoted(name)} <{address}>".strip()
    return f"{_encoded(name, 0)} <{address}>"


def quoted(name: str) -> str:
    """An ASCII display name as a quoted string (RFC 5322 section 3.2.4), "" for none."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if name else ""


def compose(message: Outgoing, now: datetime) -> bytes:
    """The e-mail: From, To, Reply-To, Subject, Date, Message-ID, List-Unsubscribe (RFC 8058), text and HTML parts; all line ends
    are CRLF. Written by hand: `email.message` takes some 5 ms for what is 0.1 ms here.

    Raises BadAddress for the recipient, ValueError for a sender or a template that can't be used. `now`: aware, for Date."""
    name, address = sender_of(message.sender)
    headers = {"From": _person(name, address), "To": mailbox(message.to)}
    if message.sender.get("reply_to"):
        headers["Reply-To"] = _person(*sender_of(message.sender, "reply_to"))
    headers["Subject"] = _encoded(clean_line(message.content.fields.get("subject", "")), 76 - len("Subject"))
    headers["Date"] = format_datetime(now)
    headers["Message-ID"] = message_id(message, address.rpartition("@")[2])
    headers |= list_headers(message)
    headers["MIME-Version"] = "1.0"
    return _lines(headers).encode() + _body(message)


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def list_headers(message: Outgoing) -> dict[str, str]:
    """The headers by which a mail program offers to unsubscribe (RFC 8058) and tells one kind of mail from another (RFC 2919: the
    topic, under the sender's domain), ASCII; none where the message has no such link."""
    if not message.unsubscribe_url:
        return {}
    link = quote(clean_line(message.unsubscribe_url), safe=_URL_SAFE)
    kind = re.sub(r"[^a-z0-9]+", "-", (message.topic or "").lower()).strip("-")[:60] or "messages"
    domain = sender_of(message.sender)[1].rpartition("@")[2]
    return {
        "List-Unsubscribe": f"<{link}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "List-Id": f"<{kind}.{domain}>",
    }


_URL_SAFE = ":/?#[]@!$&'()*+;=%-._~"
"""What a URL may hold as it is (RFC 3986), but for the comma, which separates the links of the header."""


def _body(message: Outgoing) -> bytes:
    """What stands after the headers of the mail, its own Content-Type included."""
    content = message.content
    parts = [(kind, clean_text(body)) for kind, body in (("plain", content.text), ("html", content.html)) if body is not None]
    if not parts:
        raise ValueError(f"template {message.template} gives neither text nor HTML")
    if len(parts) == 1:
        return _part(*parts[0])
    boundary = "=_" + hashlib.sha256(message.key.encode("utf-8", "surrogatepass")).hexdigest()[:40]
    while any(boundary in body for _, body in parts):
        boundary = "=_" + hashlib.sha256(boundary.encode()).hexdigest()[:40]
    line = f"--{boundary}\r\n".encode()
    head = f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n'.encode()
    # The line end before a boundary is the boundary's (RFC 2046 section 5.1.1): each part keeps its own beside it.
    return head + line + (b"\r\n" + line).join(_part(*part) for part in parts) + f"\r\n--{boundary}--\r\n".encode()


def _part(kind: str, body: str) -> bytes:
    """A body with its headers, in lines of at most 78 characters (RFC 2045): as it is, else in whichever of quoted-printable and
    base64 is shorter, about."""
    body = re.sub(r"\r\n|\r|\n", "\r\n", body)
    body = body if body.endswith("\r\n") else body + "\r\n"
    raw = body.encode()
    if body.isascii() and max(map(len, raw.split(b"\r\n"))) <= MAX_LINE:
        how = "7bit"
    elif len(raw) - len(body.encode("ascii", "ignore")) < len(raw) / 6:
        how, raw = "quoted-printable", b2a_qp(raw)
    else:
        how, raw = "base64", encodebytes(raw).replace(b"\n", b"\r\n")
    return f'Content-Type: text/{kind}; charset="utf-8"\r\nContent-Transfer-Encoding: {how}\r\n\r\n'.encode() + raw
