"""A provider of this test's own: its notices are JSON, signed by HMAC over moment, URL and body, as real ones are."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from engine.delivery.channel import Feedback, Forged, Notice
from tests.harness import Sink

SECRET = b"carrier-secret"


def signature(url: str, body: bytes, at: int) -> str:
    """The header's value."""
    return f"{at},{hmac.new(SECRET, f'{at}.{url}.'.encode() + body, hashlib.sha256).hexdigest()}"


class Carrier(Sink):
    """A channel that keeps what it was given, and understands what `notify` says."""

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """A list of objects with the fields of Feedback, at most five minutes old."""
        written = notice.headers.get("x-carrier-signature", "")
        at = int(written.partition(",")[0] or 0)
        if not hmac.compare_digest(written, signature(notice.url, notice.body, at)):
            raise Forged("the signature is wrong")
        if abs(notice.received.timestamp() - at) > 300:
            raise Forged("the signature is too old")
        return [Feedback(**{**one, "at": _moment(one.get("at")), "raw": one}) for one in json.loads(notice.body)]

    async def challenge(self, notice: Notice) -> str | None:
        """As WhatsApp asks: `hub.challenge` comes back where `hub.verify_token` is ours."""
        asked = parse_qs(urlsplit(notice.url).query)
        if notice.method != "GET" or "hub.challenge" not in asked:
            return None
        if asked.get("hub.verify_token") != ["ours"]:
            raise Forged("the verify token is wrong")
        return asked["hub.challenge"][0]


def _moment(written: str | None) -> datetime | None:
    return None if written is None else datetime.fromisoformat(written)


async def notify(
    http: httpx.AsyncClient, base: str, *told: Mapping[str, Any], name: str = "email", age: int = 0, **more: str
) -> httpx.Response:
    """Tell these as the carrier does, signed `age` seconds ago; `more`: other headers."""
    path = f"/v1/channels/{name}/webhook?account=7"
    body = json.dumps(told).encode()
    headers = {"X-Carrier-Signature": signature(f"{base}{path}", body, int(time.time()) - age), **more}
    return await http.post(path, content=body, headers=headers, auth=httpx.Auth())
