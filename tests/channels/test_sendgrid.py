"""SendGrid before a stand-in that gives its documented answers; events as its documentation shows them, signed with ECDSA."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import ClassVar

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from engine.delivery.channel import ChannelError, Content, Feedback, Notice, Receipt, Result, load_channel
from engine.delivery.testing import Signer
from tests.channels.http_sink import HttpCases, Request, answer, says

TOKEN = "SG.token-5e1"
KEYS = {"provider": ec.generate_private_key(ec.SECP256R1()), "stranger": ec.generate_private_key(ec.SECP256R1())}
PUBLIC = base64.b64encode(KEYS["provider"].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
AT = datetime(2017, 12, 15, 0, 59, 29, tzinfo=UTC)
COMMON = """"email": "example@test.com", "timestamp": 1513299569, "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
    "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0", "sg_event_id": "ev==", "key": "e1/s/0/0" """
WHO = {"key": "e1/s/0/0", "provider_id": "14c5d75ce93.dfd.64b469", "address": "example@test.com", "at": AT, "id": "ev=="}


def events(*parts: str) -> bytes:
    """One call with these events."""
    return ("[" + ", ".join("{" + f"{COMMON}, {part}" + "}" for part in parts) + "]").encode()


class TestSendGrid(HttpCases):
    """Every conformance case."""

    use = "channels.sendgrid"
    settings: ClassVar = {"token": TOKEN, "webhook_key": PUBLIC}
    secrets = (TOKEN,)
    told: ClassVar = (
        (
            events(
                '"event": "processed"',
                '"event": "deferred", "response": "400 try again later", "attempt": "5"',
                '"event": "delivered", "response": "250 OK"',
                '"event": "open", "useragent": "Mozilla/4.0", "ip": "255.255.255.255"',
                '"event": "open", "sg_machine_open": true',
                '"event": "click", "url": "http://www.sendgrid.com/"',
                '"event": "bounce", "reason": "500 unknown recipient", "status": "5.0.0", "type": "bounce"',
                '"event": "bounce", "reason": "554 blocked", "status": "5.7.1", "type": "blocked"',
                '"event": "dropped", "reason": "Bounced Address", "status": "5.0.0"',
                '"event": "dropped", "reason": "Invalid SMTPAPI header"',
                '"event": "spamreport"',
                '"event": "unsubscribe"',
                '"event": "group_resubscribe", "asm_group_id": 10',
            ),
            [
                Feedback("delivered", **WHO, words="250 OK"),
                Feedback("opened", **WHO),
                Feedback("opened", **WHO, machine=True),
                Feedback("clicked", **WHO, url="http://www.sendgrid.com/"),
                Feedback("bounced", **WHO, words="500 unknown recipient", suppress="hard_bounce"),
                Feedback("bounced", **WHO, words="554 blocked"),
                Feedback("failed", **WHO, words="Bounced Address", suppress="hard_bounce"),
                Feedback("failed", **WHO, words="Invalid SMTPAPI header"),
                Feedback("complained", **WHO, suppress="complaint"),
                Feedback("unsubscribed", **WHO),
            ],
        ),
    )

    def accepts(self, request: Request) -> bytes:
        """202, and the id in a header."""
        return answer(202, b"", "X-Message-Id: 14c5d75ce93.dfd.64b469")

    def refusal(self, words: str) -> bytes:
        """A list of errors."""
        return says(400, {"errors": [{"message": words, "field": "from.email", "help": None}, {"message": "and more"}]})

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        """A signature over timestamp and body."""
        headers = {}
        if signer != "nobody":
            stamp = str(int(at.timestamp()))
            signature = base64.b64encode(KEYS[signer].sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()
            name = "x-twilio-email-event-webhook"
            headers = {f"{name}-signature": signature, f"{name}-timestamp": stamp}
        return Notice("POST", "https://m.example/v1/channels/email/webhook", headers, body, at)

    async def test_request(self) -> None:
        """The message as SendGrid wants it; text before HTML, an empty part left out."""
        html = self.message(content=Content({}, text="", html="<p>x</p>"), unsubscribe_url=None, sender={"from": "a@b.example"})
        async with self.stage("accepts") as stage:
            receipt = await stage.channel.send(self.message())
            await stage.channel.send(html)
        first, second = self.heard(stage)
        assert (first.target, first.headers["authorization"]) == ("/v3/mail/send", f"Bearer {TOKEN}")
        assert first.json == {
            "personalizations": [{"to": [{"email": "ada@example.com"}]}],
            "from": {"email": "care@skin.example", "name": "Skin Co"},
            "reply_to": {"email": "help@skin.example"},
            "subject": "How to use it",
            "content": [
                {"type": "text/plain", "value": "Morning and evening."},
                {"type": "text/html", "value": "<p>Morning and evening.</p>"},
            ],
            "headers": {
                "List-Unsubscribe": "<https://m.skin.example/u/abc>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                "List-Id": "<product-education.skin.example>",
            },
            "custom_args": {"key": "e1/how_to_use/0/0"},
        }
        assert second.json["content"] == [{"type": "text/html", "value": "<p>x</p>"}]
        assert set(second.json) == {"personalizations", "from", "subject", "content", "custom_args"}
        assert receipt == Receipt(Result.ACCEPTED, provider_id="14c5d75ce93.dfd.64b469")

    async def test_words(self) -> None:
        """All that SendGrid says is wrong."""
        await super().test_words()
        async with self.stage("refuses") as stage:
            assert (await stage.channel.send(self.message())).words == "400 no, never; and more"


def test_a_key_that_is_none() -> None:
    """A webhook key that can't be read is refused when the settings are."""
    for key in ("not base64", "aGVsbG8=", PUBLIC[:-8]):
        with pytest.raises(ChannelError, match="webhook_key"):
            load_channel("email", {"use": "channels.sendgrid", "token": TOKEN, "webhook_key": key})
