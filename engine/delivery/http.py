"""What adapters that speak HTTP share: one guarded client, answers read by their status, words without secrets.

An adapter subclasses HttpAdapter, builds its request from the message, and says where its provider's answers mean something else
than their status does. Paths and queries may hold secrets: the client, which logs, never sees them.

    ask()  ─▶ Answer                 the provider said something: `receipt(answer)` reads it
           ─▶ Receipt, at once       nothing was heard: LATER where certainly nothing was sent, UNKNOWN where it may have been;
                                     REFUSED where the request is larger than the channel takes
"""

from __future__ import annotations

import asyncio
import importlib.util
import json as jsons
import logging
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, TypedDict
from urllib.parse import quote, urlencode

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from engine.delivery.channel import MAX_WORDS, Adapter, MissingPackage, Receipt, Result, clean_text, too_big, without
from engine.delivery.guard import Guarded, Outward, is_loopback, is_private

MAX_ANSWER = 65_536
"""Bytes of a provider's answer that are read."""

MAX_RETRY_AFTER = 86_400.0
"""Seconds: a provider can't put a message off for longer than a day."""

UNSPEAKABLE = "the request isn't one that HTTP can carry: is there a line end in a credential?"
"""What is said of a request that never was one."""

OURS = "our credentials aren't taken; it waits until somebody mends them in sojourn.yaml"
"""What is added to a provider's 401 and 403."""

FETCH_SECONDS = 10.0
"""How long `fetched` may take."""

Form = Mapping[str, str | Sequence[str]]
"""Fields of a form or a query; several values stand under one name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider said: its status, its headers, and the first of its body as it came, up to what `ask` was told."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object, {} where it is none."""
        found = self.value
        return found if isinstance(found, dict) else {}

    @property
    def value(self) -> Any:
        """The body as JSON of any kind, None where it is none."""
        try:
            return jsons.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def words(self) -> str:
        """What it says to people: `error` or `message` of a JSON object, else the body."""
        said = self.json.get("error") or self.json.get("message") or self.body.decode("utf-8", "replace")
        return said if isinstance(said, str) else jsons.dumps(said)


