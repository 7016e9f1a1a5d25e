"""Push to iPhones, iPads and Macs by Apple's Push Notification service: HTTP/2, with a provider token.

From Apple's documentation, read 2026-11-22: "Sending notification requests to APNs" (path, headers, 4,096 bytes), "Establishing a
token-based connection to APNs" (ES256; a token is renewed no sooner than after 20 minutes, and is refused after an hour),
"Handling notification responses from APNs" (reasons; 410 Unregistered and ExpiredToken; 503 while a server shuts down). `apns-id`
names a notification, yet a repeated one is shown again: an unknown outcome counts as sent. There are no webhooks.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import Field

from engine.core.wire import Json
from engine.delivery.channel import Capabilities, MissingPackage, Outgoing, Receipt, Result, too_big
from engine.delivery.grants import PrivateKey, signing_key
from engine.delivery.http import Answer, HttpAdapter, HttpSettings, ProviderUrl, json_bytes
from engine.delivery.wording import extras, text_of, title_of, unusable

try:
    import jwt
except ImportError as missing:
    raise MissingPackage("sojourn[apns]") from missing

RENEW = 2_400.0
"""Seconds after which a new token is signed: between Apple's 20 and 60 minutes."""

PAYLOAD = 4_096
"""Bytes that Apple takes."""

NAMESPACE = uuid.UUID("6f0d2f0e-3a4e-5d52-9c41-0a4c3b1d7c55")
"""Of the `apns-id`s made from messages' keys."""


class Settings(HttpSettings):
    """`key`: the .p8 file's text, `key_id` and `team_id` go with it. `topic`: the app's bundle id. `environment`: where the app's
    device tokens come from. `ttl`: seconds that Apple keeps a notification for a device that is off."""

    key: PrivateKey
    key_id: str = Field(pattern=r"^[A-Z0-9]{10}$")
    team_id: str = Field(pattern=r"^[A-Z0-9]{10}$")
    topic: str = Field(pattern=r"^[A-Za-z0-9.-]{1,255}$")
    environment: Literal["production", "development"] = "production"
    priority: Literal["10", "5"] = "10"
    ttl: int = Field(default=86_400, ge=0)
    base_url: ProviderUrl | None = None


HOSTS = {"production": "https://api.push.apple.com", "development": "https://api.sandbox.push.apple.com"}


class Apns(HttpAdapter):
    """One app. `clock` gives the seconds since 1970 that are signed."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        s = self.settings = settings
        key = s.key.get_secret_value()
        super().__init__(s.base_url or HOSTS[s.environment], secrets=[key], http2=True, **s.limits)
        self.capabilities = Capabilities(address="apns_token", concurrency=s.concurrency, local=self.local)
        self._clock, self._key = clock, signing_key(key)
        self._token, self._signed_at = "", float("-inf")

    def _authorization(self) -> str:
        now = self._clock()
        if now - self._signed_at >= RENEW:
            claims = {"iss": self.settings.team_id, "iat": int(now)}
            self._token, self._signed_at = (
                jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self.settings.key_id}),
                now,
            )
        return f"bearer {self._token}"

    async def send(self, message: Outgoing) -> Receipt:
        """One POST. The template's JSON adds keys beside `aps`, and its own `aps` is laid over ours. Raises ValueError where it
        has no text."""
        device = message.to.strip()
        if not re.fullmatch(r"[0-9a-fA-F]{8,200}", device):
            return unusable("the address is no device token")
        body = json_bytes(_payload(message))
        if len(body) > PAYLOAD:
            return too_big(len(body), PAYLOAD)
        headers = {
            "authorization": self._authorization(),
            "apns-topic": self.settings.topic,
            "apns-push-type": "alert",
            "apns-priority": self.settings.priority,
            "apns-expiration": str(int(self._clock()) + self.settings.ttl if self.settings.ttl else 0),
            "apns-id": str(uuid.uuid5(NAMESPACE, message.key.encode("utf-8", "replace").decode())),
        }
        answer = await self.ask("POST", f"/3/device/{device}", headers=headers, content=body)
        return answer if isinstance(answer, Receipt) else self._read(answer)

    def _read(self, answer: Answer) -> Receipt:
        reason = str(answer.json.get("reason", ""))
        if reason == "ExpiredProviderToken":  # this machine's clock is off, or it slept: the next try signs anew
            self._signed_at = float("-inf")
            return Receipt(Result.LATER, words=f"{answer.status} {reason}")
        if answer.status == 503:  # the server shuts down, and has taken nothing
            return Receipt(Result.LATER, words=f"503 {reason}")
        suppress = "unregistered" if answer.status == 410 else None
        words = (reason or answer.words).replace(self._token, "[secret]")
        return self.receipt(answer, id=answer.headers.get("apns-id", ""), words=words, suppress=suppress)


def _payload(message: Outgoing) -> dict[str, Json]:
    more, title = extras(message), title_of(message)
    alert: dict[str, Json] = {**({"title": title} if title else {}), "body": text_of(message)}
    own = more.get("aps")
    return {**more, "aps": {"alert": alert, **(own if isinstance(own, dict) else {})}}


def channel(config: Mapping[str, object]) -> Apns:
    """The channel for `config`, see Settings."""
    return Apns(Settings.model_validate(config))
