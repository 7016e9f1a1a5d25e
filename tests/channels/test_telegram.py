"""Telegram's adapter: conformance, its parameters, its errors, its updates."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from engine.delivery.channel import ChannelError, Content, Feedback, Forged, Notice, Receipt, Result
from engine.delivery.testing import NOW, Signer
from tests.channels.http_sink import Request, says
from tests.channels.phones import PhoneCases, called

TOKEN, SECRET = "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11", "hook-secret-81c2"
CHAT = {"id": 1111111, "first_name": "Ada", "type": "private"}
AT = datetime(2015, 9, 7, 12, 26, 54, tzinfo=UTC)


def error(code: int, description: str, **parameters: object) -> bytes:
    """An error as Telegram words it."""
    return says(code, {"ok": False, "error_code": code, "description": description, "parameters": parameters})


def member(update: int, before: str, after: str) -> bytes:
    """Somebody's blocking of the bot, or the end of it."""
    change = {
        "chat": CHAT,
        "from": CHAT,
        "date": 1441628814,
        "old_chat_member": {"status": before},
        "new_chat_member": {"status": after, "until_date": 0},
    }
    return json.dumps({"update_id": update, "my_chat_member": change}).encode()


class TestTelegram(PhoneCases):
    """Every conformance case, and what is Telegram's own."""

    use = "channels.telegram"
    to = "1111111"
    settings: ClassVar = {"token": TOKEN, "secret_token": SECRET}
    secrets = (TOKEN, "ABC-DEF1234ghIkl-zyx57W2v1u123ew11", SECRET)
    max_age = None
    replies: ClassVar = {"busy_for": error(429, "Too Many Requests: retry after 7", retry_after=7)}
    told: ClassVar = [
        (
            json.dumps(
                {
                    "update_id": 10000,
                    "message": {
                        "date": 1441628814,
                        "chat": CHAT,
                        "message_id": 1365,
                        "from": CHAT,
                        "text": "/start",
                        "reply_to_message": {"message_id": 1300, "chat": CHAT},
                    },
                }
            ).encode(),
            [Feedback("received", "", "1111111:1300", "1111111", AT, "/start", id="10000")],
        ),
        (
            member(10001, "member", "kicked"),
            [Feedback("unsubscribed", "", "", "1111111", AT, "blocked the bot", "stop", id="10001")],
        ),
        (member(10003, "kicked", "member"), [Feedback("received", "", "", "1111111", AT, "start", id="10003")]),
        (member(10004, "left", "member"), []),
        (b'{"update_id": 10002, "edited_message": {"message_id": 1}}', []),
    ]

    def accepts(self, request: Request) -> bytes:
        return says(200, {"ok": True, "result": {"message_id": 1366, "chat": CHAT, "date": 1441628815, "text": "x"}})

    def refusal(self, words: str) -> bytes:
        return error(400, f"Bad Request: {words}")

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        said = {"provider": SECRET, "stranger": "another", "nobody": ""}[signer]
        return replace(called(body, {"x-telegram-bot-api-secret-token": said} if said else {}), received=at)

    async def test_request(self) -> None:
        """The text goes to the chat, under the bot's own path; the message is known by chat and number."""
        async with self.stage("accepts") as stage:
            content = Content({}, text="*Hi*", json={"parse_mode": "MarkdownV2", "chat_id": 7})
            receipt = await stage.channel.send(self.message(content=content))
            (request,) = self.heard(stage)
        assert request.target == f"/bot{TOKEN}/sendMessage"
        assert request.json == {"text": "*Hi*", "parse_mode": "MarkdownV2", "chat_id": "1111111"}
        assert receipt == Receipt(Result.ACCEPTED, provider_id="1111111:1366")

    async def test_errors(self) -> None:
        """Who blocked the bot isn't written to again; a message that is wrong says nothing about its chat."""
        blocked = await self.answered(error(403, "Forbidden: bot was blocked by the user"))
        assert blocked == Receipt(Result.REFUSED, words="403 Forbidden: bot was blocked by the user", suppress="stop")
        assert (await self.answered(error(400, "Bad Request: chat not found"))).suppress == "invalid_address"
        shy = await self.answered(error(403, "Forbidden: bot can't initiate conversation with a user"))
        assert (shy.result, shy.suppress) == (Result.REFUSED, None)
        assert (await self.answered(error(401, "Unauthorized"))).result == Result.LATER
        wrong = await self.answered(error(400, "Bad Request: message text is empty"))
        assert (wrong.result, wrong.suppress) == (Result.REFUSED, None)
        for odd in ("soon", None, [7], -1):
            busy = await self.answered(error(429, "Too Many Requests", retry_after=odd))
            assert (busy.result, busy.retry_after) == (Result.LATER, 0.0 if odd == -1 else None)
        assert (await self.answered(b"", to="Ada Lovelace")).suppress == "invalid_address"

    async def test_without_a_secret(self) -> None:
        """Where no secret token is set nothing is taken; a token that is none is refused without being quoted."""
        with pytest.raises(Forged, match=r"isn't set in sojourn\.yaml"):
            await self.alone(secret_token="").parse_webhook(self.notice(b"{}", NOW, "nobody"))
        with pytest.raises(ChannelError, match="no bot's token") as refused:
            self.alone(token="s3cret")
        assert "s3cret" not in str(refused.value)
