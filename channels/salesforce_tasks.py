"""Tasks of Salesforce, each upserted under the step's key.

From Salesforce's documentation, read 2026-11-22: "Insert or Update (Upsert) a Record Using an External ID" (`PATCH
/services/data/VERSION/sobjects/Task/FIELD/VALUE`: 201 where it is made, 200 or 204 where it was there, 300 where several are),
"Task" (Subject has 255 characters, Description 32,000; Status), "Status Codes and Error Responses" (an array; 401
INVALID_SESSION_ID; 403 REQUEST_LIMIT_EXCEEDED), "OAuth 2.0 Client Credentials Flow". The field must be a custom one of Task, a
text of 255, unique, external ID. Salesforce signs no callouts: a Flow that runs when a task is completed posts `{"Id": …, "Key":
…, "At": …}` with a bearer token of one's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import Field, SecretStr

from engine.delivery.channel import Feedback, Notice, Outgoing, Receipt, Result
from engine.delivery.grants import Grant
from engine.delivery.http import Answer, Credential, ProviderUrl
from engine.delivery.notices import every, iso, objects, read_json, same, text
from engine.delivery.receiving import Receiver, ReceiverSettings, body, due, title

SUBJECT, DESCRIPTION = 255, 32_000
"""Characters."""

USER = ("005", "00G")
"""How ids of users and of queues begin."""


class Settings(ReceiverSettings):
    """`base_url`: the org's own (https://ORG.my.salesforce.com). `client_id`, `client_secret`: of a connected app with the client
    credentials flow. `field`: the external ID of Task. `open`, `done`: its statuses. `webhook_token`: what the Flow says."""

    base_url: ProviderUrl
    client_id: Credential
    client_secret: Credential
    field: str = Field(default="Sojourn_Key__c", pattern=r"^\w{1,80}$")
    version: str = Field(default="v62.0", pattern=r"^v[0-9]{2,3}\.0$")
    open: str = "Not Started"
    done: str = "Completed"
    webhook_token: SecretStr = SecretStr("")


class Salesforce(Receiver):
    """One org."""

    settings: Settings
    by_key = True

    def __init__(self, settings: Settings) -> None:
        self._login = {name: getattr(settings, name).get_secret_value() for name in ("client_id", "client_secret")}
        bearer = settings.webhook_token.get_secret_value()
        super().__init__(settings.base_url, settings, [self._login["client_secret"], bearer], idempotent=True)
        self._bearer = f"Bearer {bearer}" if bearer else ""
        self._path = f"/services/data/{settings.version}/sobjects/Task"
        self._grant = Grant(self, self._ask_for_token)

    async def _ask_for_token(self) -> Answer | Receipt:
        form = {"grant_type": "client_credentials", **self._login}
        return await self.ask("POST", "/services/oauth2/token", data=form)

    async def send(self, message: Outgoing) -> Receipt:
        """One task; the same again changes nothing but its texts."""
        s, who, until = self.settings, self.assignee(message), due(message)
        owned = {"OwnerId": who} if who.startswith(USER) and who.isalnum() and len(who) in (15, 18) else {}
        task = {
            "Subject": title(message, SUBJECT),
            "Description": body(message, "" if owned else who)[:DESCRIPTION],
            "Status": s.open,
            **owned,
            **({"ActivityDate": until.date().isoformat()} if until else {}),
        }
        return await self._patch(self._by(message.key), task)

    async def finish(self, key: str, id: str) -> Receipt:
        """Completed; by the key where its id was never told (204)."""
        return await self._patch(quote(id, safe="") or self._by(key), {"Status": self.settings.done})

    def _by(self, key: str) -> str:
        return f"{self.settings.field}/{quote(key, safe='', errors='replace')}"

    async def _patch(self, what: str, fields: Mapping[str, Any], again: bool = True) -> Receipt:
        granted = await self._grant.token()
        if isinstance(granted, Receipt):
            return granted
        headers = {"Authorization": f"Bearer {granted}"}
        answer = await self.ask("PATCH", f"{self._path}/{what}", json=fields, headers=headers)
        if isinstance(answer, Receipt):
            return answer
        if answer.status == 401 and again:
            self._grant.forget(granted)
            return await self._patch(what, fields, again=False)
        errors = every(answer.value)
        words = "; ".join(f"{text(e, 'errorCode')}: {text(e, 'message')}" for e in errors if text(e, "errorCode"))
        words = (words or answer.words).replace(granted, "[secret]")
        if "REQUEST_LIMIT_EXCEEDED" in words:
            return Receipt(Result.LATER, words=self.blotted(words))
        return self.receipt(answer, id=text(answer.json, "id"), words=words)

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """What the Flow posts, one task or several."""
        same(notice.headers.get("authorization", ""), self._bearer)
        return [
            Feedback("completed", key=text(t, "Key"), provider_id=text(t, "Id"), at=iso(t.get("At")), id=text(t, "Id"), raw=t)
            for t in objects(read_json(notice.body))
            if text(t, "Id")
        ]


def channel(config: Mapping[str, object]) -> Salesforce:
    """The receiver for `config`, see Settings."""
    return Salesforce(Settings.model_validate(config))
