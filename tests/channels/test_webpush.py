"""The Web Push adapter: conformance, its encryption, its signature, and which hosts it calls."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from engine.delivery.channel import Channel, ChannelError, Content, Outgoing, Receipt, Result, load_channel
from engine.delivery.testing import Stage
from tests.channels.http_sink import Reply, Request, answer, free_port, sink
from tests.channels.phones import PhoneCases

BROWSER = ec.generate_private_key(ec.SECP256R1())
POINT = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
AUTH = b"0123456789abcdef"


def b64(raw: bytes) -> str:
    """As browsers write bytes."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


SERVER = ec.generate_private_key(ec.SECP256R1())
KEY = b64(SERVER.private_numbers().private_value.to_bytes(32, "big"))


def subscription(endpoint: str) -> str:
    """What a browser's `PushSubscription.toJSON()` gives."""
    keys = {"p256dh": b64(BROWSER.public_key().public_bytes(*POINT)), "auth": b64(AUTH)}
    return json.dumps({"endpoint": endpoint, "expirationTime": None, "keys": keys})


class TestWebPush(PhoneCases):
    """Every conformance case; the push service is wherever the subscription says."""

    use = "channels.webpush"
    settings: ClassVar = {
        "private_key": KEY,
        "subject": "mailto:ops@skin.example",
        "services": ["127.0.0.1"],
        "allow_private": True,
        "urgency": "high",
    }
    secrets = (KEY,)
    endpoint = "http://127.0.0.1:9/wpush/v2/gAAAAABh"

    @asynccontextmanager
    async def before(self, reply: Reply, hangs: bool = False, gone: bool = False) -> AsyncIterator[Stage]:
        """The adapter, and a push service that answers `reply` at `self.endpoint`."""
        async with sink(reply) as heard:
            self.endpoint = f"http://127.0.0.1:{free_port() if gone else heard.port}/wpush/v2/gAAAAABh"
            settings = {"use": self.use, **self.settings, "timeout": 1.0 if hangs else 30.0}
            channel = load_channel(self.name, settings)
            yield Stage(channel, settings, lambda: heard.arrived)
            await channel.close()

    def message(self, **changes: object) -> Outgoing:
        """A message to the subscription."""
        return super().message(**{"to": subscription(self.endpoint), **changes})

    def accepts(self, request: Request) -> bytes:
        return answer(201, b"", "Location: https://push.example/m/4UXwi2Rd7jGS7gp5cuutF8ZldnEuvbOy")

    def refusal(self, words: str) -> bytes:
        return answer(400, words.encode())

    async def test_request(self) -> None:
        """What the browser decrypts has title, text, key and what the template's JSON adds; the signature names our key."""
        content = Content({"title": "Ciao"}, text="Your serum 🦄", json={"url": "https://skin.example/"})
        async with self.stage("accepts") as stage:
            receipt = await stage.channel.send(self.message(content=content))
            (request,) = self.heard(stage)
        plain = http_ece.decrypt(request.body, private_key=BROWSER, auth_secret=AUTH, version="aes128gcm")
        assert json.loads(plain) == {
            "title": "Ciao",
            "body": "Your serum 🦄",
            "key": "e1/how_to_use/0/0",
            "url": "https://skin.example/",
        }
        told = request.headers
        assert (request.target, told["ttl"], told["urgency"], told["content-encoding"]) == (
            "/wpush/v2/gAAAAABh",
            "86400",
            "high",
            "aes128gcm",
        )
        token, _, key = told["authorization"].removeprefix("vapid t=").partition(",k=")
        assert key == b64(SERVER.public_key().public_bytes(*POINT))
        claims = jwt.decode(
            token, SERVER.public_key(), algorithms=["ES256"], audience=self.endpoint[: -len("/wpush/v2/gAAAAABh")]
        )
        assert claims["sub"] == "mailto:ops@skin.example"
        assert receipt == Receipt(Result.ACCEPTED, provider_id="https://push.example/m/4UXwi2Rd7jGS7gp5cuutF8ZldnEuvbOy")

    async def test_answers_of_services(self) -> None:
        """A subscription that is over isn't used again; one that is none never was."""
        for status in (404, 410):
            gone = await self.answered(answer(status, b"push subscription has unsubscribed or expired."))
            assert (gone.result, gone.suppress) == (Result.REFUSED, "unregistered")
        assert (await self.answered(answer(413))).suppress is None
        assert (await self.answered(answer(403))).result == Result.REFUSED  # made for another key than ours
        assert (await self.answered(answer(401))).result == Result.LATER
        good = subscription(self.endpoint)
        point = json.loads(good)["keys"]["p256dh"]
        for odd in (
            "",
            "{}",
            "[]",
            "[" * 9_000,
            '{"endpoint": 7, "keys": {}}',
            '{"endpoint": "https://127.0.0.1/", "keys": {"p256dh": "x"}}',
            '{"endpoint": "https://127.0.0.1/", "keys": ["p"]}',
            '{"endpoint": "https://127.0.0.1/", "keys": "p256dh"}',
            good.replace(point, "B" + "A" * 86),
            good.replace(point, point[:-3]),
            good.replace(point, ""),
            good.replace(b64(AUTH), "é"),
            good.replace(b64(AUTH), b64(AUTH)[:-2]),
            good.replace("http://", "http://[::"),
        ):
            refused = await self.answered(answer(201), to=odd)
            assert (refused.result, refused.suppress) == (Result.REFUSED, "invalid_address"), odd

    async def test_elsewhere(self) -> None:
        """An endpoint that is at no known service, in the clear, or on a private address by its name, is never called."""
        channel = self.alone_with(services=["*.push.services.mozilla.com"])
        for endpoint in (
            "https://169.254.169.254/latest",
            "https://push.services.mozilla.com.evil.example/x",
            "https://evilpush.services.mozilla.com/x",
            "http://updates.push.services.mozilla.com/x",
            "https://me:secret@updates.push.services.mozilla.com/x",
            "https://127.0.0.1/x",
            "file:///etc/passwd",
        ):
            receipt = await channel.send(self.message(to=subscription(endpoint)))
            assert (receipt.result, receipt.suppress) == (Result.REFUSED, "invalid_address"), endpoint
        inside = self.alone_with(services=["localhost"], allow_private=False)
        receipt = await inside.send(self.message(to=subscription("https://localhost:9/x")))
        assert "private address" in receipt.words
        await channel.close()
        await inside.close()

    def alone_with(self, **changes: object) -> Channel:
        """The channel with other settings."""
        return load_channel(self.name, {"use": self.use, **self.settings, **changes})

    def test_settings_of_keys(self) -> None:
        """A key that is none is refused without being quoted."""
        with pytest.raises(ChannelError, match="no VAPID key") as refused:
            self.alone_with(private_key="s3cret-value")
        assert "s3cret" not in str(refused.value)
