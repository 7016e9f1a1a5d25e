"""Push to Android, iOS and the web by Firebase Cloud Messaging's HTTP v1 API, as a service account.

From Google's documentation, read 2026-11-22: "REST resource: projects.messages", "ErrorCode" (UNREGISTERED 404, INVALID_ARGUMENT
400, QUOTA_EXCEEDED 429, UNAVAILABLE 503, INTERNAL 500; 4,096 bytes of payload), "Using OAuth 2.0 for server to server
applications" (a JWT signed with RS256 buys an access token for an hour). There is no idempotency key: an unknown outcome counts
as sent. FCM reports no deliveries to webhooks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping

from pydantic import Field, SecretStr, field_validator

from engine.delivery.channel import Capabilities, MissingPackage, Outgoing, Receipt
from engine.delivery.grants import Grant, private_key, signing_key
from engine.delivery.http import Answer, HttpAdapter, HttpSettings, ProviderUrl, provider_url
from engine.delivery.notices import every, part, text
from engine.delivery.wording import extras, text_of, title_of, unusable

try:
    import jwt
except ImportError as missing:
    raise MissingPackage("sojourn[fcm]") from missing

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
BAD_TOKEN = "The registration token is not a valid FCM registration token"
"""How an INVALID_ARGUMENT about the address reads; others are about the message."""


class Settings(HttpSettings):
    """`service_account`: the JSON of the service account's key. `address`, in sojourn.yaml: the attribute with the registration
    token, `fcm_token` by default."""

    service_account: SecretStr
    base_url: ProviderUrl = "https://fcm.googleapis.com"
    max_bytes: int = Field(default=10_000, ge=1_000)

    @field_validator("service_account")
    @classmethod
    def _whole(cls, written: SecretStr) -> SecretStr:
        try:
            account = json.loads(written.get_secret_value())
            names = ("project_id", "client_email", "private_key", "private_key_id", "token_uri")
            whole = all(isinstance(account[name], str) for name in names)
        except (ValueError, TypeError, KeyError):
            whole = False
        if not whole:
            raise ValueError("it must be the JSON of a service account's key, whole")
        private_key(SecretStr(account["private_key"]))
        provider_url(account["token_uri"])
        return written


class Fcm(HttpAdapter):
    """One Firebase project. `clock` gives the seconds since 1970 that are signed."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        s = self.settings = settings
        account = self._account = json.loads(s.service_account.get_secret_value())
        secrets = [s.service_account.get_secret_value(), account["private_key"], account["private_key_id"]]
        super().__init__(s.base_url, secrets=secrets, **s.limits)
        self.capabilities = Capabilities(address="fcm_token", concurrency=s.concurrency, local=self.local)
        self._clock, self._key = clock, signing_key(account["private_key"])
        self._google = HttpAdapter(account["token_uri"], secrets=secrets, **s.limits)
        self._grant = Grant(self._google, self._ask_for_token)

    async def _ask_for_token(self) -> Answer | Receipt:
        account, now = self._account, int(self._clock())
        claims = {"iss": account["client_email"], "scope": SCOPE, "aud": account["token_uri"], "iat": now, "exp": now + 3600}
        signed = jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": account["private_key_id"]})
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signed}
        return await self._google.ask("POST", data=form)

    async def send(self, message: Outgoing) -> Receipt:
        """One POST, and one more where the token had ended early. The template's JSON is laid over FCM's message (`data`,
        `android`, `apns`, `webpush`). Raises ValueError where it has no text."""
        token = message.to.strip()
        if not token or not token.isascii() or not token.isprintable():
            return unusable("the address is no registration token")
        notification = {"title": title_of(message), "body": text_of(message)}
        body = {"message": {"notification": notification, **extras(message), "token": token}}
        return await self._post(body, again=True)

    async def _post(self, body: Mapping[str, object], again: bool) -> Receipt:
        granted = await self._grant.token()
        if isinstance(granted, Receipt):
            return granted
        path = f"/v1/projects/{self._account['project_id']}/messages:send"
        answer = await self.ask("POST", path, headers={"Authorization": f"Bearer {granted}"}, json=body)
        if isinstance(answer, Receipt):
            return answer
        if answer.status == 401 and again:
            self._grant.forget(granted)
            return await self._post(body, again=False)
        return self._read(answer, granted)

    def _read(self, answer: Answer, granted: str) -> Receipt:
        error = part(answer.json, "error")
        codes = [code for detail in every(error, "details") if (code := text(detail, "errorCode"))]
        suppress = None
        if "UNREGISTERED" in codes:
            suppress = "unregistered"
        elif "INVALID_ARGUMENT" in codes and BAD_TOKEN in text(error, "message"):
            suppress = "invalid_address"
        words = f"{(codes or [text(error, 'status')])[0]}: {text(error, 'message')}" if error else answer.words
        words = words.replace(granted, "[secret]")
        alien = "SENDER_ID_MISMATCH" in codes  # the registration token is another project's
        return self.receipt(answer, id=text(answer.json, "name"), words=words, suppress=suppress, recipient=alien)

    async def close(self) -> None:
        """Close the connections."""
        await super().close()
        await self._google.close()


def channel(config: Mapping[str, object]) -> Fcm:
    """The channel for `config`, see Settings."""
    return Fcm(Settings.model_validate(config))
