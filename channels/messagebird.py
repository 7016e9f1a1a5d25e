"""Texts by MessageBird, which is now called Bird: its Channels API, and the webhooks of its Notifications API.

From Bird's documentation, read 2026-11-22: "Send an SMS message" (202 with `id`; AccessKey), "Common API usage" (errors as `code`
and `message`, 429), "Message status and interactions", "Verifying a webhook subscription" (HMAC-SHA256 over time, URL and the
body's hash). There is no idempotency key: an unknown outcome counts as sent. The older REST API (rest.messagebird.com) is not
spoken.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from pydantic import Field, SecretStr

from engine.delivery.channel import Capabilities, Feedback, Notice, Outgoing, Receipt
from engine.delivery.http import Credential, HttpAdapter, HttpSettings, ProviderUrl
from engine.delivery.notices import epoch, every, fresh, iso, mac, part, read_json, same, text
from engine.delivery.wording import extras, number_of, text_of

KINDS = {"delivered": "delivered", "delivery_failed": "bounced", "sending_failed": "failed", "rejected": "failed"}
"""A status → what it means to us; `accepted`, `processing` and `sent` are on the way."""

RECEIPTS = frozenset({*KINDS.values(), "received"})

UUID = r"^[0-9a-fA-F-]{36}$"


class Settings(HttpSettings):
    """`workspace` and `channel_id`: of the SMS channel. `signing_key`: of the webhook subscription to `sms.outbound` and
    `sms.inbound`."""

    access_key: Credential
    workspace: str = Field(pattern=UUID)
    channel_id: str = Field(pattern=UUID)
    signing_key: SecretStr = SecretStr("")
    base_url: ProviderUrl = "https://api.bird.com"
    max_bytes: int = Field(default=100_000, ge=1_000)


class MessageBird(HttpAdapter):
    """One SMS channel of a workspace."""

    def __init__(self, settings: Settings) -> None:
        s = self.settings = settings
        secrets = [s.access_key.get_secret_value(), s.signing_key.get_secret_value()]
        super().__init__(s.base_url, secrets=secrets, **s.limits)
        self.capabilities = Capabilities(address="phone", concurrency=s.concurrency, local=self.local, receipts=RECEIPTS)

    async def send(self, message: Outgoing) -> Receipt:
        """One POST; the number that it comes from is the channel's. The template's JSON adds fields, such as `body`. Raises
        ValueError where it has no text."""
        to = number_of(message)
        if isinstance(to, Receipt):
            return to
        s = self.settings
        answer = await self.ask(
            "POST",
            f"/workspaces/{s.workspace}/channels/{s.channel_id}/messages",
            headers={"Authorization": f"AccessKey {s.access_key.get_secret_value()}"},
            json={
                "body": {"type": "text", "text": {"text": text_of(message)}},
                **extras(message),
                "receiver": {"contacts": [{"identifierKey": "phonenumber", "identifierValue": to}]},
            },
        )
        if isinstance(answer, Receipt):
            return answer
        code = text(answer.json, "code")
        words = f"{code}: {text(answer.json, 'message')}" if code else ""
        return self.receipt(answer, id=text(answer.json, "id"), words=words)

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """A status of a text of ours, or a text that somebody sent us."""
        stamp = notice.headers.get("messagebird-request-timestamp", "")
        signed = f"{stamp}\n{notice.url}\n".encode() + sha256(notice.body).digest()
        expected = b64encode(mac(self.settings.signing_key.get_secret_value(), signed)).decode()
        same(notice.headers.get("messagebird-signature", ""), expected)
        fresh(notice, epoch(stamp))
        told = read_json(notice.body)
        read = _received if text(told, "event").endswith(".inbound") else _status
        return [feedback for payload in every(told, "payload") for feedback in read(payload)]


def _received(payload: dict[str, Any]) -> list[Feedback]:
    return [
        Feedback(
            "received",
            address=text(part(part(payload, "sender"), "contact"), "identifierValue"),
            at=iso(payload.get("createdAt")),
            words=text(part(part(payload, "body"), "text"), "text"),
            id=text(payload, "id"),
            raw=payload,
        )
    ]


def _status(payload: dict[str, Any]) -> list[Feedback]:
    found, status = text(payload, "id"), text(payload, "status")
    kind = KINDS.get(status)
    if kind is None:
        return []
    return [
        Feedback(
            kind,  # type: ignore[arg-type]  # KINDS holds kinds
            provider_id=found,
            address=next((text(c, "identifierValue") for c in every(payload, "receiver", "contacts")), ""),
            at=iso(payload.get("lastStatusAt")),
            words=f"{status} {text(payload, 'reason')}".strip(),
            id=f"{found}/{status}",
            raw=payload,
        )
    ]


def channel(config: Mapping[str, object]) -> MessageBird:
    """The channel for `config`, see Settings."""
    return MessageBird(Settings.model_validate(config))
