"""Messages to people or channels of a Slack workspace by chat.postMessage, and what they write back by the Events API.

From Slack's documentation, read 2026-11-22: "chat.postMessage" (errors come as `ok: false` with status 200), "Rate limits" (429
with Retry-After), "Verifying requests from Slack" (HMAC-SHA256 over `v0:time:body`, five minutes), "url_verification event",
"message event". There is no idempotency key: an unknown outcome counts as sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import Field, SecretStr

from channels.slack_api import judged, sent
from engine.delivery.channel import Capabilities, Feedback, Notice, Outgoing, Receipt
from engine.delivery.http import Credential, HttpAdapter, HttpSettings, ProviderUrl
from engine.delivery.notices import epoch, every, read_json, text
from engine.delivery.wording import extras, text_of, unusable


class Settings(HttpSettings):
    """`token`: the app's bot token (xoxb-…). `signing_secret`: of the same app, for its events."""

    token: Credential
    signing_secret: SecretStr = SecretStr("")
    base_url: ProviderUrl = "https://slack.com"
    max_bytes: int = Field(default=200_000, ge=1_000)


class Slack(HttpAdapter):
    """One app in one workspace."""

    def __init__(self, settings: Settings) -> None:
        s = self.settings = settings
        self._token = s.token.get_secret_value()
        secrets = [self._token, s.signing_secret.get_secret_value()]
        super().__init__(s.base_url, secrets=secrets, **s.limits)
        self.capabilities = Capabilities(
            address="slack", concurrency=s.concurrency, local=self.local, receipts=frozenset({"received"})
        )

    async def send(self, message: Outgoing) -> Receipt:
        """One POST to the user or channel whose id is the address. The template's JSON adds arguments, such as `blocks`. Raises
        ValueError where it has no text."""
        if not re.fullmatch(r"[A-Z0-9]{5,32}", message.to.strip()):
            return unusable("the address is no id of a user or channel of Slack")
        body = {"text": text_of(message), **extras(message), "channel": message.to.strip()}
        authorization = {"Authorization": f"Bearer {self._token}"}
        return await sent(self, "/api/chat.postMessage", body, authorization)

    async def challenge(self, notice: Notice) -> str | None:
        """Slack asks once whether the URL is ours."""
        judged(notice, self.settings.signing_secret)
        told = read_json(notice.body)
        return text(told, "challenge") if text(told, "type") == "url_verification" else None

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """What a person wrote to the app. `provider_id` is the message of ours that started the thread."""
        judged(notice, self.settings.signing_secret)
        told = read_json(notice.body)
        return [
            Feedback(
                "received",
                provider_id=f"{text(event, 'channel')}:{text(event, 'thread_ts')}" if text(event, "thread_ts") else "",
                address=text(event, "user"),
                at=epoch(event.get("ts")),
                words=text(event, "text"),
                id=text(told, "event_id"),
                raw=event,
            )
            for event in every(told, "event")
            if text(event, "type") == "message" and text(event, "user") and not text(event, "bot_id", "subtype")
        ]


def channel(config: Mapping[str, object]) -> Slack:
    """The channel for `config`, see Settings."""
    return Slack(Settings.model_validate(config))
