"""What adapters of texts, pushes and chats read from a rendered message: its text, its title, its JSON, the number it goes to."""

from __future__ import annotations

import re

from engine.core.wire import Json
from engine.delivery.channel import Outgoing, Receipt, Result, clean_line, clean_text


def text_of(message: Outgoing) -> str:
    """The message's text. Raises ValueError where its template has none: a person must mend that."""
    if not message.content.text:
        raise ValueError(f"the template {message.template} has no text: give it a .txt file")
    return clean_text(message.content.text)


def title_of(message: Outgoing) -> str:
    """The message's `title`, else its `subject`, on one line; "" where it has neither."""
    return clean_line(message.content.fields.get("title") or message.content.fields.get("subject") or "")


def extras(message: Outgoing) -> dict[str, Json]:
    """The object that the template's .json gives, {} without one: what the provider offers beyond text. Raises ValueError."""
    found = message.content.json
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"the template {message.template}: its .json must give an object")
    return found


def phone_number(address: str) -> str | None:
    """`address` as E.164 ("+393331234567"), without the blanks, brackets, dots and hyphens that people write; None where it is
    no international number."""
    plain = re.sub(r"[ ().\u2010-\u2013-]", "", address.strip(" "))
    return plain if re.fullmatch(r"\+[1-9][0-9]{6,14}", plain) else None


def number_of(message: Outgoing) -> str | Receipt:
    """The number that a text goes to, as E.164; where it is none, the message's refusal."""
    return phone_number(message.to) or unusable("the address is no international phone number")


def unusable(what: str) -> Receipt:
    """The refusal of an address that can't be one: `what` says why, and the address isn't used again."""
    return Receipt(Result.REFUSED, words=f"not sent: {what}", suppress="invalid_address")
