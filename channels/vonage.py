"""Texts by Vonage's Messages API, and its signed webhooks.

From Vonage's documentation, read 2026-11-22: "Messages API reference" (202 with `message_uuid`; `client_ref`, 100 characters;
errors as `title` and `detail`; 429), "Authentication" (a JWT signed with the application's key by RS256), "Decoding signed
webhooks" (a JWT signed with the signature secret by HS256, `payload_hash` is the body's SHA-256), "Messages API status
callbacks". There is no idempotency key: an unknown outcome counts as sent.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field, SecretStr

from engine.delivery.channel import Capabilities, Feedback, Forged, MissingPackage, Notice, Outgoing, Receipt
from engine.delivery.grants import PrivateKey, signing_key
from engine.delivery.http import HttpAdapter, HttpSettings, ProviderUrl
from engine.delivery.notices import epoch, fresh, iso, part, read_json, same, text
from engine.delivery.wording import extras, number_of, text_of

try:
    import jwt
    from jwt.types import Options
except ImportError as missing:
    raise MissingPackage("sojourn[vonage]") from missing

KINDS = {"delivered": "delivered", "read": "opened", "rejected": "bounced", "undeliverable": "failed"}
"""A status → what it means to us; `submitted` is on the way."""

RECEIPTS = frozenset({*KINDS.values(), "received"})

LONGEST_REF = 100
"""Characters of a `client_ref`. A longer key stays here: the message is then found by its uuid."""

LASTS = 900
"""Seconds that a token of ours is good for."""


class Settings(HttpSettings):
    """`application_id` and `private_key` (its text): of an application with the capability Messages. `signature_secret`: the
    account's, which signs webhooks."""

    application_id: str = Field(pattern=r"^[0-9a-fA-F-]{36}$")
    private_key: PrivateKey
    signature_secret: SecretStr = SecretStr("")
    base_url: ProviderUrl = "https://api.nexmo.com"
    max_bytes: int = Field(default=100_000, ge=1_000)


class Vonage(HttpAdapter):
    """One application. `clock` gives the seconds since 1970 that are signed."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        s = self.settings = settings
        secrets = [s.private_key.get_secret_value(), s.signature_secret.get_secret_value()]
        super().__init__(s.base_url, secrets=secrets, **s.limits)
        self.capabilities = Capabilities(address="phone", concurrency=s.concurrency, local=self.local, receipts=RECEIPTS)
        self._clock, self._key = clock, signing_key(s.private_key.get_secret_value())
        self._token, self._ends = "", 0.0

    def _authorization(self) -> str:
        now = self._clock()
        if now >= self._ends - LASTS / 3:
            claims = {"application_id": self.settings.application_id, "iat": int(now), "exp": int(now) + LASTS}
            claims["jti"] = str(uuid.uuid4())
            self._token = jwt.encode(claims, self._key, algorithm="RS256")
            self._ends = now + LASTS
        return f"Bearer {self._token}"

    async def send(self, message: Outgoing) -> Receipt:
        """One POST. The template's JSON adds fields, such as `sms` or `ttl`. Raises ValueError where it has no text."""
        to = number_of(message)
        if isinstance(to, Receipt):
            return to
        body = {
            "channel": "sms",
            "message_type": "text",
            "from": message.sender.get("from", "").removeprefix("+"),
            "text": text_of(message),
            **({"client_ref": message.key} if len(message.key) <= LONGEST_REF else {}),
            **extras(message),
            "to": to[1:],
        }
        answer = await self.ask("POST", "/v1/messages", headers={"Authorization": self._authorization()}, json=body)
        if isinstance(answer, Receipt):
            return answer
        title = text(answer.json, "title")
        words = f"{title}: {text(answer.json, 'detail')}" if title else answer.words
        words = words.replace(self._token, "[secret]")
        return self.receipt(answer, id=text(answer.json, "message_uuid"), words=words)

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """A status of a text of ours, or a text that somebody sent us."""
        self._check(notice)
        told = read_json(notice.body)
        found, status, at = text(told, "message_uuid"), text(told, "status"), iso(text(told, "timestamp"))
        if not status and text(told, "text"):
            words, sender = text(told, "text"), f"+{text(told, 'from')}"
            return [Feedback("received", address=sender, at=at, words=words, id=found, raw=told)]
        kind = KINDS.get(status)
        if kind is None:
            return []
        error = part(told, "error")
        return [
            Feedback(
                kind,  # type: ignore[arg-type]  # KINDS holds kinds
                key=text(told, "client_ref"),
                provider_id=found,
                address=f"+{text(told, 'to')}",
                at=at,
                words=f"{status} {text(error, 'title')} {text(error, 'detail')}".strip(),
                id=f"{found}/{status}",
                raw=told,
            )
        ]

    def _check(self, notice: Notice) -> None:
        secret, signed = self.settings.signature_secret.get_secret_value(), notice.headers.get("authorization", "")
        if not secret:
            raise Forged("`signature_secret` isn't set in sojourn.yaml")
        # Time is the notice's own, below.
        unasked = Options(verify_exp=False, verify_iat=False, verify_nbf=False, verify_aud=False)
        try:
            claims: dict[str, Any] = jwt.decode(signed.removeprefix("Bearer "), secret, algorithms=["HS256"], options=unasked)
        except (jwt.PyJWTError, UnicodeError):
            raise Forged("the signature is missing or wrong") from None
        same(text(claims, "payload_hash"), hashlib.sha256(notice.body).hexdigest())
        fresh(notice, epoch(claims.get("iat")))


def channel(config: Mapping[str, object]) -> Vonage:
    """The channel for `config`, see Settings."""
    return Vonage(Settings.model_validate(config))
