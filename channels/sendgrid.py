"""E-mail through Twilio SendGrid.

Facts from Twilio's SendGrid documentation, read 2026-11-22: "Mail Send" and "Limitations" (`POST /v3/mail/send`, 202 with
`X-Message-Id`, 30 MB, custom arguments up to 10 000 bytes, which are kept for long: ours hold no personal data), "Event Webhook
Reference" (an array of events, each with `sg_event_id` and our custom arguments) and "Getting started with the Event Webhook
security features" (ECDSA over timestamp and body). SendGrid has no idempotency keys; the letters of one request share their body.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field, field_validator

from channels.letter import Letter, Mailer, MailSettings, person
from engine.delivery.channel import Feedback, Forged, Notice, Receipt
from engine.delivery.http import Credential, ProviderUrl
from engine.delivery.notices import epoch, fresh, listed, objects, read_json, text

SIGNATURE, TIMESTAMP = "x-twilio-email-event-webhook-signature", "x-twilio-email-event-webhook-timestamp"

DROPPED = {"Bounced Address": "hard_bounce", "Spam Reporting Address": "complaint", "Invalid": "invalid_address"}
"""Why SendGrid didn't even try, where the address is of no more use."""

KINDS: Mapping[str, Literal["delivered", "opened", "clicked", "bounced", "complained", "unsubscribed", "failed"]] = {
    "delivered": "delivered",
    "bounce": "bounced",
    "dropped": "failed",
    "open": "opened",
    "click": "clicked",
    "spamreport": "complained",
    "unsubscribe": "unsubscribed",
    "group_unsubscribe": "unsubscribed",
}
"""Its events; "processed" and "deferred" are no outcome yet. A bounce of the type "blocked" may pass another time."""


def _public_key(written: str) -> ec.EllipticCurvePublicKey:
    key = serialization.load_der_public_key(base64.b64decode(written, validate=True))
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("not a key for ECDSA")
    return key


class Settings(MailSettings):
    """`token`: an API key that may send. `webhook_key`: the verification key that SendGrid shows for the signed event webhook.
    `base_url`: https://api.eu.sendgrid.com for subusers in the EU."""

    token: Credential
    webhook_key: str = ""
    max_bytes: int = Field(default=10_000_000, ge=1_000, le=30_000_000)
    base_url: ProviderUrl = "https://api.sendgrid.com"

    @field_validator("webhook_key")
    @classmethod
    def _is_a_key(cls, written: str) -> str:
        if written:
            try:
                _public_key(written)
            except ValueError:
                raise ValueError("it is not the verification key of a signed event webhook") from None
        return written


class SendGrid(Mailer):
    """One SendGrid account."""

    receipts = frozenset(KINDS.values())

    def __init__(self, settings: Settings) -> None:
        token = settings.token.get_secret_value()
        super().__init__(settings.base_url, settings, [token])
        self._headers = {"Authorization": f"Bearer {token}"}
        self._key = _public_key(settings.webhook_key) if settings.webhook_key else None

    async def post(self, ready: Letter) -> Receipt:
        """See "Mail Send". Text comes before HTML, or it is refused."""
        bodies = (("text/plain", ready.text), ("text/html", ready.html))
        mail: dict[str, Any] = {
            "personalizations": [{"to": [{"email": ready.to}]}],
            "from": person(ready.sender),
            "subject": ready.subject,
            "content": [{"type": kind, "value": body} for kind, body in bodies if body],
            "custom_args": {"key": ready.key},
        }
        if ready.reply_to:
            mail["reply_to"] = person(ready.reply_to)
        if ready.headers:
            mail["headers"] = ready.headers
        answer = await self.ask("POST", "/v3/mail/send", json=mail, headers=self._headers)
        if isinstance(answer, Receipt):
            return answer
        words = "; ".join(text(error, "message") for error in listed(answer.json, "errors"))
        return self.receipt(answer, id=answer.headers.get("x-message-id", ""), words=words)

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """All events of one call."""
        signed, stamp = notice.headers.get(SIGNATURE, ""), notice.headers.get(TIMESTAMP, "")
        if self._key is None or not signed:
            raise Forged("the signature is missing, or `webhook_key` is not set")
        try:
            self._key.verify(base64.b64decode(signed), stamp.encode() + notice.body, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            raise Forged("the signature is wrong") from None
        fresh(notice, epoch(stamp))
        return [_feedback(event) for event in objects(read_json(notice.body)) if text(event, "event") in KINDS]


def _feedback(event: dict[str, Any]) -> Feedback:
    kind, why = KINDS[text(event, "event")], text(event, "reason", "response")
    suppress = {"complained": "complaint", "failed": DROPPED.get(text(event, "reason"))}.get(kind)
    if kind == "bounced" and text(event, "type") != "blocked":
        suppress = "hard_bounce"
    return Feedback(
        kind,
        key=text(event, "key"),
        provider_id=re.split(r"\.(?:filter|recvd)", text(event, "sg_message_id"))[0],
        address=text(event, "email"),
        at=epoch(text(event, "timestamp")),
        words=why,
        suppress=suppress,
        raw=event,
        id=text(event, "sg_event_id"),
        url=text(event, "url"),
        machine=event.get("sg_machine_open") is True,
    )


def channel(config: Mapping[str, object]) -> SendGrid:
    """The channel for `config`, see Settings."""
    return SendGrid(Settings.model_validate(config))
