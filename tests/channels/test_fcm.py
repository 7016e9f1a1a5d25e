"""Firebase's adapter: conformance, the service account's token, the message, the errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar
from urllib.parse import parse_qs

import jwt
import pytest

from engine.delivery.channel import ChannelError, Content, Receipt, Result, load_channel
from engine.delivery.http import OURS
from engine.delivery.testing import Stage
from tests.channels.http_sink import Reply, Request, says, sink
from tests.channels.phones import PhoneCases, public, rsa_key

TOKEN, BEARER, KEY_ID = "dvAt8:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx", "ya29.bearer-token-7f", "key-id-3b8c"
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"


def account(token_uri: str) -> str:
    """A service account's key, as Google's console gives it."""
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "skin-co",
            "private_key_id": KEY_ID,
            "private_key": rsa_key(),
            "client_email": "sender@skin-co.iam.gserviceaccount.com",
            "token_uri": token_uri,
        }
    )


def error(status: int, code: str, message: str, detail: str = "") -> bytes:
    """An error as FCM words it."""
    details = [{"@type": FCM_ERROR, "errorCode": detail}] if detail else []
    return says(status, {"error": {"code": status, "message": message, "status": code, "details": details}})


GONE = error(404, "NOT_FOUND", "Requested entity was not found.", "UNREGISTERED")
BAD = error(400, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token", "INVALID_ARGUMENT")


class TestFcm(PhoneCases):
    """Every conformance case, before a Google that gives tokens."""

    use = "channels.fcm"
    to = TOKEN
    secrets = (KEY_ID, BEARER)
    granted: ClassVar = says(200, {"access_token": BEARER, "expires_in": 3599, "token_type": "Bearer"})

    @asynccontextmanager
    async def before(self, reply: Reply, hangs: bool = False, gone: bool = False) -> AsyncIterator[Stage]:
        """FCM before `reply`, and Google's token endpoint before `granted`; `self.asked` are the questions for tokens."""
        async with sink(self.granted) as google:
            self.asked = google.arrived
            self.settings = {"service_account": account(f"http://127.0.0.1:{google.port}/token")}
            async with super().before(reply, hangs, gone) as stage:
                yield stage

    def accepts(self, request: Request) -> bytes:
        return says(200, {"name": "projects/skin-co/messages/0:1500415314455276%31bd1c9631bd1c96"})

    def refusal(self, words: str) -> bytes:
        return error(400, "INVALID_ARGUMENT", words)

    async def test_request(self) -> None:
        """The message has title, body and what the template's JSON adds; the token is bought with a signed assertion, once."""
        extra = {"data": {"order": "A1"}, "android": {"priority": "HIGH"}, "token": "somebody else's"}
        content = Content({"title": "Hello\nAda"}, text="Your serum", json=extra)
        async with self.stage("accepts") as stage:
            receipt = await stage.channel.send(self.message(content=content))
            await stage.channel.send(self.message())
            request = self.heard(stage)[0]
        assert (request.method, request.target) == ("POST", "/v1/projects/skin-co/messages:send")
        assert request.headers["authorization"] == f"Bearer {BEARER}"
        assert json.loads(request.body) == {
            "message": {
                "notification": {"title": "Hello Ada", "body": "Your serum"},
                "data": {"order": "A1"},
                "android": {"priority": "HIGH"},
                "token": TOKEN,
            }
        }
        assert receipt.provider_id == "projects/skin-co/messages/0:1500415314455276%31bd1c9631bd1c96"
        (asked,) = [Request.read(raw) for raw in self.asked]
        form = parse_qs(asked.body.decode())
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        claims = jwt.decode(form["assertion"][0], public(rsa_key()), algorithms=["RS256"], options={"verify_aud": False})
        assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
        assert claims["exp"] - claims["iat"] == 3600
        assert jwt.get_unverified_header(form["assertion"][0])["kid"] == KEY_ID

    async def test_errors(self) -> None:
        """A token that is gone or never was is not used again; a bad message says nothing about its address."""
        assert await self.answered(GONE) == Receipt(
            Result.REFUSED, words="404 UNREGISTERED: Requested entity was not found.", suppress="unregistered"
        )
        assert (await self.answered(BAD)).suppress == "invalid_address"
        big = await self.answered(error(400, "INVALID_ARGUMENT", "Android message is too big", "INVALID_ARGUMENT"))
        assert (big.result, big.suppress) == (Result.REFUSED, None)
        other = await self.answered(error(403, "PERMISSION_DENIED", "SenderId mismatch", "SENDER_ID_MISMATCH"))
        assert (other.result, other.suppress) == (Result.REFUSED, None)
        assert (await self.answered(error(429, "RESOURCE_EXHAUSTED", "Quota", "QUOTA_EXCEEDED"))).result == Result.LATER

    async def test_token_that_ended(self) -> None:
        """A 401 asks for a new token once; after a second one the message waits until somebody mends the account."""
        answers = [error(401, "UNAUTHENTICATED", f"bad {BEARER}"), self.accepts(Request("", "", {}, b""))]
        async with self.before(lambda _: answers.pop(0)) as stage:
            assert (await stage.channel.send(self.message())).result == Result.ACCEPTED
            assert len(self.asked) == 2
        receipt = await self.answered(error(401, "UNAUTHENTICATED", f"bad {BEARER}"))
        assert receipt == Receipt(Result.LATER, words=f"401 UNAUTHENTICATED: bad [secret]: {OURS}")

    async def test_no_token(self) -> None:
        """While Google gives no token nothing is sent, nor lost: not where it is silent, nor where it refuses the account."""
        for granted, expected in (
            (says(503, {}), Result.LATER),
            (says(200, {"no": "token"}), Result.LATER),
            (says(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}), Result.LATER),
        ):
            cases = type("Cases", (TestFcm,), {"granted": granted})()
            async with cases.stage("accepts") as stage:
                receipt = await stage.channel.send(self.message())
                assert (receipt.result, stage.arrived()) == (expected, [])
                assert receipt.words.startswith("no token: ")

    def test_settings_of_an_account(self) -> None:
        """Half a key, or one that sends credentials in the clear, is refused without being quoted."""
        for wrong in ("{", '{"project_id": "s3cret"}', account("http://elsewhere.example/token")):
            with pytest.raises(ChannelError, match="service_account") as refused:
                load_channel("push", {"use": self.use, "service_account": wrong})
            assert "s3cret" not in str(refused.value)