class HttpAdapter(Adapter):
    """The base of adapters whose provider is one HTTP API: set `capabilities`, implement `send` with `ask` and `receipt`.

    `base`: the URL that all paths follow, or the only one. `concurrency`: connections. `timeout`: seconds for one request in
    all, connecting and waiting for a connection included. `secrets`: what no word, id or log may show. `allow_private`: as in
    Guarded. `max_bytes`: of a request's body. `http2`: nothing but HTTP/2, in the clear too. `local` says whether the provider
    is on loopback. `transport`: in the place of Guarded, where requests go to many hosts (`ask` with their `origin`).
    Raises MissingPackage where HTTP/2 is wanted and not there."""

    def __init__(
        self,
        base: str,
        *,
        concurrency: int,
        timeout: float,
        secrets: Iterable[str],
        allow_private: bool = False,
        http2: bool = False,
        max_bytes: int | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if http2:
            if importlib.util.find_spec("h2") is None:
                raise MissingPackage("httpx[http2]")
            logging.getLogger("hpack").setLevel(logging.INFO)  # below that it logs every header with its value
        self._base = httpx.URL(base)
        self._shown = self._base.copy_with(raw_path=b"/")
        self.local = is_loopback(self._base.host)
        if transport is None:
            self.server = (self._base.host, self._base.port or (443 if self._base.scheme == "https" else 80))
        self._secrets = [secret for secret in secrets if secret]
        self._timeout, self._max_bytes = timeout, max_bytes
        self._client = httpx.AsyncClient(
            transport=transport or Guarded(self._base, concurrency, allow_private, http2),
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,
        )

    async def ask(
        self,
        method: str,
        path: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        params: Form | None = None,
        json: Any = None,
        data: Form | None = None,
        content: bytes | None = None,
        origin: str = "",
        most: int = MAX_ANSWER,
    ) -> Answer | Receipt:
        """One request to `path` below the base, with at most one of `json`, `data` (a form) and `content` as its body. `most`:
        bytes of the answer that are read.

        Text in them may be odd: it is made fit. Raises ValueError for JSON that is none (NaN), UnicodeError for headers that
        aren't ASCII. Redirects are an answer like any other."""
        kind, raw = _body(json, data, content)
        if self._max_bytes is not None and len(raw) > self._max_bytes:
            return too_big(len(raw), self._max_bytes)
        began = left = False

        async def trace(event: str, _: Mapping[str, Any]) -> None:
            nonlocal began, left
            began = began or event.endswith("send_request_headers.started")
            left = left or event.endswith("send_request_headers.complete")

        try:
            async with asyncio.timeout(self._timeout):
                request = self._client.build_request(
                    method,
                    origin or self._shown,
                    content=raw,
                    headers={**kind, **(headers or {}), "Accept-Encoding": "identity"},
                    extensions={"trace": trace, "target": self._target(path, params)},
                )
                response = await self._client.send(request, stream=True)
                try:
                    return Answer(response.status_code, response.headers, await _first_bytes(response, most))
                finally:
                    await response.aclose()
        except httpx.LocalProtocolError:  # its words quote a header, which may be a credential
            return Receipt(Result.UNKNOWN if left else Result.LATER, words=UNSPEAKABLE)
        except (httpx.HTTPError, TimeoutError, OSError) as lost:
            words = self.blotted(f"{type(lost).__name__}: {lost}")
            return Receipt(Result.UNKNOWN if began else Result.LATER, words=words)

    def _target(self, path: str, params: Form | None) -> bytes:
        """What stands in the request's first line."""
        base = self._base.raw_path
        if path:
            base = base.rstrip(b"/") + httpx.URL("/" + path.lstrip("/")).raw_path
        if params:
            base += (b"&" if b"?" in base else b"?") + _form(params)
        return base

    def receipt(
        self, answer: Answer, *, id: str = "", words: str = "", suppress: str | None = None, recipient: bool = False
    ) -> Receipt:
        """What `answer` means by its status: 2xx accepted, under the provider's `id`; 408, 425, 429, and 503 with Retry-After,
        later; 401 and 403 too, which are about us, unless the provider says that they are about the recipient (`recipient`, or
        there is a reason to `suppress`); 3xx and other 4xx refused; all others unknown. `words`: by default the body's own."""
        status = answer.status
        if 200 <= status < 300:
            return Receipt(Result.ACCEPTED, provider_id=self.blotted(id))
        said = self.blotted(f"{status} {words or answer.words}")
        wait = retry_after(answer.headers)
        if status in (408, 425, 429) or (status == 503 and wait is not None):  # 408, 425: RFC 9110 15.5.9, RFC 8470 5.2
            return Receipt(Result.LATER, words=said, retry_after=wait)
        if status in (401, 403) and not (recipient or suppress):
            return self.unauthorised(said)
        if 300 <= status < 400:
            return Receipt(Result.REFUSED, words=f"{status}: it redirects elsewhere, which is not followed; give the final URL")
        if 400 <= status < 500:
            return Receipt(Result.REFUSED, words=said, suppress=suppress)
        return Receipt(Result.UNKNOWN, words=said)

    def unauthorised(self, said: str) -> Receipt:
        """The provider refuses us rather than the message: nothing was sent, and the mistake is ours to mend."""
        return Receipt(Result.LATER, words=f"{self.blotted(said)[: MAX_WORDS - len(OURS) - 2]}: {OURS}")

    def blotted(self, text: str) -> str:
        """`text` without secrets, for receipts that an adapter makes itself."""
        return without(text, self._secrets)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def usable_url(url: str, allow_private: bool = False) -> str:
    """`url`, if an adapter may be pointed to it. Raises ValueError, which never quotes more of it than a private address."""
    try:
        read = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        raise ValueError("it is not a URL") from None
    if read.scheme not in ("http", "https") or not read.host:
        raise ValueError("it must begin with http:// or https:// and name a host")
    if read.userinfo:
        raise ValueError("it must not hold a user or password; there are settings for them")
    if is_private(read.host) and not allow_private:
        raise ValueError(f"it leads to the private address {read.host}; set `allow_private: true` if that is meant")
    return url


def provider_url(url: str) -> str:
    """`url`, if credentials may be sent there: https, or this machine. Raises ValueError."""
    read = httpx.URL(usable_url(url, allow_private=True))
    if is_private(read.host):
        raise ValueError("it leads to a private address")
    if read.scheme != "https" and not is_loopback(read.host):
        raise ValueError("it must begin with https://, because credentials are sent there")
    return url


ProviderUrl = Annotated[str, AfterValidator(provider_url)]
"""A provider's base URL in an adapter's settings."""


def _on_one_line(written: SecretStr) -> SecretStr:
    if not re.fullmatch(r"([!-~]([ -~]*[!-~])?)?", written.get_secret_value()):
        raise ValueError("it must be printable ASCII on one line, without blanks around it: was a line end copied with it?")
    return written


Credential = Annotated[SecretStr, AfterValidator(_on_one_line)]
"""A secret in an adapter's settings that goes into a header or a URL."""


class Limits(TypedDict):
    """See HttpSettings."""

    timeout: float
    concurrency: int
    max_bytes: int


class HttpSettings(BaseModel):
    """`timeout`: seconds for one request in all. `concurrency`: requests in flight. `max_bytes`: of one request's body."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    timeout: float = Field(default=20.0, gt=0, le=50)
    concurrency: int = Field(default=20, ge=1, le=1000)
    max_bytes: int = Field(default=10_000_000, ge=1_000)

    @property
    def limits(self) -> Limits:
        """What HttpAdapter takes of them."""
        return {"timeout": self.timeout, "concurrency": self.concurrency, "max_bytes": self.max_bytes}


async def fetched(url: str, host: re.Pattern[str]) -> bytes:
    """What `url` holds, 64 KiB of it at most: a certificate, say, that a provider names in its notices. Raises ValueError unless
    it is an https URL of a host that `host` matches whole, httpx.HTTPError or TimeoutError where it can't be had."""
    try:
        read = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        raise ValueError("the notice names no URL") from None
    if read.scheme != "https" or read.port is not None or read.userinfo or not host.fullmatch(read.host):
        raise ValueError("the notice names a URL that isn't the provider's")
    transport = Outward(1, allow_private=False, permit="nothing")
    async with (
        asyncio.timeout(FETCH_SECONDS),
        httpx.AsyncClient(transport=transport, follow_redirects=False, trust_env=False) as client,
        client.stream("GET", read, headers={"Accept-Encoding": "identity"}) as response,
    ):
        response.raise_for_status()
        return await _first_bytes(response, MAX_ANSWER)


def basic(user: str, password: str) -> str:
    """The value of an Authorization header for Basic authentication (RFC 7617)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def header_key(key: str) -> str:
    """A message's key as a header's value: percent-encoded, as it is where it is made of plain letters."""
    return quote(key, safe="/", errors="surrogatepass")


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


def json_bytes(value: Any) -> bytes:
    """`value` as JSON in UTF-8, odd text made fit. Raises ValueError where it is none (NaN)."""
    return clean_text(jsons.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))).encode()


def _body(json: Any, data: Form | None, content: bytes | None) -> tuple[dict[str, str], bytes]:
    """Content-Type, where it is known, and bytes."""
    if json is not None:
        return {"Content-Type": "application/json"}, json_bytes(json)
    if data is not None:
        return {"Content-Type": "application/x-www-form-urlencoded"}, _form(data)
    return {}, content or b""


def _form(fields: Form) -> bytes:
    pairs = [(k, clean_text(v)) for k, vs in fields.items() for v in ([vs] if isinstance(vs, str) else vs)]
    return urlencode(pairs).encode()


async def _first_bytes(response: httpx.Response, most: int) -> bytes:
    got = b""
    async for chunk in response.aiter_raw():
        got += chunk
        if len(got) >= most:
            break
    return got[:most]
