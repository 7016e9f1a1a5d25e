"""Any provider that takes JSON over HTTP: one signed POST per message, with the handover's key as `Idempotency-Key`.

The receiver's side (body, signature, answers) is described in `docs/adding-a-channel.md`; change both together. The URL's path
and query may be secrets: they appear in no error, log or repr, and reach the wire only through `Guarded`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from typing import Literal

import httpx
from pydantic import Field, SecretStr, field_validator, model_validator

from engine.delivery.channel import Capabilities, Outgoing, Receipt, message_json
from engine.delivery.http import HttpAdapter, HttpSettings, header_key, json_bytes, usable_url

RESERVED_HEADERS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "idempotency-key", "sojourn-signature"}
)


class Settings(HttpSettings):
    """`secret`: signs every request. `headers`: sent along, such as Authorization. `timeout`: seconds for one message in all.

    `idempotent`: the receiver drops a repeated Idempotency-Key; where it doesn't, an unknown outcome counts as sent.
    `allow_private`: the URL may lead to private, link-local and metadata addresses. A loopback URL needs no permission."""

    url: SecretStr
    secret: SecretStr = SecretStr("")
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    concurrency: int = Field(default=50, ge=1, le=1000)
    max_bytes: int = Field(default=1_000_000, ge=1_000)
    idempotent: bool = True
    on_unknown: Literal["assume_sent", "retry"] | None = None
    allow_private: bool = False

    @field_validator("headers")
    @classmethod
    def _plain_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or name.lower() in RESERVED_HEADERS:
                raise ValueError("a header's name is not one that may be set here")
            if not re.fullmatch(r"[\x20-\x7e]*", value.get_secret_value()):
                raise ValueError(f"the value of header {name} must be printable ASCII on one line")
        return headers

    @model_validator(mode="after")
    def _usable_url(self) -> Settings:
        try:
            usable_url(self.url.get_secret_value(), self.allow_private)
        except ValueError as wrong:
            raise ValueError(f"`url` can't be used: {wrong}") from None
        return self


class Webhook(HttpAdapter):
    """One URL. `clock` gives the seconds since the epoch that are signed."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self._clock = clock
        self._secret = settings.secret.get_secret_value()
        self._headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        url = settings.url.get_secret_value()
        super().__init__(
            url,
            secrets=[self._secret, *self._headers.values(), *_bearer(self._headers), *_in_url(httpx.URL(url))],
            allow_private=settings.allow_private,
            **settings.limits,
        )
        self.capabilities = Capabilities(
            address="",
            idempotent=settings.idempotent,
            concurrency=settings.concurrency,
            on_unknown=settings.on_unknown or ("retry" if settings.idempotent else "assume_sent"),
            local=self.local,
        )

    async def send(self, message: Outgoing) -> Receipt:
        """One POST. Raises ValueError where the template's JSON is none."""
        raw = json_bytes(message_json(self.name, message))
        answer = await self.ask("POST", content=raw, headers=self._headers_for(message, raw))
        if isinstance(answer, Receipt):
            return answer
        told = answer.json
        suppress = told.get("suppress")
        suppress = suppress[:64] if isinstance(suppress, str) and suppress else None
        return self.receipt(answer, id=str(told.get("id", "")), suppress=suppress)

    def _headers_for(self, message: Outgoing, raw: bytes) -> dict[str, str]:
        headers = {
            **self._headers,
            "Content-Type": "application/json",
            "Idempotency-Key": header_key(message.key),
        }
        if self._secret:
            headers["Sojourn-Signature"] = signature(self._secret, int(self._clock()), raw)
        return headers


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """`t=<seconds>,v1=<hex>`: HMAC-SHA256 with `secret` over "<seconds>.<body>"."""
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},v1={mac.hexdigest()}"


def _bearer(headers: Mapping[str, str]) -> list[str]:
    """The bare credentials of headers such as `Authorization: Bearer x`, which a provider may quote alone."""
    return [value.rpartition(" ")[2] for value in headers.values() if " " in value]


def _in_url(url: httpx.URL) -> list[str]:
    """Path and query, whole, wherever somebody quotes them."""
    path = url.raw_path.decode("ascii")
    return [path] if len(path) > 1 else []


def channel(config: Mapping[str, object]) -> Webhook:
    """The channel for `config`, see Settings."""
    return Webhook(Settings.model_validate(config))
