"""Messages that an Amazon SNS topic posts: whose they are, and what they say. No adapter; `ses` hears its events through it.

Facts from the documentation of SNS, read 2026-11-22: "Verifying the signatures of Amazon SNS messages" (RSA over some fields with
a key from a certificate that the message names and that must be on a host of Amazon's), "Parsing Amazon SNS message formats" and
"Amazon SNS message delivery retries" (for up to an hour). Anybody may have a topic whose messages Amazon signs: only the topic in
the settings is heard.
"""

from __future__ import annotations

import base64
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from engine.delivery.channel import Forged, Notice
from engine.delivery.http import fetched
from engine.delivery.notices import fresh, iso, read_json, text

MAX_AGE = 3_900.0
"""Seconds: SNS goes on repeating a message for an hour, under the time it was first sent at."""

CERTIFICATES = 16
"""Certificates that are kept, those used last."""

FIELDS = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
"""What is signed of each type; the first has a Subject only sometimes."""


@dataclass(frozen=True, slots=True)
class Told:
    """One notification: SNS's id of it, and its body as it was published."""

    id: str
    body: str


class Sns:
    """One topic. `fetch` gets certificates and confirms subscriptions; by default from SNS's host in the topic's own region and
    no other."""

    def __init__(self, topic: str, fetch: Callable[[str], Awaitable[bytes]] | None = None) -> None:
        self.topic, self.fetch = topic, fetch or self._from_amazon
        self._keys: OrderedDict[str, rsa.RSAPublicKey] = OrderedDict()

    async def _from_amazon(self, url: str) -> bytes:
        _, partition, _, region, *_ = [*self.topic.split(":"), "", "", "", ""]
        host = f"sns.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}"
        return await fetched(url, re.compile(re.escape(host)))

    async def message(self, notice: Notice) -> Told | None:
        """The notification; None where the topic asked whether it may send here, which it may. Raises Forged, ValueError, and
        httpx.HTTPError where Amazon's certificate can't be had, so that the topic repeats it later."""
        told = read_json(notice.body)
        if not isinstance(told, dict) or text(told, "Type") not in FIELDS:
            raise ValueError("the notice is no message of a topic")
        if not self.topic or text(told, "TopicArn") != self.topic:
            raise Forged("the topic isn't the one in `topic_arn`")
        await self._check(told)
        fresh(notice, iso(text(told, "Timestamp")), MAX_AGE)
        if told["Type"] == "Notification":
            return Told(text(told, "MessageId"), text(told, "Message"))
        if told["Type"] == "SubscriptionConfirmation":
            await self.fetch(text(told, "SubscribeURL"))
        return None

    async def _check(self, told: dict[str, Any]) -> None:
        if not text(told, "Signature"):
            raise Forged("the signature is missing")
        signed = "".join(f"{name}\n{text(told, name)}\n" for name in FIELDS[told["Type"]] if name in told)
        key = await self._key(text(told, "SigningCertURL"))
        # version 1 of SNS's signatures is SHA-1, and topics have it unless somebody chose otherwise
        hashed = hashes.SHA256() if text(told, "SignatureVersion") == "2" else hashes.SHA1()
        try:
            key.verify(
                base64.b64decode(text(told, "Signature")), signed.encode("utf-8", "surrogatepass"), padding.PKCS1v15(), hashed
            )
        except (InvalidSignature, ValueError):
            raise Forged("the signature is wrong") from None

    async def _key(self, url: str) -> rsa.RSAPublicKey:
        """The key of the certificate at `url`, which is judged before anything is fetched."""
        if url not in self._keys:
            try:
                key = x509.load_pem_x509_certificate(await self.fetch(url)).public_key()
            except ValueError:
                raise Forged("there is no certificate of Amazon's where the notice says") from None
            if not isinstance(key, rsa.RSAPublicKey):
                raise Forged("the certificate is of another kind than Amazon's")
            self._keys[url] = key
        self._keys.move_to_end(url)
        while len(self._keys) > CERTIFICATES:
            self._keys.popitem(last=False)
        return self._keys[url]
