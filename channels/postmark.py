"""E-mail through Postmark, one by one or 500 in a request.

Facts from Postmark's developer documentation, read 2026-11-22: "Email API" (`POST /email`, `/email/batch`: 500 messages, 50 MB),
"API error codes" (422 with an ErrorCode; 406 is an address that Postmark has made inactive), "Custom metadata" (a value has at
most 80 characters), and the pages of the webhooks (Bounce, Delivery, Open, Click, Spam complaint, Subscription change). Postmark
has no idempotency keys, and signs no webhook: it sends the user and password that stand in the webhook's URL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, SecretStr

from channels.letter import BatchMailer, Letter, MailSettings, named
from engine.delivery.channel import Feedback, Notice, Receipt, Result
from engine.delivery.http import MAX_ANSWER, Answer, Credential, ProviderUrl, basic
from engine.delivery.notices import iso, objects, part, read_json, same, text

MAX_METADATA = 80
"""Characters of a value; a message whose key is longer is found by Postmark's id alone."""

MAX_TOLD = 1_024
"""Bytes of what is told of one letter of a batch; a letter that is taken has 160."""

INACTIVE, MAINTENANCE = 406, 100

HARD = frozenset({"HardBounce", "BadEmailAddress"})
SOFT = frozenset({"SoftBounce", "DnsError", "SpamNotification", "Blocked", "SMTPApiError", "DMARCPolicy", "ManuallyDeactivated"})
"""Bounces after which Postmark tries no more. "Transient" ones it tries again."""


class Settings(MailSettings):
    """`token`: the server's API token. `stream`: the message stream. `webhook_user`, `webhook_password`: those in the webhook's
    URL."""

    token: Credential
    stream: str = "outbound"
    webhook_user: str = ""
    webhook_password: SecretStr = SecretStr("")
    max_bytes: int = Field(default=10_000_000, ge=1_000, le=50_000_000)
    base_url: ProviderUrl = "https://api.postmarkapp.com"


class Postmark(BatchMailer):
    """One server of a Postmark account."""

    receipts = frozenset({"delivered", "bounced", "complained", "opened", "clicked", "unsubscribed"})

    def __init__(self, settings: Settings) -> None:
        token, password = settings.token.get_secret_value(), settings.webhook_password.get_secret_value()
        self._login = basic(settings.webhook_user, password) if password else ""
        super().__init__(settings.base_url, settings, [token, password, self._login.removeprefix("Basic ")], batch=500)
        self._stream = settings.stream
        self._headers = {"X-Postmark-Server-Token": token, "Accept": "application/json"}

    def body(self, ready: Letter) -> dict[str, Any]:
        """See "Email API"."""
        parts = {"ReplyTo": ready.reply_to and named(ready.reply_to), "TextBody": ready.text, "HtmlBody": ready.html}
        return {
            "From": named(ready.sender),
            "To": ready.to,
            "Subject": ready.subject,
            "MessageStream": self._stream,
            "Headers": [{"Name": name, "Value": value} for name, value in ready.headers.items()],
            "Metadata": {"key": ready.key} if len(ready.key) <= MAX_METADATA else {},
            **{name: value for name, value in parts.items() if value is not None},
        }

    async def post(self, ready: Letter) -> Receipt:
        """One request for one letter."""
        answer = await self.ask("POST", "/email", json=self.body(ready), headers=self._headers)
        return answer if isinstance(answer, Receipt) else self._read(answer, answer.value)

    async def post_batch(self, bodies: Sequence[dict[str, Any]]) -> list[Receipt]:
        """Postmark judges each letter of a batch by itself, and answers 200 with a list in the same order."""
        most = max(MAX_ANSWER, MAX_TOLD * len(bodies))
        answer = await self.ask("POST", "/email/batch", json=bodies, headers=self._headers, most=most)
        if isinstance(answer, Receipt):
            return [answer] * len(bodies)
        if answer.status != 200:
            return [self._read(answer, answer.value)] * len(bodies)
        told = answer.value if isinstance(answer.value, list) else []
        return [self._read(answer, told[n] if n < len(told) else None) for n in range(len(bodies))]

    def _read(self, answer: Answer, told: Any) -> Receipt:
        """What is told of one letter: ErrorCode 0 means that it is taken, and stands in a batch's 200 too."""
        code = told.get("ErrorCode") if isinstance(told, dict) else None
        words = f"{code} {text(told, 'Message')}" if code is not None else ""
        if code == MAINTENANCE:
            return Receipt(Result.LATER, words=self.blotted(words))
        if answer.status != 200:
            return self.receipt(answer, words=words, suppress="inactive" if code == INACTIVE else None)
        if code is None:
            return self.unreadable(answer)
        if code == 0:
            return self.receipt(answer, id=text(told, "MessageID"))
        suppress = "inactive" if code == INACTIVE else None
        return Receipt(Result.REFUSED, words=self.blotted(words), suppress=suppress)

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """One notice to a call; what is no news of a message (a reactivated address) is nothing."""
        same(notice.headers.get("authorization", ""), self._login)
        return [feedback for told in objects(read_json(notice.body)) for feedback in _feedback(told)]


def _feedback(told: dict[str, Any]) -> list[Feedback]:
    record, kind, suppress = text(told, "RecordType"), None, None
    if record == "Bounce" and text(told, "Type") in HARD:
        kind, suppress = "bounced", "hard_bounce"
    elif record == "Bounce" and text(told, "Type") in SOFT:
        kind = "bounced"
    elif record == "SpamComplaint":
        kind, suppress = "complained", "complaint"
    elif record == "SubscriptionChange":
        left = told.get("SuppressSending") is True and text(told, "SuppressionReason") == "ManualSuppression"
        kind = "unsubscribed" if left and text(told, "Origin") == "Recipient" else None
    else:
        kind = {"Delivery": "delivered", "Open": "opened", "Click": "clicked"}.get(record)
    if kind is None:
        return []
    return [
        Feedback(
            kind,  # type: ignore[arg-type]  # one of the kinds above
            key=text(part(told, "Metadata"), "key"),
            provider_id=text(told, "MessageID"),
            address=text(told, "Recipient", "Email"),
            at=iso(text(told, "DeliveredAt", "BouncedAt", "ReceivedAt", "ChangedAt")),
            words=text(told, "Details", "Description"),
            suppress=suppress,
            raw=told,
            id=text(told, "ID"),
            url=text(told, "OriginalLink"),
        )
    ]


def channel(config: Mapping[str, object]) -> Postmark:
    """The channel for `config`, see Settings."""
    return Postmark(Settings.model_validate(config))
