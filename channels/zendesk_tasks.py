"""Tasks as tickets of Zendesk Support.

From Zendesk's documentation, read 2026-11-22: "Tickets" (`POST /api/v2/tickets`, 201; type `task` has a `due_at`; `external_id`
names a record outside; solving needs an assignee), "Introduction: Idempotency" (Idempotency-Key; the same key with the same body
is answered as before for two hours, with another body by 400), "Security and authentication" (an OAuth token, or an agent's
address with an API token), "Rate limits" (429 with Retry-After), "Ticket events" (`zen:event-type:ticket.status_changed`),
"Verifying webhooks" (HMAC-SHA256 over time and body, in base64).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from pydantic import Field, SecretStr, model_validator

from engine.delivery.channel import Feedback, Notice, Outgoing, Receipt
from engine.delivery.http import Answer, Credential, ProviderUrl, basic, header_key
from engine.delivery.notices import fresh, iso, mac, part, read_json, same, text
from engine.delivery.receiving import Receiver, ReceiverSettings, body, due, title

SUBJECT = 150
"""Characters."""

DONE = {"SOLVED", "CLOSED"}


class Settings(ReceiverSettings):
    """`subdomain`: of zendesk.com. `token`: an OAuth token, or with `email` an API token of that agent. `tags`: of every ticket.
    `signing_secret`: of the webhook, which is subscribed to "Ticket status changed"."""

    subdomain: str = Field(pattern=r"^[a-z0-9-]{1,63}$")
    token: Credential
    email: str = ""
    tags: list[str] = Field(default_factory=lambda: ["sojourn"])
    signing_secret: SecretStr = SecretStr("")
    base_url: ProviderUrl = ""

    @model_validator(mode="before")
    @classmethod
    def _of_the_account(cls, given: object) -> object:
        if isinstance(given, dict) and "base_url" not in given:
            return {**given, "base_url": f"https://{given.get('subdomain')}.zendesk.com"}
        return given


class Zendesk(Receiver):
    """One account."""

    settings: Settings
    remembers = 7_200.0

    def __init__(self, settings: Settings) -> None:
        token, secret = settings.token.get_secret_value(), settings.signing_secret.get_secret_value()
        login = basic(f"{settings.email}/token", token) if settings.email else f"Bearer {token}"
        super().__init__(settings.base_url, settings, [token, secret, login.split()[1]], idempotent=True)
        self._headers = {"Authorization": login}

    async def send(self, message: Outgoing) -> Receipt:
        """One ticket with a comment that the customer doesn't see."""
        who = self.assignee(message)
        by = {"assignee_email": who} if "@" in who else {"assignee_id": int(who)} if who.isascii() and who.isdecimal() else {}
        until = due(message)
        ticket = {
            "subject": title(message, SUBJECT),
            "comment": {"body": body(message, "" if by else who), "public": False},
            "type": "task",
            "external_id": header_key(message.key),
            "tags": self.settings.tags,
            **by,
            **({"due_at": until.isoformat()} if until else {}),
        }
        headers = {**self._headers, "Idempotency-Key": header_key(message.key)}
        answer = await self.ask("POST", "/api/v2/tickets", json={"ticket": ticket}, headers=headers)
        return answer if isinstance(answer, Receipt) else self._read(answer)

    async def finish(self, key: str, id: str) -> Receipt:
        """Solved. A ticket that is gone is over too."""
        change = {"ticket": {"status": "solved"}}
        answer = await self.ask("PUT", f"/api/v2/tickets/{id}", json=change, headers=self._headers)
        return answer if isinstance(answer, Receipt) else self._read(answer)

    def _read(self, answer: Answer) -> Receipt:
        words = f"{text(answer.json, 'error')} {text(answer.json, 'description')}".strip()
        return self.receipt(answer, id=text(part(answer.json, "ticket"), "id"), words=words)

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """A ticket's new status; only one that says that it is done is news."""
        stamp = notice.headers.get("x-zendesk-webhook-signature-timestamp", "")
        signed = mac(self.settings.signing_secret.get_secret_value(), stamp.encode() + notice.body)
        same(notice.headers.get("x-zendesk-webhook-signature", ""), b64encode(signed).decode())
        fresh(notice, iso(stamp))
        told = read_json(notice.body)
        ticket, change = part(told, "detail"), part(told, "event")
        if text(change, "current") not in DONE or text(change, "previous") in DONE:
            return []
        key, found = text(ticket, "external_id"), text(ticket, "id")
        return [Feedback("completed", key=key, provider_id=found, at=iso(text(told, "time")), id=text(told, "id"), raw=told)]


def channel(config: Mapping[str, object]) -> Zendesk:
    """The receiver for `config`, see Settings."""
    return Zendesk(Settings.model_validate(config))
