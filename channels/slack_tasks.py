"""Tasks as messages in a Slack channel, each with a button that says that it is done.

From Slack's documentation, read 2026-11-22: "chat.postMessage" and "chat.update" (errors come as `ok: false` with status 200),
"Rate limits" (one message a second to a channel; 429 with Retry-After), "Block Kit: Button" (a `value` of 2,000 characters),
"block_actions payload" (a form whose `payload` is JSON), "Verifying requests from Slack". There is no idempotency key: a handover
whose outcome is unknown counts as made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, SecretStr

from channels.slack_api import judged, sent
from engine.delivery.channel import Feedback, Notice, Outgoing, Receipt
from engine.delivery.http import Credential, ProviderUrl
from engine.delivery.notices import epoch, every, form_of, part, read_json, text
from engine.delivery.receiving import Receiver, ReceiverSettings, body, due, title

DONE = "sojourn_task_done"

SUBJECT, SECTION = 150, 2_900
"""Characters; a section takes 3,000."""


class Settings(ReceiverSettings):
    """`token`: the app's bot token (xoxb-…). `channel_id`: where its tasks go. `signing_secret`: of the same app, whose
    interactivity request URL is the receiver's webhook. Assignees are ids of members."""

    token: Credential
    channel_id: str = Field(pattern=r"^[A-Z0-9]{5,32}$")
    signing_secret: SecretStr = SecretStr("")
    base_url: ProviderUrl = "https://slack.com"


class SlackTasks(Receiver):
    """One channel."""

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        token = settings.token.get_secret_value()
        super().__init__(settings.base_url, settings, [token, settings.signing_secret.get_secret_value()])
        self._headers = {"Authorization": f"Bearer {token}"}

    async def send(self, message: Outgoing) -> Receipt:
        """One message with a button."""
        who, until = self.assignee(message), due(message)
        member = re.fullmatch(r"[UW][A-Z0-9]{4,31}", who) is not None
        told = body(message, "" if member else who)[:SECTION]
        head = f"{title(message, SUBJECT)}{f' (until {until:%Y-%m-%d})' if until else ''}"
        button = {"type": "button", "action_id": DONE, "value": message.key, "text": _plain("Done")}
        blocks: list[Any] = [
            {"type": "section", "text": _plain(head)},
            {"type": "section", "text": _plain(told)},
            {"type": "actions", "elements": [button]},
        ]
        if member:
            blocks.insert(1, {"type": "section", "text": {"type": "mrkdwn", "text": f"<@{who}>"}})
        post = {"channel": self.settings.channel_id, "text": head, "blocks": blocks}
        return await sent(self, "/api/chat.postMessage", post, self._headers)

    async def finish(self, key: str, id: str) -> Receipt:
        """Without its button, and said to be over."""
        place, _, stamp = id.partition(":")
        change = {"channel": place, "ts": stamp, "text": "This task is over.", "blocks": []}
        return await sent(self, "/api/chat.update", change, self._headers)

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """Who pressed the button, which holds the key."""
        judged(notice, self.settings.signing_secret)
        told = read_json(form_of(notice).get("payload", "").encode())
        return [
            Feedback(
                "completed",
                key=text(action, "value"),
                provider_id=f"{text(part(told, 'channel'), 'id')}:{text(part(told, 'message'), 'ts')}",
                at=epoch(action.get("action_ts")),
                words=text(part(told, "user"), "id"),
                id=f"{text(action, 'value')}/done",
                raw=told,
            )
            for action in every(told, "actions")
            if text(action, "action_id") == DONE
        ]


def _plain(words: str) -> dict[str, str]:
    return {"type": "plain_text", "text": words}


def channel(config: Mapping[str, object]) -> SlackTasks:
    """The receiver for `config`, see Settings."""
    return SlackTasks(Settings.model_validate(config))
