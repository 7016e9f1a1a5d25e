"""The adapter for MessageBird, now Bird: conformance, its request, its errors, its signed webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from engine.delivery.channel import Feedback, Forged, Notice, Receipt, Result
from engine.delivery.testing import NOW, Signer
from tests.channels.http_sink import Request, says
from tests.channels.phones import HOOK, PHONE, PhoneCases, called

WORKSPACE, CHANNEL, SENT = (
    "a1405560-c8d3-4b1a-877d-3f449ad95352",
    "c8df0a60-e3a5-5b5f-9b0a-2d3d0d0a8f11",
    "3be07c2c-4a5e-4b59-9d7a-5e2bd2d7f1e4",
)
ACCESS, SIGNING = "access-key-61d3", "signing-key-77c0"
AT = datetime(2026, 11, 22, 11, 59, 58, 123000, tzinfo=UTC)


def status(name: str, **more: object) -> bytes:
    """A status of a text of ours."""
    payload = {
        "id": SENT,
        "channelId": CHANNEL,
        "direction": "outgoing",
        "sender": {"connector": {"identifierValue": "+15550100"}},
        "receiver": {"contacts": [{"id": "c", "identifierKey": "phonenumber", "identifierValue": PHONE}]},
        "status": name,
        "lastStatusAt": "2026-11-22T11:59:58.123Z",
        **more,
    }
    return json.dumps({"service": "channels", "event": "sms.outbound", "payload": payload}).encode()


def heard(kind: str, words: str) -> list[Feedback]:
    """What `status` means."""
    return [Feedback(kind, "", SENT, PHONE, AT, words, id=f"{SENT}/{words.split()[0]}")]  # type: ignore[arg-type]


INBOUND = {
    "id": "in-1",
    "channelId": CHANNEL,
    "direction": "incoming",
    "sender": {"contact": {"id": "c", "identifierKey": "phonenumber", "identifierValue": PHONE}},
    "body": {"type": "text", "text": {"text": "STOP"}},
    "status": "delivered",
    "createdAt": "2026-11-22T11:59:58.123Z",
}


class TestMessageBird(PhoneCases):
    """Every conformance case, and what is Bird's own."""

    use = "channels.messagebird"
    settings: ClassVar = {"access_key": ACCESS, "workspace": WORKSPACE, "channel_id": CHANNEL, "signing_key": SIGNING}
    secrets = (ACCESS, SIGNING)
    told: ClassVar = [
        (status("delivered"), heard("delivered", "delivered")),
        (status("delivery_failed", reason="unknown subscriber"), heard("bounced", "delivery_failed unknown subscriber")),
        (status("sending_failed"), heard("failed", "sending_failed")),
        (status("rejected"), heard("failed", "rejected")),
        (status("sent"), []),
        (
            json.dumps({"service": "channels", "event": "sms.inbound", "payload": INBOUND}).encode(),
            [Feedback("received", address=PHONE, at=AT, words="STOP", id="in-1")],
        ),
    ]

    def accepts(self, request: Request) -> bytes:
        return says(202, {"id": SENT, "channelId": CHANNEL, "status": "accepted", "direction": "outgoing"})

    def refusal(self, words: str) -> bytes:
        return says(422, {"code": "InvalidPayload", "message": words})

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        stamp, key = str(int(at.timestamp())), SIGNING if signer == "provider" else "another"
        signed = f"{stamp}\n{HOOK}\n".encode() + hashlib.sha256(body).digest()
        mac = b64encode(hmac.new(key.encode(), signed, hashlib.sha256).digest()).decode()
        headers = {"messagebird-signature": mac, "messagebird-request-timestamp": stamp}
        return replace(called(body, {} if signer == "nobody" else headers), received=at)

    async def test_request(self) -> None:
        """The text goes to the number, through the workspace's channel."""
        async with self.stage("accepts") as stage:
            receipt = await stage.channel.send(self.message())
            (request,) = self.heard(stage)
        assert request.target == f"/workspaces/{WORKSPACE}/channels/{CHANNEL}/messages"
        assert request.headers["authorization"] == f"AccessKey {ACCESS}"
        assert request.json == {
            "body": {"type": "text", "text": {"text": "Morning and evening."}},
            "receiver": {"contacts": [{"identifierKey": "phonenumber", "identifierValue": PHONE}]},
        }
        assert receipt == Receipt(Result.ACCEPTED, provider_id=SENT)

    async def test_errors(self) -> None:
        """Bird's code and message stand in the words."""
        wrong = await self.answered(self.refusal("receiver is invalid"))
        assert wrong == Receipt(Result.REFUSED, words="422 InvalidPayload: receiver is invalid")
        assert (await self.answered(b"", to="call me")).suppress == "invalid_address"

    async def test_forged(self) -> None:
        """The signature holds for this URL, this time and this body alone; without a key nothing is taken."""
        good, channel = self.notice(status("delivered"), NOW, "provider"), self.alone()
        later = {**good.headers, "messagebird-request-timestamp": str(int(NOW.timestamp()) + 1)}
        for bad in (replace(good, body=status("sent")), replace(good, url=HOOK + "2"), replace(good, headers=later)):
            with pytest.raises(Forged, match="wrong"):
                await channel.parse_webhook(bad)
        with pytest.raises(Forged, match=r"isn't set in sojourn\.yaml"):
            await self.alone(signing_key="").parse_webhook(good)
