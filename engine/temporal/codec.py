"""Payload encryption: AES-256-GCM with a key id, so that keys can be rotated and old histories stay readable.

Workflow ids and types, signal and activity names are never encoded by Temporal, which is why they hold opaque ids only.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

ENCODING = b"binary/encrypted"

UNNAMED = "1"
"""The id of a key that was given none."""


class CodecError(Exception):
    """A payload can't be read or a key isn't one; the message names the key id and what to set."""


def parse_keys(text: str) -> list[tuple[str, bytes]]:
    """Keys from `SOJOURN_ENCRYPTION_KEY`: "id:base64" items separated by commas, the first one writes. A base64 key without an
    id has id "1". Each is 32 bytes. Raises CodecError, also where two different keys have one id: a payload names only that."""
    keys: dict[str, bytes] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, encoded = item.rpartition(":")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except binascii.Error as wrong:
            raise CodecError("an encryption key is not base64: make one with `openssl rand -base64 32`") from wrong
        if len(raw) != 32:
            raise CodecError(f"an encryption key has {len(raw)} bytes, AES-256 takes 32: make one with `openssl rand -base64 32`")
        name = name or UNNAMED
        if keys.setdefault(name, raw) != raw:
            raise CodecError(
                f"two encryption keys have the id {name!r}, which is also what a key without one is called: write the new key as "
                "`id:key`, such as 2026b:…, and leave the id of the old one as it is"
            )
    return list(keys.items())


class AesGcmCodec(PayloadCodec):
    """Encrypts every payload under the first key and reads those of all."""

    def __init__(self, keys: Sequence[tuple[str, bytes]]) -> None:
        if not keys:
            raise CodecError("the codec needs at least one key")
        self._write = keys[0][0]
        self._ciphers = {name: AESGCM(key) for name, key in keys}

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Each payload, metadata included, as one encrypted payload; the key's id is authenticated too."""
        name = self._write.encode()
        out = []
        for payload in payloads:
            nonce = os.urandom(12)
            data = nonce + self._ciphers[self._write].encrypt(nonce, payload.SerializeToString(), name)
            out.append(Payload(metadata={"encoding": ENCODING, "key": name}, data=data))
        return out

    async def decode(self, payloads: Iterable[Payload]) -> list[Payload]:
        """The payloads that `encode` was given; unencrypted ones pass as they are."""
        out = []
        for payload in payloads:
            if payload.metadata.get("encoding") != ENCODING:
                out.append(payload)
                continue
            name = payload.metadata["key"]
            cipher = self._ciphers.get(name.decode())
            if cipher is None:
                raise CodecError(f"a payload is encrypted under key {name.decode()!r}: add that key to SOJOURN_ENCRYPTION_KEY")
            try:
                plain = cipher.decrypt(payload.data[:12], payload.data[12:], name)
            except InvalidTag as wrong:
                raise CodecError(
                    f"a payload does not open with key {name.decode()!r}: the key was changed under its id"
                ) from wrong
            out.append(Payload.FromString(plain))
        return out
