"""E-mail through Mailgun.

Facts from Mailgun's documentation, read 2026-11-22: "Messages" (`POST /v3/DOMAIN/messages`, a form with `h:` for headers and `v:`
for variables that come back in notices), "Webhooks", "Webhook payloads", and "Securing webhooks" (HMAC-SHA256 over timestamp and
token, neither of which says anything about the rest of the body). Mailgun has no idempotency keys, repeats a notice that wasn't
taken for eight hours, and its batches share one body.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field, SecretStr

from channels.letter import Letter, Mailer, MailSettings, named
from engine.delivery.channel import Feedback, Forged, Notice, Receipt
from engine.delivery.http import Credential, ProviderUrl, basic
from engine.delivery.notices import epoch, fresh, part, read_json, same, text

MAX_AGE = 30_000.0
"""Seconds: as long as Mailgun may go on repeating a notice. An older one is refused."""

NOT_AN_ADDRESS = "'to' parameter is not a valid address"
"""What a 400 says of a recipient that Mailgun can't read."""

REASONS = {"bounce": "hard_bounce", "suppress-bounce": "hard_bounce", "suppress-complaint": "complaint"}
"""Why a message failed for ever, where the address is of no more use."""

KINDS: Mapping[str, Literal["delivered", "opened", "clicked", "complained", "unsubscribed", "failed"]] = {
    "delivered": "delivered",
    "opened": "opened",
    "clicked": "clicked",
    "complained": "complained",
    "unsubscribed": "unsubscribed",
    "rejected": "failed",
    "failed": "failed",
}
"""Its events; a "failed" one of temporary severity is no outcome yet."""


class Settings(MailSettings):
    """`domain`: the sending domain. `token`: its API key. `webhook_key`: the HTTP webhook signing key. `base_url`:
    https://api.eu.mailgun.net for domains in the EU."""

    domain: str = Field(pattern=r"^[A-Za-z0-9.-]+$")
    token: Credential
    webhook_key: SecretStr = SecretStr("")
    max_bytes: int = Field(default=10_000_000, ge=1_000, le=25_000_000)
    base_url: ProviderUrl = "https://api.mailgun.net"


class Mailgun(Mailer):
    """One domain of a Mailgun account."""

    receipts = frozenset({*KINDS.values(), "bounced"})

    def __init__(self, settings: Settings) -> None:
        token, key = settings.token.get_secret_value(), settings.webhook_key.get_secret_value()
        login = basic("api", token)
        super().__init__(settings.base_url, settings, [token, key, login.removeprefix("Basic ")])
        self._path = f"/v3/{quote(settings.domain)}/messages"
        self._headers = {"Authorization": login}
        self._key = key.encode()

    async def post(self, ready: Letter) -> Receipt:
        """See "Messages"."""
        form = {"from": named(ready.sender), "to": ready.to, "subject": ready.subject, "v:key": ready.key}
        form |= {f"h:{name}": value for name, value in ready.headers.items()}
        parts = {"h:Reply-To": ready.reply_to and named(ready.reply_to), "text": ready.text, "html": ready.html}
        form |= {name: value for name, value in parts.items() if value is not None}
        answer = await self.ask("POST", self._path, data=form, headers=self._headers)
        if isinstance(answer, Receipt):
            return answer
        suppress = "invalid_address" if answer.status == 400 and NOT_AN_ADDRESS in answer.words else None
        return self.receipt(answer, id=text(answer.json, "id").strip("<>"), suppress=suppress)

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """One event to a call."""
        told = read_json(notice.body)
        self._check(notice, part(told, "signature"))
        event = part(told, "event-data")
        name = text(event, "event")
        if not name:
            raise ValueError("the notice holds no event")
        passing = name == "failed" and text(event, "severity") != "permanent"
        return [] if passing or name not in KINDS else [_feedback(event)]

    def _check(self, notice: Notice, signature: dict[str, Any]) -> None:
        """Raises Forged. A token stands for one body: whoever overheard it can repeat that one, which changes nothing, and no
        other, as whoever hears all notices sees to."""
        if not self._key:
            raise Forged("`webhook_key` is not set")
        stamp, token = text(signature, "timestamp"), text(signature, "token")
        signed = f"{stamp}{token}".encode("utf-8", "surrogatepass")
        same(text(signature, "signature"), hmac.new(self._key, signed, hashlib.sha256).hexdigest())
        fresh(notice, epoch(stamp), MAX_AGE)
        notice.tokens.add(token)


def _feedback(event: dict[str, Any]) -> Feedback:
    status, reason = part(event, "delivery-status"), text(event, "reason")
    kind = "bounced" if reason == "bounce" else KINDS[text(event, "event")]
    return Feedback(
        kind,
        key=text(part(event, "user-variables"), "key"),
        provider_id=text(part(part(event, "message"), "headers"), "message-id"),
        address=text(event, "recipient"),
        at=epoch(text(event, "timestamp")),
        words=" ".join(filter(None, (text(status, "code"), text(status, "message", "description"), reason))),
        suppress="complaint" if kind == "complained" else REASONS.get(reason),
        raw=event,
        id=text(event, "id"),
        url=text(event, "url"),
        machine=bool(text(part(event, "client-info"), "bot")),
    )


def channel(config: Mapping[str, object]) -> Mailgun:
    """The channel for `config`, see Settings."""
    return Mailgun(Settings.model_validate(config))
