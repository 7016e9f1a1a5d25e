"""One e-mail from one message: the headers and parts that `smtp` sends and `file` keeps. No adapter, and no I/O.

Every value from a template, a profile or policy goes through here before it meets a header; keep it that way.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address, AddressHeader
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from email.utils import format_datetime, parseaddr
from urllib.parse import quote

import idna

from engine.delivery.channel import Outgoing, clean_line, clean_text

MAX_ADDRESS = 254
"""Octets of a mailbox, RFC 5321 section 4.5.3.1."""


class BadAddress(ValueError):
    """Not a mailbox that mail can be sent to."""


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
    written = clean_line(sender.get(field, ""))
    name, address = parseaddr(written)
    try:
        return name, mailbox(address)
    except BadAddress as wrong:
        raise ValueError(f"policy.yaml: the sender's `{field}` of this channel is not an e-mail address") from wrong


def message_id(message: Outgoing, domain: str) -> str:
    """`<…@domain>`, the same whenever the same handover is tried again."""
    return f"<{hashlib.sha256(message.key.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}@{domain}>"


class _Policy(EmailPolicy):
    """The standard library's SMTP policy with folding of our own where its own does harm (Python 3.11 to 3.13): it encodes a long
    link or identifier, so that no mail program finds it, and it loses or doubles spaces in a long subject with accents."""

    def fold(self, name: str, value: str) -> str:
        return self._line(name, value) or str(super().fold(name, value))

    def fold_binary(self, name: str, value: str) -> bytes:
        line = self._line(name, value)
        return line.encode() if line is not None else bytes(super().fold_binary(name, value))

    def _line(self, name: str, value: str) -> str | None:
        low = name.lower()
        if low in ("list-unsubscribe", "message-id"):
            return f"{name}: {value}\r\n"
        if low == "subject":
            return f"{name}: {_encoded(str(value), 76 - len(name))}\r\n"
        if low in ("from", "reply-to") and isinstance(value, AddressHeader):
            return f"{name}: {', '.join(_address(a) for a in value.addresses)}\r\n"
        return None


def _address(address: Address) -> str:
    if address.display_name.isascii() and "=?" not in address.display_name:
        return str(address)
    return f"{_encoded(address.display_name, 0)} <{address.addr_spec}>"


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


POLICY = _Policy(linesep=SMTP.linesep, max_line_length=78, cte_type="7bit")
POLICY_UTF8 = POLICY.clone(utf8=True)


def compose(message: Outgoing, now: datetime) -> EmailMessage:
    """The e-mail: From, To, Reply-To, Subject, Date, Message-ID, List-Unsubscribe (RFC 8058), text and HTML parts.

    Raises BadAddress for the recipient, ValueError for a sender or a template that can't be used. `now`: aware, for Date."""
    name, address = sender_of(message.sender)
    to = mailbox(message.to)
    mail = EmailMessage(policy=POLICY if to.isascii() and address.isascii() else POLICY_UTF8)
    mail["From"] = Address(display_name=name, addr_spec=address)
    mail["To"] = Address(addr_spec=to) if to.isascii() else to
    if message.sender.get("reply_to"):
        reply_name, reply_to = sender_of(message.sender, "reply_to")
        mail["Reply-To"] = Address(display_name=reply_name, addr_spec=reply_to)
    mail["Subject"] = clean_line(message.content.fields.get("subject", ""))
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = message_id(message, address.rpartition("@")[2])
    if message.unsubscribe_url:
        mail["List-Unsubscribe"] = f"<{quote(clean_line(message.unsubscribe_url), safe=_URL_SAFE)}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    _bodies(mail, message)
    return mail


_URL_SAFE = ":/?#[]@!$&'()*+;=%-._~"
"""What a URL may hold as it is (RFC 3986), but for the comma, which separates the links of the header."""


def _bodies(mail: EmailMessage, message: Outgoing) -> None:
    text, html = message.content.text, message.content.html
    if text is None and html is None:
        raise ValueError(f"template {message.template} gives neither text nor HTML")
    if text is not None:
        mail.set_content(clean_text(text))
        if html is not None:
            mail.add_alternative(clean_text(html), subtype="html")
    else:
        mail.set_content(clean_text(html or ""), subtype="html")
