"""E-mail through Brevo.

Facts from Brevo's developer documentation, read 2026-11-22: "Send a transactional email" (`POST /v3/smtp/email`, 201 with
`messageId`), "Batch send transactional emails" (the versions of a batch share their headers, so that each could not have its own
link to unsubscribe: none are used), "Idempotency for batch emails" (a UUID, for 30 minutes only, and nothing is said of what a
repeat is answered: not used), "Transactional webhooks" (an event to a call; `X-Mailin-custom` comes back in it) and "Secure
webhook calls" (a bearer token of one's own; Brevo signs nothing).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, SecretStr

from channels.letter import Letter, Mailer, MailSettings, person
from engine.delivery.channel import Feedback, Notice, Receipt
from engine.delivery.http import Credential, ProviderUrl
from engine.delivery.notices import epoch, objects, read_json, same, text

KINDS: Mapping[str, Literal["delivered", "opened", "clicked", "bounced", "complained", "unsubscribed", "failed"]] = {
    "delivered": "delivered",
    "opened": "opened",
    "proxy_open": "opened",
    "click": "clicked",
    "hard_bounce": "bounced",
    "soft_bounce": "bounced",
    "spam": "complained",
    "unsubscribed": "unsubscribed",
    "blocked": "failed",
    "invalid_email": "failed",
    "error": "failed",
}
"""Its events; "request" and "deferred" are no outcome yet, and "unique_opened" and "unique_proxy_open" tell again what an
"opened" or "proxy_open" of the same moment does."""

SUPPRESS = {"hard_bounce": "hard_bounce", "spam": "complaint", "invalid_email": "invalid_address"}


class Settings(MailSettings):
    """`token`: an API key. `webhook_token`: the bearer token that the webhook was created with."""

    token: Credential
    webhook_token: SecretStr = SecretStr("")
    max_bytes: int = Field(default=10_000_000, ge=1_000, le=20_000_000)
    base_url: ProviderUrl = "https://api.brevo.com"


class Brevo(Mailer):
    """One Brevo account."""

    receipts = frozenset(KINDS.values())

    def __init__(self, settings: Settings) -> None:
        token, bearer = settings.token.get_secret_value(), settings.webhook_token.get_secret_value()
        super().__init__(settings.base_url, settings, [token, bearer])
        self._headers = {"api-key": token, "Accept": "application/json"}
        self._bearer = f"Bearer {bearer}" if bearer else ""

    async def post(self, ready: Letter) -> Receipt:
        """See "Send a transactional email"."""
        parts = {
            "replyTo": ready.reply_to and person(ready.reply_to),
            "textContent": ready.text,
            "htmlContent": ready.html,
        }
        mail = {
            "sender": person(ready.sender),
            "to": [{"email": ready.to}],
            "subject": ready.subject,
            "headers": {**ready.headers, "X-Mailin-custom": ready.key},
            **{name: value for name, value in parts.items() if value is not None},
        }
        answer = await self.ask("POST", "/v3/smtp/email", json=mail, headers=self._headers)
        if isinstance(answer, Receipt):
            return answer
        told = answer.json
        words = f"{text(told, 'code')} {text(told, 'message')}".strip()
        return self.receipt(answer, id=text(told, "messageId"), words=words)

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """One event to a call, or several in a batched webhook."""
        same(notice.headers.get("authorization", ""), self._bearer)
        return [_feedback(event) for event in objects(read_json(notice.body)) if text(event, "event") in KINDS]


def _feedback(event: dict[str, Any]) -> Feedback:
    name = text(event, "event")
    return Feedback(
        KINDS[name],
        key=text(event, "X-Mailin-custom"),
        provider_id=text(event, "message-id"),
        address=text(event, "email"),
        at=epoch(text(event, "ts_event")),
        words=text(event, "reason"),
        suppress=SUPPRESS.get(name),
        raw=event,
        url=text(event, "link"),
        machine="proxy" in name,
    )


def channel(config: Mapping[str, object]) -> Brevo:
    """The channel for `config`, see Settings."""
    return Brevo(Settings.model_validate(config))
