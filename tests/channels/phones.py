"""What the tests of adapters for phones and chats have in common: a text to a number, and keys. Tests only."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from engine.delivery.channel import Channel, Notice, Outgoing, Receipt, load_channel
from engine.delivery.testing import NOW
from tests.channels.http_sink import HttpCases, Reply

PHONE = "+393331234567"
HOOK = "https://m.example/v1/channels/phones/webhook"
"""The channel's webhook, as providers call it."""


class PhoneCases(HttpCases):
    """HttpCases with an address that the provider takes: `to`."""

    name = "phones"
    to: ClassVar[str] = PHONE

    def message(self, **changes: object) -> Outgoing:
        """A message to `to`."""
        return super().message(**{"to": self.to, "sender": {"from": "+15550100"}, **changes})

    async def answered(self, reply: Reply, **changes: object) -> Receipt:
        """What the channel makes of `reply`."""
        async with self.before(reply) as stage:
            return await stage.channel.send(self.message(**changes))

    def alone(self, **changes: object) -> Channel:
        """The channel without a provider, for its webhook."""
        return load_channel(self.name, {"use": self.use, self.base: "http://127.0.0.1:9", **self.settings, **changes})


def called(body: bytes, headers: dict[str, str], url: str = HOOK, method: str = "POST") -> Notice:
    """A provider's call, which comes NOW."""
    return Notice(method, url, headers, body, NOW)


@cache
def rsa_key() -> str:
    """An RSA key as PEM, made once."""
    return _pem(rsa.generate_private_key(65537, 2048))


@cache
def ec_key() -> str:
    """A P-256 key as PEM, made once."""
    return _pem(ec.generate_private_key(ec.SECP256R1()))


def public(pem: str) -> Any:
    """The public half of a key."""
    return serialization.load_pem_private_key(pem.encode(), None).public_key()


def _pem(key: Any) -> str:
    plain = serialization.NoEncryption()
    return str(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode())
