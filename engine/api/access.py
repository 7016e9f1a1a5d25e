"""Who may call: write keys (one per source) by Basic authentication or in the body, tokens by Bearer (one per person or program,
with a role); and from which sites browsers may.

Only digests are kept here, and every comparison takes the same time whatever was presented. An error never repeats a secret.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from fastapi import Request

from engine.api.errors import Refusal
from engine.settings.project import Role, Settings, SourceSettings
from engine.store.tokens import digest_of

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
    """SHA-256 digests of the write keys → source, and of the tokens → caller; source → its own settings."""

    sources: Mapping[bytes, str]
    callers: Mapping[bytes, Caller]
    settings: Mapping[str, SourceSettings] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """What `settings` allow."""
        return cls(
            {digest_of(key.get_secret_value()): name for name, key in settings.write_keys.items()},
            {digest_of(t.token.get_secret_value()): Caller(name, t.role) for name, t in settings.tokens.items()},
            {name: settings.sources.get(name, SourceSettings()) for name in settings.write_keys},
        )

    def source(self, request: Request) -> str | None:
        """The source whose write key came as the user name of Basic authentication; None where there is no Authorization header:
        the key may be in the body then. Raises Refusal (401)."""
        header = request.headers.get("authorization")
        return None if header is None else self._source_of(_basic_user(header))

    def source_in(self, body: Mapping[str, object]) -> str:
        """The source whose write key a body holds as `writeKey`, as analytics.js sends it. Raises Refusal (401)."""
        key = body.get("writeKey")
        return self._source_of(key if isinstance(key, str) else "")

    def _source_of(self, key: str) -> str:
        source = _look_up(self.sources, key) if key else None
        if source is None:
            message = "this write key is not known" if key else "a write key is needed"
            hint = "send it as the user name of Basic authentication, without a password, or as writeKey in the body; "
            raise Refusal(401, "bad_write_key", message, f"{hint}sojourn.yaml has them under write_keys", _ASK_BASIC)
        return source

    def of_source(self, source: str) -> SourceSettings:
        """The settings of a source that has none of its own too."""
        return self.settings.get(source, SourceSettings())

    def from_origin(self, source: str, request: Request) -> None:
        """Raise Refusal (403) where a browser sends from a site that isn't among the source's `origins`."""
        origin = request.headers.get("origin")
        if origin is not None and not self.of_source(source).takes(origin):
            hint = f"sources.{source}.origins in sojourn.yaml lists from where browsers may"
            raise Refusal(403, "wrong_origin", f"the source {source!r} takes nothing from {origin[:200]!r}", hint)

    def any_takes(self, origin: str) -> bool:
        """Whether browsers may send from `origin` with any write key."""
        return any(one.takes(origin) for one in self.settings.values())

    def token(self, request: Request) -> str:
        """The Bearer token of a request. Raises Refusal (401) without one."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        if not token:
            raise self.unknown_token("a token is needed")
        return token

    def holder(self, token: str) -> Caller | None:
        """Who holds a token of the settings."""
        return _look_up(self.callers, token)

    @staticmethod
    def unknown_token(message: str) -> Refusal:
        """401."""
        hint = "send `Authorization: Bearer TOKEN`; sojourn.yaml has tokens, and `sojourn token create` makes them"
        return Refusal(401, "bad_token", message, hint, _ASK_BEARER)


def _look_up(known: Mapping[bytes, T], secret: str) -> T | None:
    """Looks at all of them, so that the time tells nothing."""
    presented = digest_of(secret)
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
