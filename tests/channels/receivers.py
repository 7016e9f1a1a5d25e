"""What the tests of adapters that take tasks have in common: a task, and its closing. Tests only."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from engine.delivery.channel import Content, Notice, Outgoing, Receipt, Result
from engine.delivery.receiving import Receiver
from engine.delivery.testing import ANSWERS, NOW
from tests.channels.http_sink import HttpCases, Reply, answer, says
from tests.channels.phones import called

KEY = "7/tell_service/0/0"
HOOK = "https://m.example/v1/channels/tasks.service/webhook"
FIELDS = {"title": "Call Ada", "queue": "service", "due": "2026-11-24T10:00:00+01:00", "at": "2026-11-22T12:00:00+00:00"}


class ReceiverCases(HttpCases):
    """HttpCases for a task of the queue `service`. `remote`: what the program calls it."""

    name = "tasks.service"
    huge: ClassVar[int | None] = 200_000
    remote: ClassVar[str]
    answers: ClassVar = {**ANSWERS, "garbles": Result.ACCEPTED}

    def message(self, **changes: object) -> Outgoing:
        """The task."""
        plain = {"key": KEY, "to": "", "content": Content(FIELDS, text="She gave two stars."), "sender": {}, "customer": "41"}
        given = {**plain, **changes}
        content = given["content"]
        if isinstance(content, Content) and "title" not in content.fields:
            given["content"] = replace(content, fields={**FIELDS, "title": content.fields.get("subject", "x")})
        return super().message(**given)

    async def closed(self, reply: Reply) -> tuple[Receipt, list[Any]]:
        """What the receiver makes of `reply` to a closing, and the requests."""
        async with self.before(reply) as stage:
            assert isinstance(stage.channel, Receiver)
            return await stage.channel.finish(KEY, self.remote), self.heard(stage)

    async def test_closing_that_fails(self) -> None:
        """A closing is read as a handover is: it goes on later, or nobody can close it."""
        for reply, expected in ((says(500, {}), Result.UNKNOWN), (answer(429), Result.LATER), (says(404, {}), Result.REFUSED)):
            assert (await self.closed(reply))[0].result == expected


def hook(body: bytes, headers: dict[str, str], at: datetime = NOW) -> Notice:
    """The program's call."""
    return replace(called(body, headers, HOOK), received=at)
