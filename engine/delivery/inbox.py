"""The in-app inbox as a channel: its messages stay in our own database, and the API hands them to the customer's app.

`channels.inbox` names it in sojourn.yaml. The composition root opens it: no other channel sees the database.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError

from engine.core.wire import Json
from engine.delivery.channel import Adapter, Capabilities, Outgoing, Receipt, Result, clean_text, too_big
from engine.delivery.http import json_bytes
from engine.delivery.wording import extras, text_of, title_of, unusable
from engine.store import inbox
from engine.store.database import Database, json_text, transaction


class Settings(BaseModel):
    """`max_bytes`: of a message's title, text and JSON together."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    max_bytes: int = Field(default=100_000, ge=1_000)


class Inbox(Adapter):
    """Messages in the table `inbox`, found again by their keys."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.capabilities = Capabilities(address="", idempotent=True, on_unknown="retry", local=True, batch=500)
        self._database: Database | None = None

    def open(self, database: Database) -> None:
        """Where messages go from now on."""
        self._database = database

    async def send(self, message: Outgoing) -> Receipt:
        """Put one down. Raises ValueError where its template has no text, or JSON that is no object."""
        (answer,) = await self.send_many([message])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def send_many(self, messages: Sequence[Outgoing]) -> list[Receipt | Exception]:
        """Put them down together; what can't be put down fails no other."""
        answers: list[Receipt | Exception | None] = []
        items = []
        for message in messages:
            try:
                item = self._item(message)
            except ValueError as wrong:
                answers.append(wrong)
                continue
            answers.append(item if isinstance(item, Receipt) else None)
            if not isinstance(item, Receipt):
                items.append(item)
        put = await self._put(items) if items else {}
        return [answer or self._receipt(put, message) for answer, message in zip(answers, messages, strict=True)]

    async def _put(self, items: list[dict[str, Json]]) -> dict[str, int] | str:
        """Key → number, or why it wasn't to be."""
        assert self._database is not None, "the composition root opens the inbox"
        try:
            async with transaction(self._database) as c:
                return await inbox.put(c, items)
        except (SQLAlchemyError, OSError) as lost:
            return f"the database didn't take it: {type(lost).__name__}"

    def _receipt(self, put: dict[str, int] | str, message: Outgoing) -> Receipt:
        if isinstance(put, str):
            return Receipt(Result.LATER, words=put)  # safe: a key is put down once
        found = put.get(clean_text(message.key))
        if found is None:
            return Receipt(Result.REFUSED, words="not sent: there is no such customer any more")
        return Receipt(Result.ACCEPTED, provider_id=str(found))

    def _item(self, message: Outgoing) -> dict[str, Json] | Receipt:
        if not (message.customer.isascii() and message.customer.isdecimal() and len(message.customer) < 19):
            return unusable("this is no customer's number")
        title, text = title_of(message), text_of(message)
        try:
            data = json_text(_plain(extras(message)))
        except (TypeError, RecursionError) as wrong:  # a number over 64 bits, or nesting that no reader takes
            raise ValueError(f"the template {message.template}: its .json can't be stored: {wrong}") from None
        size = len(json_bytes([title, text])) + len(data.encode())
        if size > self.settings.max_bytes:
            return too_big(size, self.settings.max_bytes)
        return {
            "key": clean_text(message.key),
            "customer": int(message.customer),
            "channel": self.name,
            "title": title,
            "body": text,
            "data": data,
        }


def _plain(value: Json) -> Json:
    """`value` as a JSON column takes it."""
    if isinstance(value, dict):
        return {clean_text(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return clean_text(value) if isinstance(value, str) else value
