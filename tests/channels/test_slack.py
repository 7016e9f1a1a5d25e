"""Slack's adapter: conformance, its arguments, its errors that come with status 200, its signed events."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from engine.delivery.channel import Content, Feedback, Forged, Notice, Receipt, Result
from engine.delivery.http import OURS
from engine.delivery.testing import ANSWERS, NOW, Signer
from tests.channels.http_sink import Request, answer, says
from tests.channels.phones import PhoneCases, called

TOKEN, SECRET = "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcBrzbqgy", "8f742231b10e8888abcd99yyyzzz85a5"
SENT = {
    "ok": True,
    "channel": "C123ABC456",
    "ts": "1503435956.000247",
    "message": {"text": "Here's a message for you", "bot_id": "B123ABC456", "type": "message", "ts": "1503435956.000247"},
}


def event(**inner: object) -> bytes:
    """A call of the Events API."""
    envelope = {
        "token": "z26uFbvR1xHJEdHE1OQiO6t8",
        "team_id": "T123ABC456",
        "api_app_id": "A123ABC456",
        "type": "event_callback",
    }
    return json.dumps({**envelope, "event": inner, "event_id": "Ev123ABC456", "event_time": 1355517523}).encode()


SAID = {"type": "message", "channel": "D024BE91L", "user": "U2147483697", "text": "Hello", "ts": "1355517523.000005"}


class TestSlack(PhoneCases):
    """Every conformance case, and what is Slack's own."""

    use = "channels.slack"
    to = "U2147483697"
    settings: ClassVar = {"token": TOKEN, "signing_secret": SECRET}
    secrets = (TOKEN, SECRET)
    answers: ClassVar = {**ANSWERS, "garbles": Result.UNKNOWN}
    replies: ClassVar = {"busy_for": says(429, {"ok": False, "error": "ratelimited"}, "Retry-After: 7")}
    told: ClassVar = [
        (
            event(**SAID, thread_ts="1355517500.000001"),
            [
                Feedback(
                    "received",
                    provider_id="D024BE91L:1355517500.000001",
                    address="U2147483697",
                    at=datetime.fromtimestamp(1355517523.000005, UTC),
                    words="Hello",
                    id="Ev123ABC456",
                )
            ],
        ),
        (event(**SAID, bot_id="B1"), []),
        (event(**SAID, subtype="message_changed"), []),
        (event(type="reaction_added", user="U2147483697"), []),
    ]

    def accepts(self, request: Request) -> bytes:
        return says(200, SENT)

    def refusal(self, words: str) -> bytes:
        return says(200, {"ok": False, "error": words})

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        stamp, key = str(int(at.timestamp())), SECRET if signer == "provider" else "another"
        mac = hmac.new(key.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
        signed = {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={mac}"}
        return replace(called(body, {} if signer == "nobody" else signed), received=at)

    async def test_request(self) -> None:
        """Text and blocks go to the person; the message is known by channel and time."""
        blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "*Hi*"}}]
        async with self.stage("accepts") as stage:
            content = Content({}, text="Hi", json={"blocks": blocks, "channel": "C_ELSEWHERE"})
            receipt = await stage.channel.send(self.message(content=content))
            (request,) = self.heard(stage)
        assert (request.target, request.headers["authorization"]) == ("/api/chat.postMessage", f"Bearer {TOKEN}")
        assert request.json == {"text": "Hi", "blocks": blocks, "channel": "U2147483697"}
        assert receipt == Receipt(Result.ACCEPTED, provider_id="C123ABC456:1503435956.000247")

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            ("channel_not_found", Receipt(Result.REFUSED, words="channel_not_found", suppress="invalid_address")),
            ("not_in_channel", Receipt(Result.REFUSED, words="not_in_channel")),
            ("invalid_auth", Receipt(Result.LATER, words=f"invalid_auth: {OURS}")),
            ("ratelimited", Receipt(Result.LATER, words="ratelimited")),
            ("internal_error", Receipt(Result.UNKNOWN, words="internal_error")),
            ("fatal_error", Receipt(Result.UNKNOWN, words="fatal_error")),
        ],
    )
    async def test_errors(self, error: str, expected: Receipt) -> None:
        """An error with status 200 is read by its word."""
        assert await self.answered(self.refusal(error)) == expected

    async def test_odd_answers(self) -> None:
        """Without `ok` nobody knows; an address that is no id isn't asked about."""
        assert (await self.answered(answer(200, b"<html>"))).result == Result.UNKNOWN
        assert (await self.answered(b"", to="#general")).suppress == "invalid_address"

    async def test_challenge(self) -> None:
        """Slack's question whether the URL is ours is answered where it is Slack's; events are none."""
        channel = self.alone()
        asked = b'{"token": "Jhj5dZrVaK7ZwHHjRyZWjbDl", "challenge": "3eZbrw1aBm2r", "type": "url_verification"}'
        assert await channel.challenge(self.notice(asked, NOW, "provider")) == "3eZbrw1aBm2r"
        assert await channel.challenge(self.notice(event(**SAID), NOW, "provider")) is None
        with pytest.raises(Forged):
            await channel.challenge(self.notice(asked, NOW, "stranger"))

    async def test_documented_signature(self) -> None:
        """The example on Slack's page about signatures is taken at its own time."""
        body = (
            b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
            b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
            b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121."
            b"803a0bc887a14d10d2c447fce8b6703c"
        )
        signed = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
        headers = {"x-slack-request-timestamp": "1531420618", "x-slack-signature": signed}
        at = datetime.fromtimestamp(1531420618, UTC)
        with pytest.raises(ValueError, match="not JSON"):  # rightly signed, and a slash command
            await self.alone().parse_webhook(replace(called(body, headers), received=at))
        with pytest.raises(Forged, match="too far from now"):
            await self.alone().parse_webhook(called(body, headers))

    async def test_without_a_secret(self) -> None:
        """Where no signing secret is set nothing is taken."""
        channel = self.alone(signing_secret="")
        with pytest.raises(Forged, match=r"isn't set in sojourn\.yaml"):
            await channel.parse_webhook(self.notice(event(**SAID), NOW, "provider"))
