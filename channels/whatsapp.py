"""WhatsApp messages by Meta's Cloud API: texts inside the 24 hours after somebody wrote, approved templates at any time.

From Meta's documentation, read 2026-11-22: "Cloud API: Messages" (fields, 4,096 characters), "Error codes" (rate limits by code,
whatever the status), "Webhooks: Getting started" (`hub.challenge`, X-Hub-Signature-256), "Webhooks: payload examples" (statuses,
messages). There is no idempotency key: an unknown outcome counts as sent. A signature holds no time: a repeated notice is told by
its `id`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, SecretStr

from engine.core.wire import Json
from engine.delivery.channel import Capabilities, Feedback, Notice, Outgoing, Receipt, Result
from engine.delivery.http import Answer, Credential, HttpAdapter, HttpSettings, ProviderUrl, retry_after
from engine.delivery.notices import epoch, every, form_of, mac, part, read_json, same, text
from engine.delivery.wording import extras, number_of, text_of

LATER = {4, 80007, 130429, 131048, 131056, 131057, 131016}
"""Rates and limits (of the app, the account, the sender, the pair), maintenance, and a service that is down."""

KINDS = {"delivered": "delivered", "read": "opened", "failed": "failed"}
"""A status → what it means to us; `sent` is on the way."""

RECEIPTS = frozenset({*KINDS.values(), "received"})


class Settings(HttpSettings):
    """`phone_number_id`: of the sender. `token`: a system user's. `app_secret` signs webhooks; `verify_token` is what Meta says
    when it asks whether the URL is ours. `version`: of the Graph API."""

    phone_number_id: str = Field(pattern=r"^[0-9]{5,32}$")
    token: Credential
    app_secret: SecretStr = SecretStr("")
    verify_token: SecretStr = SecretStr("")
    version: str = Field(default="v24.0", pattern=r"^v[0-9]{1,3}\.[0-9]{1,2}$")
    base_url: ProviderUrl = "https://graph.facebook.com"
    max_bytes: int = Field(default=100_000, ge=1_000)


class WhatsApp(HttpAdapter):
    """One sender."""

    def __init__(self, settings: Settings) -> None:
        s = self.settings = settings
        secrets = [one.get_secret_value() for one in (s.token, s.app_secret, s.verify_token)]
        super().__init__(s.base_url, secrets=secrets, **s.limits)
        self.capabilities = Capabilities(address="phone", concurrency=s.concurrency, local=self.local, receipts=RECEIPTS)

    async def send(self, message: Outgoing) -> Receipt:
        """One POST. The template's JSON is Meta's message in the place of the text, such as `{"template": {…}}`. Raises
        ValueError where it has neither."""
        to = number_of(message)
        if isinstance(to, Receipt):
            return to
        s = self.settings
        answer = await self.ask(
            "POST",
            f"/{s.version}/{s.phone_number_id}/messages",
            headers={"Authorization": f"Bearer {s.token.get_secret_value()}"},
            json={**_content(message), "messaging_product": "whatsapp", "recipient_type": "individual", "to": to[1:]},
        )
        return answer if isinstance(answer, Receipt) else self._read(answer)

    def _read(self, answer: Answer) -> Receipt:
        sent = next((text(message, "id") for message in every(answer.json, "messages")), "")
        error = part(answer.json, "error")
        words = f"{text(error, 'message')} {text(part(error, 'error_data'), 'details')}".strip()
        if error.get("code") in LATER and answer.status >= 400:
            return Receipt(Result.LATER, words=self.blotted(words), retry_after=retry_after(answer.headers))
        return self.receipt(answer, id=sent, words=words)

    async def challenge(self, notice: Notice) -> str | None:
        """Meta asks with GET whether the URL is ours, and says the verify token."""
        if notice.method != "GET":
            return None
        asked = form_of(notice)
        same(asked.get("hub.verify_token", ""), self.settings.verify_token.get_secret_value())
        return asked.get("hub.challenge", "")

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """Statuses of messages of ours, and what people wrote."""
        expected = "sha256=" + mac(self.settings.app_secret.get_secret_value(), notice.body).hex()
        same(notice.headers.get("x-hub-signature-256", ""), expected)
        values = every(read_json(notice.body), "entry", "changes", "value")
        return [f for s in every(values, "statuses") for f in _status(s)] + [_text(m) for m in every(values, "messages")]


def _content(message: Outgoing) -> dict[str, Json]:
    """`type` and what goes with it."""
    more = extras(message)
    kind = more.get("type") or next(iter(more), None)
    return {**more, "type": kind} if more else {"type": "text", "text": {"body": text_of(message)}}


def _status(status: dict[str, Any]) -> list[Feedback]:
    kind = KINDS.get(text(status, "status"))
    if kind is None:
        return []
    errors = [f"{text(e, 'code')} {text(e, 'message', 'title')}".strip() for e in every(status, "errors")]
    return [
        Feedback(
            kind,  # type: ignore[arg-type]  # KINDS holds kinds
            provider_id=text(status, "id"),
            address=f"+{text(status, 'recipient_id')}",
            at=epoch(status.get("timestamp")),
            words="; ".join(errors),
            id=f"{text(status, 'id')}/{text(status, 'status')}",
            raw=status,
        )
    ]


def _text(message: dict[str, Any]) -> Feedback:
    """A text, or the button that somebody pressed. `provider_id`: the message of ours that it answers."""
    pressed = part(message, "interactive")
    said = [part(message, "text"), part(message, "button"), part(pressed, "button_reply"), part(pressed, "list_reply")]
    return Feedback(
        "received",
        provider_id=text(part(message, "context"), "id"),
        address=f"+{text(message, 'from')}",
        at=epoch(message.get("timestamp")),
        words=next((words for one in said if (words := text(one, "body", "text", "title"))), ""),
        id=text(message, "id"),
        raw=message,
    )


def channel(config: Mapping[str, object]) -> WhatsApp:
    """The channel for `config`, see Settings."""
    return WhatsApp(Settings.model_validate(config))
