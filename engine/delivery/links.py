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
import os
from collections.abc import Mapping
from dataclasses import dataclass

from engine.store.database import Connection, fetch, run

_NAME = "links"


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

    def sent_to(self, mark: str, address: str) -> bool:
        """Whether a link of `confirm` with this mark went to `address`."""
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
    found = await fetch(c, "select id, value from secrets where name = :name order by id", name=_NAME)
    if not found:
        await run(c, "select pg_advisory_xact_lock(:n)", n=7_235_773)
        found = await fetch(c, "select id, value from secrets where name = :name order by id", name=_NAME)
    if not found:
        await run(c, "insert into secrets (name, value) values (:name, :value)", name=_NAME, value=os.urandom(32))
        found = await fetch(c, "select id, value from secrets where name = :name order by id", name=_NAME)
    return Links({r.id: bytes(r.value) for r in found}, base.rstrip("/"))
