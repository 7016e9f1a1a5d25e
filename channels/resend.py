"""E-mail through Resend, one by one or up to 100 in a request.

Facts from Resend's documentation, read 2026-11-22: "Send email", "Send batch emails" (100), "Batch validation modes" (permissive:
each is judged by itself), "Idempotency keys" (256 characters, kept for 24 hours, of a whole request), "Errors", "Usage limits"
(five requests a second for a team), "Tags" (ASCII letters, digits, - and _; 256 characters), and for webhooks "Verify webhooks
requests" with Svix's "Verifying webhooks manually" (HMAC-SHA256 over id, timestamp and body).

A key stands for one request: alone a message may be tried again for a day without being sent twice; in a batch it may not.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator

from channels.letter import BatchMailer, Letter, MailSettings, named, packed, unpacked
from engine.delivery.channel import Feedback, Forged, Notice, Receipt, Result
from engine.delivery.http import Answer, Credential, ProviderUrl, header_key
from engine.delivery.notices import epoch, fresh, iso, listed, part, read_json, same, text

MAX_KEY = 256
"""Characters of an idempotency key and of a tag."""

KINDS: Mapping[str, Literal["delivered", "opened", "clicked", "bounced", "complained", "failed"]] = {
    "email.delivered": "delivered",
    "email.opened": "opened",
    "email.clicked": "clicked",
    "email.bounced": "bounced",
    "email.complained": "complained",
    "email.failed": "failed",
    "email.suppressed": "failed",
}
"""Its events; "email.sent" and "email.delivery_delayed" are no outcome yet."""


class Settings(MailSettings):
    """`token`: an API key. `batch`: letters to a request; above 1 Resend doesn't know a message again. `webhook_secret`: the
    signing secret, "whsec_…"."""

    token: Credential
    batch: int = Field(default=1, ge=1, le=100)
    webhook_secret: SecretStr = SecretStr("")
    max_bytes: int = Field(default=10_000_000, ge=1_000, le=40_000_000)
    base_url: ProviderUrl = "https://api.resend.com"

    @field_validator("webhook_secret")
    @classmethod
    def _is_base64(cls, written: SecretStr) -> SecretStr:
        try:
            _secret(written.get_secret_value())
        except ValueError:
            raise ValueError("it is not a signing secret of the form whsec_…") from None
        return written


class Resend(BatchMailer):
    """One Resend team."""

    receipts = frozenset(KINDS.values())

    def __init__(self, settings: Settings) -> None:
        token, secret = settings.token.get_secret_value(), settings.webhook_secret.get_secret_value()
        alone = settings.batch == 1
        super().__init__(settings.base_url, settings, [token, secret], batch=settings.batch, idempotent=alone)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._secret = _secret(secret)

    def body(self, ready: Letter) -> dict[str, Any]:
        """See "Send email"."""
        tag = packed(ready.key)
        parts = {"reply_to": ready.reply_to and named(ready.reply_to), "text": ready.text, "html": ready.html}
        return {
            "from": named(ready.sender),
            "to": [ready.to],
            "subject": ready.subject,
            "headers": ready.headers,
            "tags": [{"name": "key", "value": tag}] if len(tag) <= MAX_KEY else [],
            **{name: value for name, value in parts.items() if value is not None},
        }

    async def post(self, ready: Letter) -> Receipt:
        """One request for one letter, under its own key."""
        key = header_key(ready.key)
        key = key if len(key) <= MAX_KEY else hashlib.sha256(key.encode()).hexdigest()
        answer = await self.ask("POST", "/emails", json=self.body(ready), headers={**self._headers, "Idempotency-Key": key})
        return answer if isinstance(answer, Receipt) else self._read(answer)

    async def post_batch(self, bodies: Sequence[dict[str, Any]]) -> list[Receipt]:
        """Ids come for those that were taken, in order; errors name the place of those that weren't."""
        headers = {**self._headers, "x-batch-validation": "permissive"}
        answer = await self.ask("POST", "/emails/batch", json=bodies, headers=headers)
        if isinstance(answer, Receipt):
            return [answer] * len(bodies)
        told = answer.json
        if not 200 <= answer.status < 300:
            return [self._read(answer)] * len(bodies)
        errors = {text(error, "index"): text(error, "message") or "refused" for error in listed(told, "errors")}
        ids = iter([text(one, "id") for one in listed(told, "data")])
        lost = self.unreadable(answer)
        receipts = []
        for place in range(len(bodies)):
            if str(place) in errors:
                receipts.append(Receipt(Result.REFUSED, words=self.blotted(errors[str(place)])))
            else:
                id = next(ids, "")
                receipts.append(Receipt(Result.ACCEPTED, provider_id=self.blotted(id)) if id else lost)
        return receipts

    def _read(self, answer: Answer) -> Receipt:
        """A 409 says that an earlier try with this key is under way, or was taken: a body that differs came too late."""
        name, words = text(answer.json, "name"), text(answer.json, "message")
        if answer.status == 409 and name == "concurrent_idempotent_requests":
            return Receipt(Result.LATER, words=self.blotted(words))
        if answer.status == 409 and name == "invalid_idempotent_request":
            return Receipt(Result.ACCEPTED, words=self.blotted(words))
        return self.receipt(answer, words=f"{name} {words}".strip(), id=text(answer.json, "id"))

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """One event to a call. Several signatures may stand in its header, while a secret is being changed."""
        if not self._secret:
            raise Forged("`webhook_secret` is not set")
        id, stamp = notice.headers.get("svix-id", ""), notice.headers.get("svix-timestamp", "")
        signed = f"{id}.{stamp}.".encode("utf-8", "surrogatepass") + notice.body
        right = "v1," + base64.b64encode(hmac.new(self._secret, signed, hashlib.sha256).digest()).decode()
        same(notice.headers.get("svix-signature", "").split(), right)
        fresh(notice, epoch(stamp))
        told = read_json(notice.body)
        name, data = text(told, "type"), part(told, "data")
        if not name:
            raise ValueError("the notice holds no event")
        return [_feedback(id, name, told, data)] if name in KINDS else []


def _feedback(id: str, name: str, told: Any, data: dict[str, Any]) -> Feedback:
    kind, bounce = KINDS[name], part(data, "bounce")
    to = data.get("to")
    suppress = {"complained": "complaint", "bounced": "hard_bounce" if text(bounce, "type") == "Permanent" else None}.get(kind)
    return Feedback(
        kind,
        key=unpacked(text(part(data, "tags"), "key")),
        provider_id=text(data, "email_id"),
        address=to[0] if isinstance(to, list) and to and isinstance(to[0], str) else "",
        at=iso(text(told, "created_at")),
        words=text(bounce, "message") or text(part(data, "failed"), "reason") or text(part(data, "suppressed"), "message"),
        suppress=suppress,
        raw=told,
        id=id,
        url=text(part(data, "click"), "link"),
    )


def _secret(written: str) -> bytes:
    """The bytes of a signing secret."""
    return base64.b64decode(written.removeprefix("whsec_"), validate=True)


def channel(config: Mapping[str, object]) -> Resend:
    """The channel for `config`, see Settings."""
    return Resend(Settings.model_validate(config))
