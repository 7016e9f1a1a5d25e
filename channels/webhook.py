"""Any provider that takes JSON over HTTP: one signed POST per message, with the handover's key as `Idempotency-Key`.

The receiver's side (body, signature, answers) is described in `docs/adding-a-channel.md`; change both together. The URL's path
and query may be secrets: they appear in no error, log or repr, and reach the wire only through `Guarded`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from engine.delivery.channel import Adapter, Capabilities, Outgoing, Receipt, Result, clean_text, message_json, too_big, without
from engine.delivery.guard import Guarded, is_loopback, is_private

MAX_ANSWER = 65_536
"""Bytes of a provider's answer that are read."""

MAX_RETRY_AFTER = 86_400.0
"""Seconds: a provider can't put a message off for longer than a day."""

RESERVED_HEADERS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "idempotency-key", "sojourn-signature"}
)


class Settings(BaseModel):
    """`secret`: signs every request. `headers`: sent along, such as Authorization. `timeout`: seconds for one message in all.

    `idempotent`: the receiver drops a repeated Idempotency-Key; where it doesn't, an unknown outcome counts as sent.
    `allow_private`: the URL may lead to private, link-local and metadata addresses. A loopback URL needs no permission."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: SecretStr
    secret: SecretStr = SecretStr("")
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    timeout: float = Field(default=20.0, gt=0, le=50)
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
            url = httpx.URL(self.url.get_secret_value())
        except (httpx.InvalidURL, UnicodeError):
            raise ValueError("`url` is not a URL") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("`url` must begin with http:// or https:// and name a host")
        if url.userinfo:
            raise ValueError("`url` must not hold a user or password; put an Authorization header under `headers`")
        if is_private(url.host) and not self.allow_private:
            raise ValueError(f"`url` leads to the private address {url.host}; set `allow_private: true` if that is meant")
        return self


class Webhook(Adapter):
    """One URL. `clock` gives the seconds since the epoch that are signed."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        url = httpx.URL(settings.url.get_secret_value())
        self.settings = settings
        self.capabilities = Capabilities(
            address="",
            idempotent=settings.idempotent,
            concurrency=settings.concurrency,
            on_unknown=settings.on_unknown or ("retry" if settings.idempotent else "assume_sent"),
            local=is_loopback(url.host),
        )
        self._clock = clock
        self._shown = url.copy_with(raw_path=b"/")
        self._headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._secrets = [settings.secret.get_secret_value(), *self._headers.values(), *_bearer(self._headers), *_in_url(url)]
        self._client = httpx.AsyncClient(
            transport=Guarded(url, settings.concurrency, settings.allow_private),
            timeout=settings.timeout,
            follow_redirects=False,
            trust_env=False,
        )

    async def send(self, message: Outgoing) -> Receipt:
        """One POST. Raises ValueError where the template's JSON is none."""
        body = json.dumps(message_json(self.name, message), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        raw = clean_text(body).encode()
        if len(raw) > self.settings.max_bytes:
            return too_big(len(raw), self.settings.max_bytes)
        sent = False

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            nonlocal sent
            sent = sent or event.endswith("send_request_headers.started")

        try:
            async with asyncio.timeout(self.settings.timeout):
                request = self._client.build_request("POST", self._shown, content=raw, headers=self._headers_for(message, raw))
                request.extensions = {**request.extensions, "trace": trace}
                response = await self._client.send(request, stream=True)
                try:
                    answer = await _first_bytes(response)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, TimeoutError, OSError) as lost:
            words = without(f"{type(lost).__name__}: {lost}", self._secrets)
            return Receipt(Result.UNKNOWN if sent else Result.LATER, words=words)
        return self._read(response, answer)

    def _headers_for(self, message: Outgoing, raw: bytes) -> dict[str, str]:
        headers = {
            **self._headers,
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "Idempotency-Key": quote(message.key, safe="/", errors="surrogatepass"),
        }
        if self._secrets[0]:
            headers["Sojourn-Signature"] = signature(self._secrets[0], int(self._clock()), raw)
        return headers

    def _read(self, response: httpx.Response, answer: bytes) -> Receipt:
        """The status is the contract; a JSON answer may add `id`, `error` and `suppress`; any other is only quoted."""
        status, told = response.status_code, _json_object(answer)
        said = told.get("error") or told.get("message") or answer.decode("utf-8", "replace")
        words = without(f"{status} {said if isinstance(said, str) else json.dumps(said)}", self._secrets)
        if 200 <= status < 300:
            provider_id = told.get("id", "")
            return Receipt(Result.ACCEPTED, provider_id=without(str(provider_id), self._secrets))
        wait = retry_after(response.headers)
        if status == 429 or (status == 503 and wait is not None):
            return Receipt(Result.LATER, words=words, retry_after=wait)
        if 300 <= status < 400:
            return Receipt(Result.REFUSED, words=f"{status}: it redirects elsewhere, which is not followed; give the final URL")
        if 400 <= status < 500:
            suppress = told.get("suppress")
            return Receipt(
                Result.REFUSED, words=words, suppress=suppress[:64] if isinstance(suppress, str) and suppress else None
            )
        return Receipt(Result.UNKNOWN, words=words)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """`t=<seconds>,v1=<hex>`: HMAC-SHA256 with `secret` over "<seconds>.<body>"."""
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"t={timestamp},v1={mac.hexdigest()}"


def retry_after(headers: httpx.Headers) -> float | None:
    """Seconds that Retry-After asks for (RFC 9110 section 10.2.3), between 0 and a day; None where it is missing or malformed.

    A date is measured against the answer's own Date, so that clocks that differ don't matter."""
    written = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", written):
        return min(float(written), MAX_RETRY_AFTER)
    try:
        wait = (parsedate_to_datetime(written) - parsedate_to_datetime(headers.get("date", ""))).total_seconds()
    except (TypeError, ValueError):
        return None
    return min(max(wait, 0.0), MAX_RETRY_AFTER)


async def _first_bytes(response: httpx.Response) -> bytes:
    got = b""
    async for chunk in response.aiter_raw():
        got += chunk
        if len(got) >= MAX_ANSWER:
            break
    return got[:MAX_ANSWER]


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


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
