"""Vonage's adapter: conformance, the application's token, its errors, its signed webhooks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

import jwt
import pytest

from engine.delivery.channel import Feedback, Forged, Notice, Receipt, Result
from engine.delivery.testing import NOW, Signer
from tests.channels.http_sink import Request, says
from tests.channels.phones import PHONE, PhoneCases, called, public, rsa_key

APPLICATION, SECRET, UUID = (
    "78d335fa-323d-0114-9c3d-d6f0d48968cf",
    "signature-secret-0d2f-0123456789abcdef",
    "aaaaaaaa-bbbb-4ccc-8ddd",
)
AT = datetime(2025, 2, 3, 12, 14, 25, tzinfo=UTC)


def status(name: str, **more: object) -> bytes:
    """A status webhook."""
    plain = {"message_uuid": UUID, "to": PHONE[1:], "from": "15550100", "timestamp": "2025-02-03T12:14:25Z", "channel": "sms"}
    return json.dumps({**plain, "status": name, "client_ref": "e1/a/0/0", **more}).encode()


def heard(kind: str, words: str) -> list[Feedback]:
    """What `status` means."""
    return [Feedback(kind, "e1/a/0/0", UUID, PHONE, AT, words, id=f"{UUID}/{words.split()[0]}")]  # type: ignore[arg-type]


WHY = {"type": "https://developer.vonage.com/api-errors/messages#1320", "title": "1320", "detail": "Message already sent"}
SAID = {"channel": "sms", "message_uuid": UUID, "to": "15550100", "from": PHONE[1:], "timestamp": "2025-02-03T12:14:25Z"}


class TestVonage(PhoneCases):
    """Every conformance case, and what is Vonage's own."""

    use = "channels.vonage"
    settings: ClassVar = {"application_id": APPLICATION, "private_key": rsa_key(), "signature_secret": SECRET}
    secrets = (SECRET,)
    told: ClassVar = [
        (status("delivered"), heard("delivered", "delivered")),
        (status("read"), heard("opened", "read")),
        (status("rejected", error=WHY), heard("bounced", "rejected 1320 Message already sent")),
        (status("undeliverable"), heard("failed", "undeliverable")),
        (status("submitted"), []),
        (
            json.dumps({**SAID, "message_type": "text", "text": "Stop", "sms": {"num_messages": "1"}}).encode(),
            [Feedback("received", address=PHONE, at=AT, words="Stop", id=UUID)],
        ),
    ]

    def accepts(self, request: Request) -> bytes:
        return says(202, {"message_uuid": UUID, "workflow_id": "3TcNjguHxr2vcCZ9Ddsnq6tw8yQUpZ9rMHv9QXSxLan5ibMxqSzLdx9"})

    def refusal(self, words: str) -> bytes:
        return says(
            422, {"type": "https://developer.vonage.com/api-errors/messages#1150", "title": "Invalid params", "detail": words}
        )

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        hashed = hashlib.sha256(body).hexdigest()
        claims = {"iat": int(at.timestamp()), "jti": "c5ba8f24", "iss": "Vonage", "payload_hash": hashed, "api_key": "a1b2c3d"}
        signed = jwt.encode(claims, SECRET if signer == "provider" else SECRET[::-1], algorithm="HS256")
        return replace(called(body, {} if signer == "nobody" else {"authorization": f"Bearer {signed}"}), received=at)

    async def test_request(self) -> None:
        """The text goes to the number without its plus, under a token of the application; a long key isn't sent along."""
        async with self.stage("accepts") as stage:
            receipt = await stage.channel.send(self.message())
            await stage.channel.send(self.message(key="k" * 101))
            first, second = self.heard(stage)
        text = {"channel": "sms", "message_type": "text", "from": "15550100", "text": "Morning and evening.", "to": PHONE[1:]}
        assert first.json == {**text, "client_ref": "e1/how_to_use/0/0"}
        assert second.json == text
        token = first.headers["authorization"].removeprefix("Bearer ")
        claims = jwt.decode(token, public(rsa_key()), algorithms=["RS256"])
        assert (claims["application_id"], claims["exp"] - claims["iat"]) == (APPLICATION, 900)
        assert second.headers["authorization"] == first.headers["authorization"]
        assert receipt == Receipt(Result.ACCEPTED, provider_id=UUID)

    async def test_errors(self) -> None:
        """Vonage's title and detail stand in the words."""
        wrong = await self.answered(self.refusal("Invalid sender"))
        assert wrong == Receipt(Result.REFUSED, words="422 Invalid params: Invalid sender")
        assert (await self.answered(says(429, {"title": "Rate Limit Hit"}))).result == Result.LATER
        assert (await self.answered(b"", to="0800")).suppress == "invalid_address"

    async def test_forged(self) -> None:
        """A token signed with no algorithm, or for another body, is refused; so is everything where no secret is set."""
        good = self.notice(status("delivered"), NOW, "provider")
        hashed = {"iat": int(NOW.timestamp()), "payload_hash": hashlib.sha256(good.body).hexdigest()}
        unsigned = jwt.encode(hashed, "", algorithm="none")
        for bad in (replace(good, body=status("read")), replace(good, headers={"authorization": f"Bearer {unsigned}"})):
            with pytest.raises(Forged):
                await self.alone().parse_webhook(bad)
        with pytest.raises(Forged, match=r"isn't set in sojourn\.yaml"):
            await self.alone(signature_secret="").parse_webhook(good)
