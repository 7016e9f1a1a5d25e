"""Who may call: write keys by Basic authentication (one per source), tokens by Bearer (one per person or program, with a role).

Only digests are kept here, and every comparison takes the same time whatever was presented. An error never repeats a secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request

from engine.api.errors import Refusal
from engine.settings.project import Role, Settings

T = TypeVar("T")

_ASK_BASIC = {"WWW-Authenticate": 'Basic realm="sojourn", charset="UTF-8"'}
_ASK_BEARER = {"WWW-Authenticate": 'Bearer realm="sojourn"'}


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever holds a token: its name in the settings, and its role."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Access:
    """SHA-256 digests of the write keys → source, and of the tokens → caller."""

    sources: Mapping[bytes, str]
    callers: Mapping[bytes, Caller]

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """What `settings` allow."""
        return cls(
            {_digest(key.get_secret_value()): name for name, key in settings.write_keys.items()},
            {_digest(t.token.get_secret_value()): Caller(name, t.role) for name, t in settings.tokens.items()},
        )

    def source(self, request: Request) -> str:
        """The source whose write key came as the user name of Basic authentication. Raises Refusal (401)."""
        key = _basic_user(request.headers.get("authorization", ""))
        source = _look_up(self.sources, key) if key else None
        if source is None:
            message = "this write key is not known" if key else "a write key is needed"
            hint = "send it as the user name of Basic authentication, without a password; sojourn.yaml has them under write_keys"
            raise Refusal(401, "bad_write_key", message, hint, _ASK_BASIC)
        return source

    def caller(self, request: Request, *roles: Role) -> Caller:
        """The holder of the Bearer token, which must have one of `roles`. Raises Refusal: 401 without a known token, 403 with the
        wrong role."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        caller = _look_up(self.callers, token) if token else None
        if caller is None:
            message = "this token is not known" if token else "a token is needed"
            hint = "send `Authorization: Bearer TOKEN`; tokens stand under tokens in sojourn.yaml"
            raise Refusal(401, "bad_token", message, hint, _ASK_BEARER)
        if caller.role not in roles:
            wanted = " or ".join(roles)
            raise Refusal(403, "wrong_role", f"the token {caller.name!r} has the role {caller.role}, this needs {wanted}")
        return caller


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def _look_up(known: Mapping[bytes, T], secret: str) -> T | None:
    """Looks at all of them, so that the time tells nothing."""
    presented = _digest(secret)
    found = [value for digest, value in known.items() if hmac.compare_digest(digest, presented)]
    return found[0] if found else None


def _basic_user(header: str) -> str:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, ValueError):
        return ""
