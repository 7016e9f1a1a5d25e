"""Mailgun before a stand-in that gives its documented answers; events as its documentation shows them, signed with HMAC."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from engine.delivery.channel import Feedback, Forged, Notice, Receipt, Result
from engine.delivery.http import basic
from engine.delivery.testing import NOW, Signer
from tests.channels.http_sink import HttpCases, Request, says

TOKEN, KEY = "key-88fa", "signing-4d0"
AT = datetime.fromtimestamp(1770146431.6585283, UTC)
COMMON = """ "id": "MXcc2gEpS-eN8HfkOnmK2w", "timestamp": 1770146431.6585283, "recipient": "recipient@sample.mailgun.com",
    "message": {"headers": {"message-id": "20260203192638.000be97f99f8cea1@sample.mailgun.com", "subject": "x"}, "size": 341},
    "user-variables": {"key": "e1/s/0/0"}"""
WHO = {
    "key": "e1/s/0/0",
    "provider_id": "20260203192638.000be97f99f8cea1@sample.mailgun.com",
    "address": "recipient@sample.mailgun.com",
    "at": AT,
    "id": "MXcc2gEpS-eN8HfkOnmK2w",
}


def event(part: str) -> bytes:
    """One event, still unsigned."""
    return ('{"event-data": {' + f"{part}, {COMMON}" + "}}").encode()


class TestMailgun(HttpCases):
    """Every conformance case."""

    use = "channels.mailgun"
    settings: ClassVar = {"token": TOKEN, "domain": "mg.skin.example", "webhook_key": KEY}
    secrets = (TOKEN, KEY, basic("api", TOKEN).split()[1])
    max_age = 30_000.0
    told: ClassVar = (
        (
            event('"event": "delivered", "delivery-status": {"code": 250, "message": "OK", "attempt-no": 1}'),
            [Feedback("delivered", **WHO, words="250 OK")],
        ),
        (
            event(
                '"event": "failed", "severity": "permanent", "reason": "bounce",'
                ' "delivery-status": {"code": 550, "message": "5.1.1 The email account does not exist"}'
            ),
            [Feedback("bounced", **WHO, words="550 5.1.1 The email account does not exist bounce", suppress="hard_bounce")],
        ),
        (event('"event": "failed", "severity": "temporary", "reason": "generic", "delivery-status": {"code": 498}'), []),
        (
            event(
                '"event": "failed", "severity": "permanent", "reason": "suppress-complaint",'
                ' "delivery-status": {"code": 605, "message": "", "description": "Not delivering to a user who complained"}'
            ),
            [
                Feedback(
                    "failed",
                    **WHO,
                    words="605 Not delivering to a user who complained suppress-complaint",
                    suppress="complaint",
                )
            ],
        ),
        (event('"event": "rejected", "reject": {"reason": "Sandbox"}'), [Feedback("failed", **WHO)]),
        (event('"event": "opened", "client-info": {"bot": "gmail"}'), [Feedback("opened", **WHO, machine=True)]),
        (
            event('"event": "clicked", "url": "https://x.example/", "client-info": {"bot": ""}'),
            [Feedback("clicked", **WHO, url="https://x.example/")],
        ),
        (event('"event": "complained"'), [Feedback("complained", **WHO, suppress="complaint")]),
        (
            event('"event": "unsubscribed"').replace(b'{"key": "e1/s/0/0"}', b"[]"),
            [Feedback("unsubscribed", **{**WHO, "key": ""})],
        ),
        (event('"event": "accepted"'), []),
    )

    def accepts(self, request: Request) -> bytes:
        """As documented."""
        return says(200, {"id": "<20111114174239.25659.5817@mg.skin.example>", "message": "Queued. Thank you."})

    def refusal(self, words: str) -> bytes:
        """As documented."""
        return says(400, {"message": words})

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        """The signature stands in the body, and says nothing about the rest of it."""
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            told = None
        if isinstance(told, dict) and signer != "nobody":
            stamp, token = str(int(at.timestamp())), hashlib.sha256(body).hexdigest()[:50]
            key = KEY if signer == "provider" else "another"
            signature = hmac.new(key.encode(), f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
            body = json.dumps({"signature": {"timestamp": stamp, "token": token, "signature": signature}, **told}).encode()
        return Notice("POST", "https://m.example/v1/channels/email/webhook", {}, body, at)

    async def test_request(self) -> None:
        """The message as Mailgun wants it; its id is kept as notices name it."""
        async with self.stage("accepts") as stage:
            receipt = await stage.channel.send(self.message())
        (request,) = self.heard(stage)
        assert (request.target, request.headers["authorization"]) == ("/v3/mg.skin.example/messages", basic("api", TOKEN))
        assert request.form == {
            "from": ['"Skin Co" <care@skin.example>'],
            "to": ["ada@example.com"],
            "h:Reply-To": ["help@skin.example"],
            "subject": ["How to use it"],
            "text": ["Morning and evening."],
            "html": ["<p>Morning and evening.</p>"],
            "h:List-Unsubscribe": ["<https://m.skin.example/u/abc>"],
            "h:List-Unsubscribe-Post": ["List-Unsubscribe=One-Click"],
            "h:List-Id": ["<product-education.skin.example>"],
            "v:key": ["e1/how_to_use/0/0"],
        }
        assert receipt == Receipt(Result.ACCEPTED, provider_id="20111114174239.25659.5817@mg.skin.example")

    async def test_not_an_address(self) -> None:
        """What Mailgun calls no address isn't used again."""
        words = "'to' parameter is not a valid address. please check documentation"
        async with self.before(says(400, {"message": words})) as stage:
            receipt = await stage.channel.send(self.message())
        assert receipt == Receipt(Result.REFUSED, words=f"400 {words}", suppress="invalid_address")

    async def test_a_token_stands_for_one_body(self) -> None:
        """The signature says nothing about the body: its token is told, so that nobody uses it again for something else."""
        async with self.stage("accepts") as stage:
            once = self.notice(self.told[0][0], NOW, "provider")
            await stage.channel.parse_webhook(once)
            assert once.tokens == {json.loads(once.body)["signature"]["token"]}
            forged = self.notice(self.told[0][0], NOW, "stranger")
            with pytest.raises(Forged):
                await stage.channel.parse_webhook(forged)
            assert forged.tokens == set()
