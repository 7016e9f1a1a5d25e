"""Tasks of HubSpot's CRM.

From HubSpot's documentation, read 2026-11-22: "Activities | Tasks" (`POST /crm/v3/objects/tasks`, 201; `hs_timestamp`, the due
date, is required; `hs_task_status` is NOT_STARTED or COMPLETED), "Usage guidelines" (429), "Create generic webhook subscriptions"
(`object.propertyChange` of tasks, at most 100 in a call, repeated for a day), "Validating requests" (X-HubSpot-Signature-v3:
HMAC-SHA256 over method, URI, body and time, in base64; five minutes). There is no idempotency key: a handover whose outcome is
unknown counts as made.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import unquote

from pydantic import SecretStr

from engine.delivery.channel import Feedback, Notice, Outgoing, Receipt
from engine.delivery.http import Answer, Credential, ProviderUrl
from engine.delivery.notices import epoch_ms, fresh, mac, objects, read_json, same, text
from engine.delivery.receiving import Receiver, ReceiverSettings, body, due, title

PATH = "/crm/v3/objects/tasks"

TASK = "0-27"
"""The `objectTypeId` of tasks."""

SUBJECT = 255
"""Characters that we give it; HubSpot names no limit."""


class Settings(ReceiverSettings):
    """`token`: a private app's. `client_secret`: the same app's, which signs webhooks. Assignees are numbers of owners."""

    token: Credential
    client_secret: SecretStr = SecretStr("")
    base_url: ProviderUrl = "https://api.hubapi.com"


class HubSpot(Receiver):
    """One account."""

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        token = settings.token.get_secret_value()
        super().__init__(settings.base_url, settings, [token, settings.client_secret.get_secret_value()])
        self._headers = {"Authorization": f"Bearer {token}"}

    async def send(self, message: Outgoing) -> Receipt:
        """One task, due when the step is where it has no date of its own."""
        who = self.assignee(message)
        owned = {"hubspot_owner_id": who} if who.isascii() and who.isdecimal() else {}
        until = due(message)
        properties = {
            "hs_timestamp": until.isoformat() if until else message.content.fields.get("at", ""),
            "hs_task_subject": title(message, SUBJECT),
            "hs_task_body": body(message, "" if owned else who),
            "hs_task_status": "NOT_STARTED",
            "hs_task_type": "TODO",
            **owned,
        }
        answer = await self.ask("POST", PATH, json={"properties": properties}, headers=self._headers)
        return answer if isinstance(answer, Receipt) else self._read(answer)

    async def finish(self, key: str, id: str) -> Receipt:
        """Completed."""
        change = {"properties": {"hs_task_status": "COMPLETED"}}
        answer = await self.ask("PATCH", f"{PATH}/{id}", json=change, headers=self._headers)
        return answer if isinstance(answer, Receipt) else self._read(answer)

    def _read(self, answer: Answer) -> Receipt:
        words = f"{text(answer.json, 'category')} {text(answer.json, 'message')}".strip()
        return self.receipt(answer, id=text(answer.json, "id"), words=words)

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """Changes of properties; only a task's status that says COMPLETED is news."""
        stamp = notice.headers.get("x-hubspot-request-timestamp", "")
        signed = f"{notice.method}{unquote(notice.url)}".encode() + notice.body + stamp.encode()
        expected = b64encode(mac(self.settings.client_secret.get_secret_value(), signed)).decode()
        same(notice.headers.get("x-hubspot-signature-v3", ""), expected)
        fresh(notice, epoch_ms(stamp))
        done = {"objectTypeId": TASK, "propertyName": "hs_task_status", "propertyValue": "COMPLETED"}
        return [
            Feedback(
                "completed",
                provider_id=text(told, "objectId"),
                at=epoch_ms(told.get("occurredAt")),
                id=text(told, "eventId"),
                raw=told,
            )
            for told in objects(read_json(notice.body))
            if all(text(told, name) == value for name, value in done.items())
        ]


def channel(config: Mapping[str, object]) -> HubSpot:
    """The receiver for `config`, see Settings."""
    return HubSpot(Settings.model_validate(config))
