"""WhatsApp's adapter: conformance, texts and templates, Meta's error codes, its challenge and its signed webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from engine.delivery.channel import Content, Feedback, Forged, Notice, Receipt, Result
from engine.delivery.testing import NOW, Signer
from tests.channels.http_sink import Request, says
from tests.channels.phones import HOOK, PHONE, PhoneCases, called

TOKEN, SECRET, VERIFY = "EAAJB-token-5b1e", "app-secret-9a07", "verify-me-44d0"
SENT = "wamid.HBgLMTY0NjcwNDM1OTUVAgARGBI1RjQyNUE3NEYxMzAzMzQ5MkEA"
AT = datetime(2022, 11, 4, 2, 9, 16, tzinfo=UTC)


def error(code: int, message: str, details: str = "", status: int = 400) -> bytes:
    """An error as Meta words it."""
    data = {"messaging_product": "whatsapp", "details": details}
    said = {
        "message": f"(#{code}) {message}",
        "type": "OAuthException",
        "code": code,
        "error_data": data,
        "fbtrace_id": "Az8or2y",
    }
    return says(status, {"error": said})


def change(**value: object) -> bytes:
    """A webhook's body."""
    metadata = {"display_phone_number": "15550783881", "phone_number_id": "106540352242922"}
    inner = {"messaging_product": "whatsapp", "metadata": metadata, **value}
    entry = {"id": "102290129340398", "changes": [{"value": inner, "field": "messages"}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def status(name: str, **more: object) -> bytes:
    """A status of a message of ours."""
    return change(statuses=[{"id": SENT, "status": name, "timestamp": "1667527756", "recipient_id": PHONE[1:], **more}])


def inbound(**said: object) -> bytes:
    """A message of somebody's, an answer to ours."""
    plain = {"from": PHONE[1:], "id": "wamid.IN", "timestamp": "1667527756", "context": {"from": "15550783881", "id": SENT}}
    return change(contacts=[{"profile": {"name": "Ada"}, "wa_id": PHONE[1:]}], messages=[{**plain, **said}])


def heard(words: str) -> list[Feedback]:
    """What `inbound` means."""
    return [Feedback("received", "", SENT, PHONE, AT, words, id="wamid.IN")]


FAILED = {"errors": [{"code": 131026, "title": "Message undeliverable", "message": "Message undeliverable"}]}


class TestWhatsApp(PhoneCases):
    """Every conformance case, and what is Meta's own."""

    use = "channels.whatsapp"
    settings: ClassVar = {"phone_number_id": "106540352242922", "token": TOKEN, "app_secret": SECRET, "verify_token": VERIFY}
    secrets = (TOKEN, SECRET, VERIFY)
    max_age = None
    told: ClassVar = [
        (status("delivered"), [Feedback("delivered", "", SENT, PHONE, AT, id=f"{SENT}/delivered")]),
        (status("read"), [Feedback("opened", "", SENT, PHONE, AT, id=f"{SENT}/read")]),
        (
            status("failed", **FAILED),
            [Feedback("failed", "", SENT, PHONE, AT, "131026 Message undeliverable", id=f"{SENT}/failed")],
        ),
        (status("sent"), []),
        (inbound(type="text", text={"body": "STOP"}), heard("STOP")),
        (inbound(type="button", button={"payload": "p", "text": "No thanks"}), heard("No thanks")),
        (
            inbound(type="interactive", interactive={"type": "button_reply", "button_reply": {"id": "b", "title": "Yes"}}),
            heard("Yes"),
        ),
        (inbound(type="image", image={"id": "1"}), heard("")),
    ]

    def accepts(self, request: Request) -> bytes:
        contacts = [{"input": PHONE, "wa_id": PHONE[1:]}]
        return says(200, {"messaging_product": "whatsapp", "contacts": contacts, "messages": [{"id": SENT}]})

    def refusal(self, words: str) -> bytes:
        return error(131009, words)

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        mac = hmac.new((SECRET if signer == "provider" else "another").encode(), body, hashlib.sha256).hexdigest()
        return replace(called(body, {} if signer == "nobody" else {"x-hub-signature-256": f"sha256={mac}"}), received=at)

    async def test_request(self) -> None:
        """A text without JSON; with it Meta's own message, whose type is its first key's name. Neither is a person's to mend."""
        template = {"name": "order_shipped", "language": {"code": "it"}}
        async with self.stage("accepts") as stage:
            receipt = await stage.channel.send(self.message(to="+39 333 1234567"))
            await stage.channel.send(self.message(content=Content({}, json={"template": template, "to": "15559999"})))
            first, second = self.heard(stage)
        assert (first.target, first.headers["authorization"]) == ("/v24.0/106540352242922/messages", f"Bearer {TOKEN}")
        to = {"messaging_product": "whatsapp", "recipient_type": "individual", "to": "393331234567"}
        assert first.json == {**to, "type": "text", "text": {"body": "Morning and evening."}}
        assert second.json == {**to, "type": "template", "template": template}
        assert receipt == Receipt(Result.ACCEPTED, provider_id=SENT)
        with pytest.raises(ValueError, match="has no text"):
            await self.alone().send(self.message(content=Content({"subject": "x"})))

    async def test_errors(self) -> None:
        """Limits mean later, whatever the status; what the window or the recipient forbids is refused, with Meta's details."""
        closed = await self.answered(error(131047, "Re-engagement message", "More than 24 hours have passed"))
        assert closed == Receipt(Result.REFUSED, words="400 (#131047) Re-engagement message More than 24 hours have passed")
        limited = await self.answered(error(130429, "Rate limit hit"))
        assert limited == Receipt(Result.LATER, words="(#130429) Rate limit hit")
        assert (await self.answered(error(131056, "Pair rate limit hit", status=429))).result == Result.LATER
        assert (await self.answered(error(131000, "Something went wrong", status=500))).result == Result.UNKNOWN

    async def test_challenge(self) -> None:
        """Meta's question is answered where it says the verify token; what it posts is none."""
        channel = self.alone()
        asked = f"{HOOK}?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
        assert await channel.challenge(called(b"", {}, asked + VERIFY, "GET")) == "1158201444"
        assert await channel.challenge(self.notice(status("sent"), NOW, "provider")) is None
        for wrong in ("", "another"):
            with pytest.raises(Forged):
                await channel.challenge(called(b"", {}, asked + wrong, "GET"))
