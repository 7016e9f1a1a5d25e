"""Signed links that need no login and never expire: an opaque token says which customer, channel and topic.

The key that signs carries an id in the token, and old keys stay readable. The token holds our own opaque customer id,
nothing personal.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import string
from collections.abc import Mapping
from dataclasses import dataclass

from engine.store import secrets
from engine.store.database import Connection

_NAME = "links"

CLICK, OPEN = "click", "open"
"""What the tokens of `clicked` and `opened` begin with."""

_DIGITS = string.digits + string.ascii_letters


class BadLink(ValueError):
    """A token that this project didn't sign."""


@dataclass(frozen=True, slots=True)
class Links:
    """`keys`: id → secret; the highest id signs. `base`: the public URL of the API, without a slash at its end."""

    keys: Mapping[int, bytes]
    base: str

    def unsubscribe(self, customer: int, channel: str, topic: str | None) -> str:
        """The one-click unsubscribe link (RFC 8058) for a customer, channel and topic (None: the whole channel)."""
        return f"{self.base}/u/{self.sign([customer, channel, topic])}"

    def confirm(self, customer: int, channel: str, topic: str | None, address: str) -> str:
        """The link by which a customer confirms what they agreed to on `channel` about `topic` (None: about anything), sent to
        `address`: it proves that who reads there agrees, so it counts only while that is the customer's address."""
        return f"{self.base}/c/{self.sign([customer, channel, topic, self._mark(max(self.keys), address)])}"

    def clicked(self, message: str, customer: int, url: str) -> str:
        """The link that notes a click on a link of a message, and leads on to `url`: nowhere else, because that is signed too."""
        return f"{self.base}/r/{self.sign([CLICK, message, customer, url])}"

    def opened(self, message: str, customer: int) -> str:
        """The picture that notes that a message was opened."""
        return f"{self.base}/o/{self.sign([OPEN, message, customer])}"

    def short(self, code: str) -> str:
        """The link of a code, which stands with its URL in the store."""
        return f"{self.base}/l/{code}"

    def code(self, message: str, url: str, length: int) -> str:
        """The code for a link of a message, `length` characters of at most 43: always the same, and another for another link. Two
        may begin alike; whoever stores them takes more of one then."""
        key = max(self.keys)
        mac = hmac.digest(self.keys[key], f"short/{message}/{url}".encode("utf-8", "replace"), hashlib.sha256)
        return "".join(_DIGITS[int.from_bytes(mac) // 62**n % 62] for n in range(length))

    def preferences(self, customer: int, channel: str, address: str) -> str:
        """The link to the page on which a customer chooses what to get, in a message on `channel` to `address`."""
        return f"{self.base}/p/{self.sign(['preferences', customer, channel, self._mark(max(self.keys), address)])}"

    def sent_to(self, mark: str, address: str) -> bool:
        """Whether a link of `confirm` or `preferences` with this mark went to `address`."""
        return any(hmac.compare_digest(self._mark(key, address), mark) for key in self.keys)

    def sign(self, body: list[int | str | None]) -> str:
        """An opaque token for `body`."""
        key = max(self.keys)
        data = base64.urlsafe_b64encode(json.dumps(body, separators=(",", ":")).encode()).rstrip(b"=")
        return f"{key}.{data.decode()}.{self._mac(key, data)}"

    def read(self, token: str) -> list[int | str | None]:
        """What was signed. Raises BadLink."""
        if not token.isascii():
            raise BadLink("this link is not one of ours")
        try:
            key, data, mac = token.split(".")
            number, raw = int(key), data.encode()
        except ValueError as wrong:
            raise BadLink("this link is not one of ours") from wrong
        if number not in self.keys or not hmac.compare_digest(self._mac(number, raw), mac):
            raise BadLink("this link is not one of ours")
        try:
            body = json.loads(base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4)))
        except (ValueError, binascii.Error) as wrong:
            raise BadLink("this link is not one of ours") from wrong
        if not isinstance(body, list):
            raise BadLink("this link is not one of ours")
        return body

    def _mark(self, key: int, address: str) -> str:
        return self._mac(key, b"\0address/" + address.encode())

    def _mac(self, key: int, data: bytes) -> str:
        return base64.urlsafe_b64encode(hmac.digest(self.keys[key], data, hashlib.sha256)[:16]).rstrip(b"=").decode()


async def load_links(c: Connection, base: str) -> Links:
    """The project's signing keys, the first made now if there is none. `base`: the public URL."""
    return Links(await secrets.made(c, _NAME), base.rstrip("/"))
