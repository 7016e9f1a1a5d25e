"""Apple's adapter over real HTTP/2: conformance, its headers and payload, its token, its reasons."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import ClassVar

import jwt

from channels.apns import Apns, Settings
from engine.delivery.channel import Content, Outgoing, Receipt, Result, load_channel
from engine.delivery.testing import ANSWERS, Behaviour, ChannelCases, Stage
from tests.channels.http2_sink import Reply2, sink2
from tests.channels.http_sink import Request, free_port
from tests.channels.phones import ec_key, public

DEVICE, ID = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0", "eabeae54-14a8-11e5-b60b-1697f925ec7b"
SETTINGS = {"key": ec_key(), "key_id": "ABC123DEFG", "team_id": "DEF123GHIJ", "topic": "example.skin.app"}
REPLIES: Mapping[Behaviour, Reply2] = {
    "accepts": (200, {"apns-id": ID}, None),
    "refuses": (400, {}, {"reason": "BadTopic"}),
    "busy": (429, {}, {"reason": "TooManyRequests"}),
    "busy_for": (429, {"retry-after": "7"}, {"reason": "TooManyProviderTokenUpdates"}),
    "fails": (500, {}, {"reason": "InternalServerError"}),
    "breaks_off": "breaks_off",
    "hangs": "hangs",
    "nonsense": "nonsense",
    "quotes": (400, {}, {"reason": f"BadTopic {ec_key()}"}),
}


class TestApns(ChannelCases):
    """Every conformance case. Apple says nothing where it accepts, so that nothing can be garbled."""

    answers: ClassVar = {behaviour: result for behaviour, result in ANSWERS.items() if behaviour != "garbles"}
    secrets = (ec_key(), ec_key().splitlines()[1])

    def message(self, **changes: object) -> Outgoing:
        """A message to the device."""
        return super().message(**{"to": DEVICE, **changes})

    @asynccontextmanager
    async def stage(self, behaviour: Behaviour) -> AsyncIterator[Stage]:
        """The adapter before Apple."""
        async with self.before(REPLIES.get(behaviour, "hangs"), behaviour) as stage:
            yield stage

    @asynccontextmanager
    async def before(self, reply: Reply2, behaviour: str = "") -> AsyncIterator[Stage]:
        """The adapter before a server that does `reply`."""
        async with sink2(reply) as heard:
            base = f"http://127.0.0.1:{free_port() if behaviour == 'unreachable' else heard.port}"
            timeout = 1.0 if behaviour == "hangs" else 30.0
            settings = {"use": "channels.apns", **SETTINGS, "base_url": base, "timeout": timeout}
            channel = load_channel("push", settings)
            yield Stage(channel, settings, lambda: heard.arrived)
            await channel.close()

    async def answered(self, status: int, reason: str) -> Receipt:
        """What the channel makes of Apple's reason."""
        async with self.before((status, {}, {"reason": reason, "timestamp": 1763812800000})) as stage:
            return await stage.channel.send(self.message())

    async def test_request(self) -> None:
        """Title and text are an alert, beside what the template's JSON adds; topic, expiry and a token signed once go along."""
        content = Content({"title": "Hello"}, text="Your serum", json={"order": "A1", "aps": {"badge": 1}})
        async with sink2(REPLIES["accepts"]) as heard:
            settings = Settings.model_validate({**SETTINGS, "base_url": f"http://127.0.0.1:{heard.port}", "ttl": 600})
            channel = Apns(settings, clock=lambda: 1_763_812_800.0)
            receipt = await channel.send(self.message(content=content))
            await channel.send(self.message())
            await channel.close()
        first, second = (Request.read(raw) for raw in heard.arrived)
        assert (first.method, first.target, heard.connections) == ("POST", f"/3/device/{DEVICE}", 1)
        assert json.loads(first.body) == {"order": "A1", "aps": {"alert": {"title": "Hello", "body": "Your serum"}, "badge": 1}}
        shown = {name: value for name, value in first.headers.items() if name.startswith("apns-") and name != "apns-id"}
        assert shown == {
            "apns-topic": "example.skin.app",
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-expiration": "1763813400",
        }
        assert first.headers["apns-id"] == second.headers["apns-id"]
        assert first.headers["authorization"] == second.headers["authorization"]
        token = first.headers["authorization"].removeprefix("bearer ")
        assert jwt.decode(token, public(ec_key()), algorithms=["ES256"], options={"verify_iat": False}) == {
            "iss": "DEF123GHIJ",
            "iat": 1_763_812_800,
        }
        assert jwt.get_unverified_header(token)["kid"] == "ABC123DEFG"
        assert receipt == Receipt(Result.ACCEPTED, provider_id=ID)

    async def test_token_is_renewed(self) -> None:
        """A new token is signed before Apple refuses the old one after an hour, and at once where Apple already does."""
        times = iter([0.0] * 2 + [2_399.0] * 2 + [2_400.0] * 2)
        async with sink2(REPLIES["accepts"]) as heard:
            settings = Settings.model_validate({**SETTINGS, "base_url": f"http://127.0.0.1:{heard.port}"})
            channel = Apns(settings, clock=lambda: next(times))
            for _ in range(3):
                await channel.send(self.message())
            await channel.close()
        tokens = [Request.read(raw).headers["authorization"] for raw in heard.arrived]
        assert (tokens[0] == tokens[1], tokens[1] == tokens[2]) == (True, False)
        async with self.before((403, {}, {"reason": "ExpiredProviderToken"})) as stage:
            assert (await stage.channel.send(self.message())).result == Result.LATER
        assert (await self.answered(403, "InvalidProviderToken")).result == Result.LATER

    async def test_reasons(self) -> None:
        """A device that is gone isn't written to again; one that Apple doesn't know may be of the other environment."""
        gone = await self.answered(410, "Unregistered")
        assert gone == Receipt(Result.REFUSED, words="410 Unregistered", suppress="unregistered")
        assert (await self.answered(410, "ExpiredToken")).suppress == "unregistered"
        bad = await self.answered(400, "BadDeviceToken")
        assert bad == Receipt(Result.REFUSED, words="400 BadDeviceToken")
        assert (await self.answered(503, "Shutdown")).result == Result.LATER
        async with self.stage("accepts") as stage:
            assert (await stage.channel.send(self.message(to="no token"))).suppress == "invalid_address"
