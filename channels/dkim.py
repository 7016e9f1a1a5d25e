"""DKIM signatures (RFC 6376) for mail that leaves through one's own server: relaxed/relaxed, with RSA or Ed25519 (RFC 8463).

No adapter, and no I/O but reading the key. Signed here with `cryptography`, which is there anyway: the library for it, dkimpy,
reckons RSA in Python, which takes longer than all else that sending a message does. The tests have it verify what is signed here.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from engine.delivery.channel import Signing

ONCE = ("mime-version", "content-type", "content-transfer-encoding", "list-id", "list-unsubscribe", "list-unsubscribe-post")
"""Headers that are signed where they are there; those by which to unsubscribe must be (RFC 8058 section 4)."""

NEVER_MORE = ("from", "to", "reply-to", "subject", "date", "message-id")
"""Headers that are signed together with there being no more of them: nobody can add a second one (RFC 6376 section 5.4.2)."""

LEAST_BITS = 1024
"""Of an RSA key; receivers needn't accept shorter ones (RFC 8301)."""


class Dkim(BaseModel):
    """`selector`: as in DNS, `SELECTOR._domainkey.DOMAIN`. `domain`: by default the sender's own. `key` or `key_file`: the
    private key as PEM, RSA or Ed25519."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    selector: str = Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
    domain: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.-]+$")
    key: SecretStr = SecretStr("")
    key_file: Path | None = None

    @model_validator(mode="after")
    def _one_usable_key(self) -> Self:
        if bool(self.key.get_secret_value()) == (self.key_file is not None):
            raise ValueError("give the private key as one of `key` and `key_file`")
        self.private_key()
        return self

    def private_key(self) -> rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey:
        """The key. Raises ValueError, which shows nothing of it."""
        try:
            pem = self.key.get_secret_value().encode() if self.key_file is None else self.key_file.read_bytes()
        except OSError as unread:
            raise ValueError(f"`key_file` can't be read: {unread.strerror}") from None
        try:
            key = serialization.load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError("the private key can't be read: it must be PEM, without a password") from None
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("the private key must be one for RSA or Ed25519")
        if key.key_size < LEAST_BITS:
            raise ValueError(f"the private key has {key.key_size} bits; receivers take none below {LEAST_BITS}")
        return key


class Signer:
    """One key and its place in DNS."""

    def __init__(self, settings: Dkim) -> None:
        self._selector, self._domain = settings.selector, settings.domain
        self._key = settings.private_key()

    @property
    def signing(self) -> Signing:
        """Where receivers look for the public key, and what they must find there."""
        key = self._key.public_key()
        if isinstance(key, rsa.RSAPublicKey):
            kind, public = "rsa", key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        else:
            kind, public = "ed25519", key.public_bytes_raw()
        return Signing(self._selector, self._domain or "", f"v=DKIM1; k={kind}; p={_base64(public)}")

    def sign(self, mail: bytes, domain: str, at: int) -> bytes:
        """The header that signs `mail` (CRLF line ends, no dots doubled) for `domain`, unless the settings name one; it goes
        before the others. `at`: seconds since the epoch."""
        head, _, body = mail.partition(b"\r\n\r\n")
        headers = dict(_headers(head + b"\r\n"))
        names = [name for name in (*NEVER_MORE, *ONCE) if name in headers]
        algorithm = "rsa-sha256" if isinstance(self._key, rsa.RSAPrivateKey) else "ed25519-sha256"
        lines = (
            f"v=1; a={algorithm}; c=relaxed/relaxed; d={self._domain or domain}; s={self._selector};",
            f"t={at}; bh={_base64(hashlib.sha256(_body(body)).digest())};",
            f"h={':'.join(names)}:",
            f"{':'.join(NEVER_MORE)};",
            "b=",
        )
        unsigned = ("DKIM-Signature: " + "\r\n\t".join(lines)).encode()
        signed = b"".join(headers[name] for name in names) + next(_headers(unsigned + b"\r\n"))[1].rstrip(b"\r\n")
        made = _base64(self._signature(signed))
        return unsigned + "\r\n\t".join(made[i : i + 72] for i in range(0, len(made), 72)).encode() + b"\r\n"

    def _signature(self, signed: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(hashlib.sha256(signed).digest())


def _headers(head: bytes) -> Iterator[tuple[str, bytes]]:
    """Each header's name and its relaxed form (section 3.4.2): on one line, blanks as one."""
    for header in re.split(rb"\r\n(?![ \t])", head)[:-1]:
        name, _, value = header.partition(b":")
        low = name.strip().lower()
        yield low.decode("ascii", "replace"), low + b":" + re.sub(rb"[ \t\r\n]+", b" ", value).strip() + b"\r\n"


def _body(body: bytes) -> bytes:
    """The relaxed form of a body (section 3.4.4): blanks as one, none at a line's end, no empty lines at its end."""
    lines = re.sub(rb"[ \t]+", b" ", body).replace(b" \r\n", b"\r\n").rstrip(b"\r\n ")
    return lines + b"\r\n" if lines else b""


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()
