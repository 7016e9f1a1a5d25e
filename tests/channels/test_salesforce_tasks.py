"""Salesforce's receiver before a stand-in that gives its documented answers; its Flow's posts as docs/reference/channels.md has
them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from math import inf
from typing import ClassVar

from channels.salesforce_tasks import Salesforce
from engine.delivery.channel import Feedback, Notice, Receipt, Result
from engine.delivery.testing import Behaviour, Signer, Stage
from tests.channels.http_sink import Request, answer, says
from tests.channels.receivers import KEY, ReceiverCases, hook

CLIENT, ACCESS, BEARER = "client-secret-2f8", "00Dxx!access-77", "flow-token-1c9"
ID = "00T5g00000Ab12CEAR"
GRANTED = says(200, {"access_token": ACCESS, "instance_url": "https://skin.my.salesforce.com", "token_type": "Bearer"})


class TestSalesforceTasks(ReceiverCases):
    """Every conformance case, and what is Salesforce's own."""

    use = "channels.salesforce_tasks"
    remote = ID
    huge = None  # it is cut to what Salesforce takes
    settings: ClassVar = {"client_id": "3MVG9", "client_secret": CLIENT, "webhook_token": BEARER}
    secrets = (CLIENT, ACCESS, BEARER)
    max_age = None
    told: ClassVar = [
        (
            json.dumps({"Id": ID, "Key": KEY, "At": "2026-11-22T11:59:00Z"}).encode(),
            [Feedback("completed", KEY, ID, at=datetime(2026, 11, 22, 11, 59, tzinfo=UTC), id=ID)],
        ),
        (b'{"Key": "x"}', []),
    ]

    @asynccontextmanager
    async def stage(self, behaviour: Behaviour) -> AsyncIterator[Stage]:
        """The token is had already; what comes after it behaves."""
        async with super().stage(behaviour) as stage:
            assert isinstance(stage.channel, Salesforce)
            stage.channel._grant._held, stage.channel._grant._ends = ACCESS, inf
            yield stage

    def accepts(self, request: Request) -> bytes:
        """As documented."""
        return says(201, {"id": ID, "success": True, "errors": [], "created": True})

    def refusal(self, words: str) -> bytes:
        """As documented."""
        return says(400, [{"message": words, "errorCode": "INVALID_FIELD", "fields": []}])

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        """The Flow's bearer token."""
        said = {"provider": f"Bearer {BEARER}", "stranger": "Bearer another", "nobody": ""}[signer]
        return hook(body, {"authorization": said}, at)

    async def test_request(self) -> None:
        """One token for several tasks, each upserted under its key."""

        def org(request: Request) -> bytes:
            return GRANTED if request.target == "/services/oauth2/token" else self.accepts(request)

        async with self.before(org) as stage:
            receipt = await stage.channel.send(self.message(to="0055g00000Bea12"))
            await stage.channel.send(self.message(key="7/ü/0/0", to="Bea"))
        asked, first, second = self.heard(stage)
        assert asked.form == {"grant_type": ["client_credentials"], "client_id": ["3MVG9"], "client_secret": [CLIENT]}
        path = "/services/data/v62.0/sobjects/Task/Sojourn_Key__c"
        assert (first.method, first.target) == ("PATCH", f"{path}/7%2Ftell_service%2F0%2F0")
        assert first.headers["authorization"] == f"Bearer {ACCESS}"
        about = "Customer 41, journey post_purchase_care, step how_to_use"
        assert first.json == {
            "Subject": "Call Ada",
            "Description": f"She gave two stars.\n\n{about}",
            "Status": "Not Started",
            "OwnerId": "0055g00000Bea12",
            "ActivityDate": "2026-11-24",
        }
        assert second.target == f"{path}/7%2F%C3%BC%2F0%2F0"
        assert second.json["Description"] == f"She gave two stars.\n\nFor Bea\n\n{about}"
        assert receipt == Receipt(Result.ACCEPTED, provider_id=ID)

    async def test_closing(self) -> None:
        """It is completed, also where the first token had ended; a limit of the day's calls waits."""
        ended = [says(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]), answer(204)]
        told, (_, first, _, second) = await self.closed(
            lambda request: GRANTED if request.target == "/services/oauth2/token" else ended.pop(0)
        )
        assert (told.result, first.target) == (Result.ACCEPTED, f"/services/data/v62.0/sobjects/Task/{ID}")
        assert first.json == second.json == {"Status": "Completed"}
        limit = says(403, [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}])
        over, _ = await self.closed(lambda request: GRANTED if request.target == "/services/oauth2/token" else limit)
        assert over == Receipt(Result.LATER, words="REQUEST_LIMIT_EXCEEDED: TotalRequests Limit exceeded.")

    async def test_closing_without_an_id(self) -> None:
        """A task that was there already has answered without its id: it is closed by the key."""
        async with self.before(lambda r: GRANTED if r.target.endswith("/token") else answer(204)) as stage:
            assert isinstance(stage.channel, Salesforce)
            assert (await stage.channel.send(self.message())).provider_id in ("", None)
            told = await stage.channel.finish(KEY, "")
        made, closed = self.heard(stage)[-2:]
        assert (told.result, closed.target) == (Result.ACCEPTED, made.target)
        assert closed.json == {"Status": "Completed"}

    async def test_closing_that_fails(self) -> None:
        """What it says after the token is read as that of a handover is."""
        for reply, expected in ((says(500, []), Result.UNKNOWN), (says(404, []), Result.REFUSED)):
            told, _ = await self.closed(lambda r, reply=reply: GRANTED if r.target.endswith("/token") else reply)
            assert told.result == expected
