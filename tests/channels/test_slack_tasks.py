"""Slack's receiver: conformance, a message with a button, and whoever presses it."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import ClassVar
from urllib.parse import urlencode

from engine.delivery.channel import Content, Feedback, Notice, Receipt, Result
from engine.delivery.testing import ANSWERS, Signer
from tests.channels.http_sink import Request, answer, says
from tests.channels.receivers import KEY, ReceiverCases, hook

TOKEN, SECRET = "xoxb-token-4c0", "signing-secret-8b1"


def pressed(action: str) -> bytes:
    """A press of a button, as documented."""
    payload = {
        "type": "block_actions",
        "user": {"id": "U0CA5", "username": "bea", "team_id": "T0CA5"},
        "container": {"type": "message", "message_ts": "1548261231.000200", "channel_id": "CBR2V3XEX"},
        "channel": {"id": "CBR2V3XEX", "name": "service"},
        "message": {"type": "message", "ts": "1548261231.000200", "text": "Call Ada"},
        "actions": [{"action_id": action, "block_id": "=qXel", "type": "button", "value": KEY, "action_ts": "1548426417.840180"}],
    }
    return urlencode({"payload": json.dumps(payload)}).encode()


class TestSlackTasks(ReceiverCases):
    """Every conformance case, and what is Slack's own."""

    use = "channels.slack_tasks"
    remote = "CBR2V3XEX:1548261231.000200"
    settings: ClassVar = {"token": TOKEN, "channel_id": "CBR2V3XEX", "signing_secret": SECRET}
    secrets = (TOKEN, SECRET)
    huge = None  # it is cut to what a block takes
    answers: ClassVar = {**ANSWERS, "garbles": Result.UNKNOWN}
    told: ClassVar = [
        (
            pressed("sojourn_task_done"),
            [
                Feedback(
                    "completed",
                    KEY,
                    "CBR2V3XEX:1548261231.000200",
                    at=datetime(2019, 1, 25, 14, 26, 57, 840180, tzinfo=UTC),
                    words="U0CA5",
                    id=f"{KEY}/done",
                )
            ],
        ),
        (pressed("another"), []),
    ]

    def accepts(self, request: Request) -> bytes:
        """As documented."""
        return says(200, {"ok": True, "channel": "CBR2V3XEX", "ts": "1548261231.000200", "message": {"text": "x"}})

    def refusal(self, words: str) -> bytes:
        """As documented."""
        return says(200, {"ok": False, "error": words})

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        """Time and body, signed."""
        stamp = str(int(at.timestamp()))
        key = SECRET if signer == "provider" else "another"
        mac = hmac.new(key.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
        headers = {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={mac}"}
        return hook(body, {} if signer == "nobody" else headers, at)

    async def test_request(self) -> None:
        """A message whose button holds the key; a member is named so that Slack tells them."""
        async with self.stage("accepts") as stage:
            receipt = await stage.channel.send(self.message(to="U0BEA"))
            await stage.channel.send(self.message(content=Content({}, text="x" * 10_000)))
        first, second = self.heard(stage)
        assert (first.target, first.headers["authorization"]) == ("/api/chat.postMessage", f"Bearer {TOKEN}")
        head, who, told, button = first.json["blocks"]
        assert (first.json["channel"], first.json["text"]) == ("CBR2V3XEX", "Call Ada (until 2026-11-24)")
        assert (head["text"]["text"], who["text"]["text"]) == ("Call Ada (until 2026-11-24)", "<@U0BEA>")
        assert told["text"] == {
            "type": "plain_text",
            "text": "She gave two stars.\n\nCustomer 41, journey post_purchase_care, step how_to_use",
        }
        assert button["elements"][0]["value"] == KEY
        assert len(second.json["blocks"][1]["text"]["text"]) <= 3_000
        assert receipt == Receipt(Result.ACCEPTED, provider_id=self.remote)

    async def test_a_name_is_no_member(self) -> None:
        """Nobody is told by a name that only begins as a member's id does: it stands in the text."""
        async with self.stage("accepts") as stage:
            await stage.channel.send(self.message(to="Ursula"))
        (heard,) = self.heard(stage)
        assert "For Ursula" in heard.json["blocks"][1]["text"]["text"]
        assert "<@" not in heard.body.decode()

    async def test_closing(self) -> None:
        """The message loses its button."""
        told, (request,) = await self.closed(self.accepts(Request("", "", {}, b"")))
        assert (told.result, request.target) == (Result.ACCEPTED, "/api/chat.update")
        assert request.json == {"channel": "CBR2V3XEX", "ts": "1548261231.000200", "text": "This task is over.", "blocks": []}
        gone, _ = await self.closed(self.refusal("message_not_found"))
        assert (gone.result, gone.words) == (Result.REFUSED, "message_not_found")

    async def test_closing_that_fails(self) -> None:
        """Slack says so with status 200 most often."""
        for reply, expected in ((says(500, {}), Result.UNKNOWN), (answer(429), Result.LATER)):
            assert (await self.closed(reply))[0].result == expected
