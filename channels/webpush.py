"""Push to browsers by the Web Push protocol: each message is encrypted for one subscription and posted to its push service.

From the standards, read 2026-11-22: RFC 8030 (TTL, Urgency, Topic; 201; 404 and 410 for a subscription that is over; 413; 429),
RFC 8291 (aes128gcm; 4,096 bytes in all), RFC 8292 (VAPID: a JWT for the service's origin, for 24 hours at most). The address is
what a browser's `PushSubscription.toJSON()` gives. Its endpoint was chosen by whoever wrote the attribute: only known push
services are called, and no private address. There is no idempotency key: an unknown outcome counts as sent. There are no
webhooks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Literal

import httpx
from pydantic import BaseModel, Field, SecretStr, field_validator

from engine.delivery.channel import Capabilities, MissingPackage, Outgoing, Receipt, too_big
from engine.delivery.guard import Outward, is_loopback
from engine.delivery.http import HttpAdapter, HttpSettings, json_bytes
from engine.delivery.wording import extras, text_of, title_of, unusable

try:
    from http_ece import ECEException
    from py_vapid import Vapid02, VapidException
    from pywebpush import WebPusher, WebPushException
except ImportError as missing:
    raise MissingPackage("sojourn[webpush]") from missing

SERVICES = ["fcm.googleapis.com", "*.push.services.mozilla.com", "web.push.apple.com", "*.notify.windows.com"]
"""Hosts of the push services of Chrome, Firefox, Safari and Edge."""

PLAIN = 3_993
"""Bytes before encryption that fit into the 4,096 that every service takes (RFC 8291 section 4)."""

LASTS = 12 * 3600
"""Seconds that a VAPID token is good for."""


class Settings(HttpSettings):
    """`private_key`: the application server's VAPID key, base64url of 32 bytes. `subject`: how its operator is reached. `ttl`:
    seconds that a service keeps a message for a browser that is off. `services`: hosts that may be called, `*.` for any below."""

    private_key: SecretStr
    subject: str = Field(pattern=r"^(mailto:.+@.+|https://.+)$")
    ttl: int = Field(default=86_400, ge=0, le=2_419_200)
    urgency: Literal["very-low", "low", "normal", "high"] = "normal"
    services: list[str] = SERVICES
    allow_private: bool = False

    @field_validator("private_key")
    @classmethod
    def _is_a_key(cls, written: SecretStr) -> SecretStr:
        try:
            Vapid02.from_string(written.get_secret_value())
        except (VapidException, ValueError, TypeError):
            raise ValueError("it is no VAPID key") from None
        return written


class Keys(BaseModel):
    """Of a subscription, in base64url: a point of P-256, uncompressed, and 16 bytes."""

    p256dh: str = Field(pattern=r"^B[A-Za-z0-9_-]{86}=?$")
    auth: str = Field(pattern=r"^[A-Za-z0-9_-]{22}(==)?$")


class Subscription(BaseModel):
    """What `PushSubscription.toJSON()` gives, as far as it is needed."""

    endpoint: str
    keys: Keys


class WebPush(HttpAdapter):
    """One application server. `clock` gives the seconds since 1970 that are signed."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        s = self.settings = settings
        key = s.private_key.get_secret_value()
        outward = Outward(s.concurrency, s.allow_private, "`allow_private: true`")
        super().__init__("https://push.invalid", secrets=[key], transport=outward, **s.limits)
        local = all(is_loopback(host) for host in s.services)
        self.capabilities = Capabilities(address="web_push", concurrency=s.concurrency, local=local)
        self._vapid, self._clock = Vapid02.from_string(key), clock

    async def send(self, message: Outgoing) -> Receipt:
        """One POST to the subscription's service. The page's service worker gets a JSON object: `title`, `body`, `key`, and what
        the template's JSON adds. Raises ValueError where it has no text."""
        told = {"title": title_of(message), "body": text_of(message), "key": message.key, **extras(message)}
        plain = json_bytes(told)
        if len(plain) > PLAIN:
            return too_big(len(plain), PLAIN)
        try:
            subscription = Subscription.model_validate_json(message.to).model_dump()
            url = httpx.URL(subscription["endpoint"])
            body = WebPusher(subscription).encode(plain, "aes128gcm")["body"]
        except (ValueError, RecursionError, httpx.InvalidURL, WebPushException, ECEException):
            return unusable("the address is no push subscription")
        if not self._may(url):
            return unusable(f"the subscription's endpoint is at {url.host}, which `services` doesn't name")
        origin = f"{url.scheme}://{url.netloc.decode()}"
        claims = {"aud": origin, "exp": int(self._clock()) + LASTS, "sub": self.settings.subject}
        headers = {
            "Authorization": self._vapid.sign(claims)["Authorization"],
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(self.settings.ttl),
            "Urgency": self.settings.urgency,
        }
        answer = await self.ask("POST", url.raw_path.decode(), headers=headers, content=body, origin=origin)
        if isinstance(answer, Receipt):
            return answer
        suppress = "unregistered" if answer.status in (404, 410) else None
        words = answer.words.replace(headers["Authorization"], "[secret]")
        alien = answer.status == 403  # the subscription was made for another key than ours (RFC 8292 section 4.2)
        return self.receipt(answer, id=answer.headers.get("location", ""), words=words, suppress=suppress, recipient=alien)

    def _may(self, url: httpx.URL) -> bool:
        if url.userinfo or (url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host))):
            return False
        return any(url.host.endswith(s[1:]) if s.startswith("*.") else url.host == s for s in self.settings.services)


def channel(config: Mapping[str, object]) -> WebPush:
    """The channel for `config`, see Settings."""
    return WebPush(Settings.model_validate(config))
