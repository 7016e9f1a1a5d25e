"""Texts by Twilio's Messages API: one form POST per message, status callbacks and inbound texts back.

From Twilio's documentation, read 2026-11-22: "Messages resource" (fields, 1,600 characters, statuses), "Twilio API responses"
(errors as `code` and `message`, 429 with code 20429), "Security" (X-Twilio-Signature), "Outbound Message Status in Status
Callbacks", "Error and Warning Dictionary". The API has no idempotency key: an unknown outcome counts as sent. A signature holds
no time: a repeated notice is told by its `id`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from pydantic import Field, SecretStr

from engine.delivery.channel import Capabilities, Feedback, Notice, Outgoing, Receipt
from engine.delivery.http import Credential, HttpAdapter, HttpSettings, ProviderUrl, basic
from engine.delivery.notices import form_of, mac, same
from engine.delivery.wording import extras, number_of, text_of

KINDS = {"delivered": "delivered", "read": "opened", "undelivered": "bounced", "failed": "failed"}
"""MessageStatus → what it means to us; the others are on the way."""

RECEIPTS = frozenset({*KINDS.values(), "received"})

SUPPRESS = {
    "21610": "stop",  # the recipient answered STOP
    "21211": "invalid_address",
    "21614": "invalid_address",  # no mobile number
    "30005": "hard_bounce",  # unknown or no longer in service
    "30006": "hard_bounce",  # a landline
}


class Settings(HttpSettings):
    """`auth_token` signs webhooks too. `key_sid` and `key_secret`: an API key to send with in its place. `messaging_service`:
    sends in the place of policy's sender. `status_callback`: the channel's webhook, as the world reaches it."""

    account_sid: str = Field(pattern=r"^AC[0-9a-fA-F]{32}$")
    auth_token: Credential
    key_sid: str = ""
    key_secret: Credential = SecretStr("")
    messaging_service: str = ""
    status_callback: str = ""
    base_url: ProviderUrl = "https://api.twilio.com"
    max_bytes: int = Field(default=100_000, ge=1_000)


class Twilio(HttpAdapter):
    """One account."""

    def __init__(self, settings: Settings) -> None:
        token, key = settings.auth_token.get_secret_value(), settings.key_secret.get_secret_value()
        self._authorization = basic(settings.key_sid, key) if settings.key_sid else basic(settings.account_sid, token)
        secrets = [token, key, self._authorization.split()[1]]
        s = self.settings = settings
        super().__init__(s.base_url, secrets=secrets, **s.limits)
        self.capabilities = Capabilities(address="phone", concurrency=s.concurrency, local=self.local, receipts=RECEIPTS)

    async def send(self, message: Outgoing) -> Receipt:
        """One POST. The template's JSON adds parameters, such as `MediaUrl`. Raises ValueError where it has no text."""
        to = number_of(message)
        if isinstance(to, Receipt):
            return to
        s, more = self.settings, {name: _parameter(value) for name, value in extras(message).items()}
        sender = {"MessagingServiceSid": s.messaging_service} if s.messaging_service else {"From": message.sender.get("from", "")}
        back = {"StatusCallback": s.status_callback} if s.status_callback else {}
        answer = await self.ask(
            "POST",
            f"/2010-04-01/Accounts/{s.account_sid}/Messages.json",
            headers={"Authorization": self._authorization},
            data={"Body": text_of(message), **sender, **back, **more, "To": to},
        )
        if isinstance(answer, Receipt):
            return answer
        told = answer.json
        code = str(told.get("code", ""))
        words = f"{code} {told.get('message', '')}" if code else ""
        return self.receipt(answer, id=str(told.get("sid", "")), words=words, suppress=SUPPRESS.get(code))

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """A status of a text of ours, or a text that somebody sent us."""
        told = form_of(notice)
        signed = notice.url + "".join(name + told[name] for name in sorted(told) if notice.method != "GET")
        expected = b64encode(mac(self.settings.auth_token.get_secret_value(), signed.encode(), "sha1")).decode()
        same(notice.headers.get("x-twilio-signature", ""), expected)
        sid = told.get("MessageSid") or told.get("SmsSid") or ""
        if not sid:
            raise ValueError("no MessageSid")
        status = told.get("MessageStatus", "")
        if not status:
            text = told.get("Body", "")
            return [Feedback("received", address=told.get("From", ""), words=text, id=sid, raw=dict(told))]
        kind = KINDS.get(status)
        if kind is None:
            return []
        code = told.get("ErrorCode", "")
        words = " ".join(part for part in (status, code, told.get("ErrorMessage", "")) if part)
        return [
            Feedback(
                kind,  # type: ignore[arg-type]  # KINDS holds kinds
                provider_id=sid,
                address=told.get("To", ""),
                words=words,
                suppress=SUPPRESS.get(code),
                id=f"{sid}/{status}",
                raw=dict(told),
            )
        ]


def _parameter(value: object) -> str | list[str]:
    return [str(one) for one in value] if isinstance(value, list) else str(value)


def channel(config: Mapping[str, object]) -> Twilio:
    """The channel for `config`, see Settings."""
    return Twilio(Settings.model_validate(config))
