"""Resend before a stand-in that gives its documented answers; events as its documentation shows them, signed as Svix does."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from channels.letter import packed
from channels.resend import Resend, Settings
from engine.delivery.channel import ChannelError, Feedback, Notice, Receipt, Result, load_channel
from engine.delivery.testing import NOW, Signer
from tests.channels.http_sink import HttpCases, Request, says

TOKEN, SECRET = "re_token-3f9", "whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH"
ID = "49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"
COMMON = f""" "created_at": "2026-11-22T23:41:12.126Z", "data": {{"created_at": "2026-11-22T23:41:11.894719+00:00",
    "email_id": "{ID}", "from": "Acme <a@acme.example>", "to": ["ada@example.com"], "subject": "x",
    "tags": {{"key": "{packed("e1/s/0/0")}"}}"""
WHO = {
    "key": "e1/s/0/0",
    "provider_id": ID,
    "address": "ada@example.com",
    "at": datetime(2026, 11, 22, 23, 41, 12, 126000, tzinfo=UTC),
    "id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
}


def event(name: str, more: str = "") -> bytes:
    """One event."""
    return f'{{"type": "email.{name}", {COMMON}{more}}}}}'.encode()


class TestResend(HttpCases):
    """Every conformance case, one letter to a request."""

    use = "channels.resend"
    settings: ClassVar = {"token": TOKEN, "webhook_secret": SECRET}
    secrets = (TOKEN, SECRET)
    told: ClassVar = (
        (event("sent"), []),
        (event("delivered"), [Feedback("delivered", **WHO)]),
        (event("opened"), [Feedback("opened", **WHO)]),
        (
            event("clicked", ', "click": {"ipAddress": "122.115.53.11", "link": "https://resend.com"}'),
            [Feedback("clicked", **WHO, url="https://resend.com")],
        ),
        (
            event("bounced", ', "bounce": {"message": "on the suppression list", "subType": "Suppressed", "type": "Permanent"}'),
            [Feedback("bounced", **WHO, words="on the suppression list", suppress="hard_bounce")],
        ),
        (
            event("bounced", ', "bounce": {"message": "mailbox full", "subType": "MailboxFull", "type": "Transient"}'),
            [Feedback("bounced", **WHO, words="mailbox full")],
        ),
        (event("complained"), [Feedback("complained", **WHO, suppress="complaint")]),
        (
            event("failed", ', "failed": {"reason": "reached_daily_quota"}'),
            [Feedback("failed", **WHO, words="reached_daily_quota")],
        ),
        (b'{"type": "contact.created", "created_at": "x", "data": {}}', []),
    )

    def accepts(self, request: Request) -> bytes:
        """Alone or in a batch, whose ids name the letters' tags."""
        if request.target == "/emails/batch":
            return says(200, {"data": [{"id": mail["tags"][0]["value"]} for mail in request.json]})
        return says(200, {"id": ID})

    def refusal(self, words: str) -> bytes:
        """As documented."""
        return says(422, {"statusCode": 422, "name": "validation_error", "message": words})

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        """An HMAC over id, time and body; the one of a secret that is being replaced stands beside it."""
        id, stamp, headers = "msg_p5jXN8AQM9LWM0D4loKWxJek", str(int(at.timestamp())), {}
        if signer != "nobody":
            key = base64.b64decode(SECRET[6:]) if signer == "provider" else b"another"
            mac = hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
            signature = f"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,{base64.b64encode(mac).decode()}"
            headers = {"svix-id": id, "svix-timestamp": stamp, "svix-signature": signature}
        return Notice("POST", "https://m.example/v1/channels/email/webhook", headers, body, at)

    async def test_request(self) -> None:
        """The message as Resend wants it, under its key; a long key is hashed, and its tag left out."""
        async with self.stage("accepts") as stage:
            assert (stage.channel.capabilities.idempotent, stage.channel.capabilities.on_unknown) == (True, "retry")
            receipt = await stage.channel.send(self.message())
            await stage.channel.send(self.message(key="k" * 300))
        first, second = self.heard(stage)
        assert (first.target, first.headers["authorization"]) == ("/emails", f"Bearer {TOKEN}")
        assert first.headers["idempotency-key"] == "e1/how_to_use/0/0"
        assert first.json == {
            "from": '"Skin Co" <care@skin.example>',
            "to": ["ada@example.com"],
            "reply_to": "help@skin.example",
            "subject": "How to use it",
            "text": "Morning and evening.",
            "html": "<p>Morning and evening.</p>",
            "headers": {
                "List-Unsubscribe": "<https://m.skin.example/u/abc>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                "List-Id": "<product-education.skin.example>",
            },
            "tags": [{"name": "key", "value": packed("e1/how_to_use/0/0")}],
        }
        assert (second.headers["idempotency-key"], second.json["tags"]) == (hashlib.sha256(b"k" * 300).hexdigest(), [])
        assert receipt == Receipt(Result.ACCEPTED, provider_id=ID)

    async def test_known_again(self) -> None:
        """A key that is under way waits; one that was used for other words was taken then."""
        for name, expected in (
            ("concurrent_idempotent_requests", Receipt(Result.LATER, words="in progress")),
            ("invalid_idempotent_request", Receipt(Result.ACCEPTED, words="in progress")),
            ("other", Receipt(Result.REFUSED, words="409 other in progress")),
        ):
            async with self.before(says(409, {"statusCode": 409, "name": name, "message": "in progress"})) as stage:
                assert await stage.channel.send(self.message()) == expected

    async def test_rewritten(self) -> None:
        """A notice whose body was changed after it was signed is forged."""
        async with self.stage("accepts") as stage:
            once = self.notice(self.told[1][0], NOW, "provider")
            with pytest.raises(ValueError, match="wrong"):
                await stage.channel.parse_webhook(replace(once, body=once.body.replace(b"delivered", b"complained")))


class TestBatches(TestResend):
    """Every conformance case with batches. Which ids came is all that Resend says of those it took."""

    settings: ClassVar = {"token": TOKEN, "webhook_secret": SECRET, "batch": 100}

    async def test_words(self) -> None:
        """A batch's answer that can't be read says of none whether it was taken; all others are as they are alone."""
        async with self.stage("garbles") as stage:
            answers = await stage.channel.send_many([self.message(), self.message(key="e2/s/0/0")])
            assert [a.result for a in answers if isinstance(a, Receipt)] == [Result.UNKNOWN] * 2

    async def test_request(self) -> None:
        """Nothing that may have been sent is tried again, unless the settings say so."""
        async with self.stage("accepts") as stage:
            assert (stage.channel.capabilities.idempotent, stage.channel.capabilities.on_unknown) == (False, "assume_sent")
        told = Resend(Settings.model_validate({"token": TOKEN, "batch": 2, "on_unknown": "retry"}))
        assert told.capabilities.on_unknown == "retry"
        await told.close()

    async def test_each_of_a_batch(self) -> None:
        """Ids are those of the letters that were taken, in order; errors name their places."""
        said = {"data": [{"id": "a"}, {"id": "b"}], "errors": [{"index": 1, "message": "The `to` field is wrong"}]}
        async with self.before(says(200, said)) as stage:
            answers = await stage.channel.send_many([self.message(key=f"e{n}/s/0/0") for n in range(4)])
        found = [(a.result, a.provider_id) for a in answers if isinstance(a, Receipt)]
        assert found == [(Result.ACCEPTED, "a"), (Result.REFUSED, ""), (Result.ACCEPTED, "b"), (Result.UNKNOWN, "")]
        (request,) = self.heard(stage)
        assert (request.target, request.headers["x-batch-validation"]) == ("/emails/batch", "permissive")
        async with self.stage("busy_for") as stage:
            later = await stage.channel.send_many([self.message(), self.message()])
        assert {a.retry_after for a in later if isinstance(a, Receipt)} == {7.0}


def test_a_secret_that_is_none() -> None:
    """A signing secret that can't be read is refused when the settings are, and not shown."""
    with pytest.raises(ChannelError, match="webhook_secret") as refused:
        load_channel("email", {"use": "channels.resend", "token": TOKEN, "webhook_secret": "whsec_!not base64!"})
    assert "not base64" not in str(refused.value)
