"""What may name something from outside: an identifier, a message id, the key of an enrollment. No I/O."""

from __future__ import annotations

from typing import Any

NAME_LIMIT = 512
"""Bytes of an identifier, a message id and an event's name: they are indexed."""


class Unfit(Exception):
    """A value that can't name anything; the words follow on its own name, as in "key is blank". `hint`: what to do, or ""."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


def name_in(value: Any) -> str:
    """A name as JSON gives it: text, or a whole number, which becomes text; "" where there is none. Raises Unfit."""
    if value is None or value == "":
        return ""
    if isinstance(value, float):
        raise Unfit("must be text or a whole number of at most 64 bits", "send identifiers as text: numbers in JSON lose digits")
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Unfit(f"must be text, this is {kind_of(value)}")
    text = str(value)
    if not text.strip():
        raise Unfit("is blank")
    if len(text) * 4 > NAME_LIMIT and len(text.encode()) > NAME_LIMIT:
        raise Unfit(f"is longer than {NAME_LIMIT} bytes")
    return text


def kind_of(value: Any) -> str:
    """What `value` is, in JSON's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {dict: "an object", list: "a list", str: "text", int: "a number", float: "a number"}
    return names[type(value)]
