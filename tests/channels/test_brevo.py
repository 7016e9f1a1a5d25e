"""Brevo before a stand-in that gives its documented answers; events as its documentation shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from engine.delivery.channel import Feedback, Notice, Receipt, Result
from engine.delivery.testing import Signer
from tests.channels.http_sink import HttpCases, Request, says

TOKEN, BEARER = "xkeysib-91d", "hook-bearer-2c7"
ID = "<201798300811.5787683@relay.domain.com>"
COMMON = f""" "email": "ada@example.com", "id": 26224, "date": "2020-10-09 00:00:00", "ts": 1604933619, "message-id": "{ID}",
    "ts_event": 1604933654, "subject": "My first Transactional", "X-Mailin-custom": "e1/s/0/0", "template_id": 22"""
WHO = {"key": "e1/s/0/0", "provider_id": ID, "address": "ada@example.com", "at": datetime.fromtimestamp(1604933654, UTC)}


def event(name: str, more: str = "") -> bytes:
    """One event."""
    return f'{{"event": "{name}", {COMMON}{more}}}'.encode()


class TestBrevo(HttpCases):
    """Every conformance case."""

    use = "channels.brevo"
    settings: ClassVar = {"token": TOKEN, "webhook_token": BEARER}
    secrets = (TOKEN, BEARER)
    max_age = None
    told: ClassVar = (
        (event("request"), []),
        (event("delivered"), [Feedback("delivered", **WHO)]),
        (b"[" + b", ".join(map(event, ("unique_opened", "opened", "deferred"))) + b"]", [Feedback("opened", **WHO)]),
        (event("unique_proxy_open"), []),
        (event("proxy_open"), [Feedback("opened", **WHO, machine=True)]),
        (event("click", ', "link": "https://example.com/x"'), [Feedback("clicked", **WHO, url="https://example.com/x")]),
        (
            event("hard_bounce", ', "reason": "server is down"'),
            [Feedback("bounced", **WHO, words="server is down", suppress="hard_bounce")],
        ),
        (event("soft_bounce", ', "reason": "full"'), [Feedback("bounced", **WHO, words="full")]),
        (event("spam"), [Feedback("complained", **WHO, suppress="complaint")]),
        (event("unsubscribed"), [Feedback("unsubscribed", **WHO)]),
        (event("blocked"), [Feedback("failed", **WHO)]),
        (event("invalid_email"), [Feedback("failed", **WHO, suppress="invalid_address")]),
    )

    def accepts(self, request: Request) -> bytes:
        """As documented."""
        return says(201, {"messageId": ID})

    def refusal(self, words: str) -> bytes:
        """As documented."""
        return says(400, {"code": "invalid_parameter", "message": words})

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        """The bearer token of the webhook."""
        headers = {"provider": f"Bearer {BEARER}", "stranger": "Bearer another", "nobody": ""}
        return Notice("POST", "https://m.example/v1/channels/email/webhook", {"authorization": headers[signer]}, body, at)

    async def test_request(self) -> None:
        """The message as Brevo wants it, with its key in the header that comes back in notices."""
        async with self.stage("accepts") as stage:
            receipt = await stage.channel.send(self.message())
        (request,) = self.heard(stage)
        assert (request.target, request.headers["api-key"]) == ("/v3/smtp/email", TOKEN)
        assert request.json == {
            "sender": {"email": "care@skin.example", "name": "Skin Co"},
            "to": [{"email": "ada@example.com"}],
            "replyTo": {"email": "help@skin.example"},
            "subject": "How to use it",
            "textContent": "Morning and evening.",
            "htmlContent": "<p>Morning and evening.</p>",
            "headers": {
                "List-Unsubscribe": "<https://m.skin.example/u/abc>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                "List-Id": "<product-education.skin.example>",
                "X-Mailin-custom": "e1/how_to_use/0/0",
            },
        }
        assert receipt == Receipt(Result.ACCEPTED, provider_id=ID)

    async def test_code(self) -> None:
        """Brevo's code stands before its words."""
        async with self.stage("refuses") as stage:
            receipt = await stage.channel.send(self.message())
        assert receipt == Receipt(Result.REFUSED, words="400 invalid_parameter no, never")
