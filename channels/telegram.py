"""Messages to people who have started a Telegram bot, by sendMessage, and what they write back.

From Telegram's documentation, read 2026-11-22: "Bot API: Making requests" (`ok`, `error_code`, `description`,
`parameters.retry_after`), "sendMessage" (4,096 characters), "setWebhook" (`secret_token` comes back in
X-Telegram-Bot-Api-Secret-Token), "Update", "ChatMemberUpdated". There is no idempotency key: an unknown outcome counts as sent.
Notices are signed by no time: a repeated one is told by its `update_id`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, SecretStr, field_validator

from engine.delivery.channel import Capabilities, Feedback, Forged, Notice, Outgoing, Receipt, Result
from engine.delivery.http import MAX_RETRY_AFTER, Credential, HttpAdapter, HttpSettings, ProviderUrl
from engine.delivery.notices import epoch, every, part, read_json, same, text
from engine.delivery.wording import extras, text_of, unusable

SUPPRESS = {
    "bot was blocked by the user": "stop",
    "user is deactivated": "invalid_address",
    "chat not found": "invalid_address",
    "bot was kicked": "stop",
}
"""What a description holds → why the chat isn't written to again; a "stop" ends where somebody starts the bot again."""

RECEIPTS = frozenset({"received", "unsubscribed"})


class Settings(HttpSettings):
    """`token`: the bot's, from BotFather. `secret_token`: what setWebhook was given."""

    token: Credential
    secret_token: SecretStr = SecretStr("")
    base_url: ProviderUrl = "https://api.telegram.org"
    max_bytes: int = Field(default=100_000, ge=1_000)

    @field_validator("token")
    @classmethod
    def _is_a_token(cls, written: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[0-9]{3,20}:[A-Za-z0-9_-]{10,100}", written.get_secret_value()):
            raise ValueError("it is no bot's token (123456:ABC…)")
        return written


class Telegram(HttpAdapter):
    """One bot."""

    def __init__(self, settings: Settings) -> None:
        s = self.settings = settings
        self._token = s.token.get_secret_value()
        secrets = [self._token, self._token.partition(":")[2], s.secret_token.get_secret_value()]
        super().__init__(s.base_url, secrets=secrets, **s.limits)
        self.capabilities = Capabilities(address="telegram", concurrency=s.concurrency, local=self.local, receipts=RECEIPTS)

    async def send(self, message: Outgoing) -> Receipt:
        """One POST to the chat whose id is the address. The template's JSON adds parameters, such as `parse_mode`. Raises
        ValueError where it has no text."""
        chat = message.to.strip()
        if not re.fullmatch(r"-?[0-9]{1,20}|@[A-Za-z0-9_]{4,32}", chat):
            return unusable("the address is no id of a chat of Telegram")
        body = {"text": text_of(message), **extras(message), "chat_id": chat}
        answer = await self.ask("POST", f"/bot{self._token}/sendMessage", json=body)
        if isinstance(answer, Receipt):
            return answer
        said, sent = text(answer.json, "description"), text(part(answer.json, "result"), "message_id")
        suppress = next((why for what, why in SUPPRESS.items() if what in said), None)
        receipt = self.receipt(
            answer, id=f"{chat}:{sent}" if sent else "", words=said, suppress=suppress, recipient=answer.status == 403
        )
        if receipt.result is Result.LATER and receipt.retry_after is None:
            wait = part(answer.json, "parameters").get("retry_after")
            return Receipt(Result.LATER, words=receipt.words, retry_after=_seconds(wait))
        return receipt

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """What people wrote, and who blocked the bot. `provider_id` is the message of ours that was answered."""
        secret = self.settings.secret_token.get_secret_value()
        if not secret:
            raise Forged("`secret_token` isn't set in sojourn.yaml")
        same(notice.headers.get("x-telegram-bot-api-secret-token", ""), secret)
        update = read_json(notice.body)
        told = [
            Feedback(
                "received",
                provider_id=_answered(message),
                address=text(part(message, "chat"), "id"),
                at=epoch(message.get("date")),
                words=text(message, "text"),
                id=text(update, "update_id"),
                raw=message,
            )
            for message in every(update, "message")
        ]
        return told + [f for change in every(update, "my_chat_member") for f in _member(change, text(update, "update_id"))]


def _member(change: dict[str, Any], id: str) -> list[Feedback]:
    """Who blocks the bot has stopped; who then lets it in again has started."""
    address, at = text(part(change, "chat"), "id"), epoch(change.get("date"))
    before, after = (text(part(change, name), "status") for name in ("old_chat_member", "new_chat_member"))
    if after == "kicked":
        return [Feedback("unsubscribed", address=address, at=at, words="blocked the bot", suppress="stop", id=id, raw=change)]
    if before == "kicked" and after == "member":
        return [Feedback("received", address=address, at=at, words="start", id=id, raw=change)]
    return []


def _answered(message: dict[str, Any]) -> str:
    """The message of ours that this one answers, as `send` named it; "" for none."""
    earlier = text(part(message, "reply_to_message"), "message_id")
    return f"{text(part(message, 'chat'), 'id')}:{earlier}" if earlier else ""


def _seconds(wait: object) -> float | None:
    return min(max(float(wait), 0.0), MAX_RETRY_AFTER) if isinstance(wait, (int, float)) else None


def channel(config: Mapping[str, object]) -> Telegram:
    """The channel for `config`, see Settings."""
    return Telegram(Settings.model_validate(config))
