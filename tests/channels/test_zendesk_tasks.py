"""Zendesk's receiver before a stand-in that gives its documented answers; events as its documentation shows them."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import ClassVar

from engine.delivery.channel import Feedback, Notice, Receipt, Result
from engine.delivery.http import basic
from engine.delivery.testing import Signer
from tests.channels.http_sink import Request, says
from tests.channels.receivers import KEY, ReceiverCases, hook

TOKEN, SECRET = "zd-token-7d1", "dGhpc19zZWNyZXQtMzNh"
LOGIN = basic("ops@skin.example/token", TOKEN)


def status(current: str, previous: str = "OPEN") -> bytes:
    """A ticket's new status, as documented."""
    detail = {"id": "35436", "external_id": KEY, "status": current, "subject": "Call Ada", "type": "TASK", "tags": ["sojourn"]}
    told = {
        "account_id": 22129848,
        "detail": detail,
        "event": {"current": current, "previous": previous},
        "id": "cbe4028c-7239-495d-b020-f22348516046",
        "subject": "zen:ticket:35436",
        "time": "2022-06-08T10:12:07.672717030Z",
        "type": "zen:event-type:ticket.status_changed",
        "zendesk_event_version": "2022-06-20",
    }
    return json.dumps(told).encode()


class TestZendeskTasks(ReceiverCases):
    """Every conformance case, and what is Zendesk's own."""

    use = "channels.zendesk_tasks"
    remote = "35436"
    settings: ClassVar = {"subdomain": "skin", "email": "ops@skin.example", "token": TOKEN, "signing_secret": SECRET}
    secrets = (TOKEN, SECRET, LOGIN.split()[1])
    told: ClassVar = [
        (
            status("SOLVED"),
            [
                Feedback(
                    "completed",
                    KEY,
                    "35436",
                    at=datetime(2022, 6, 8, 10, 12, 7, 672717, tzinfo=UTC),
                    id="cbe4028c-7239-495d-b020-f22348516046",
                )
            ],
        ),
        (status("PENDING"), []),
        (status("CLOSED", "SOLVED"), []),
    ]

    def accepts(self, request: Request) -> bytes:
        """As documented."""
        return says(201, {"ticket": {"id": 35436, "subject": "Call Ada", "status": "new", "external_id": KEY}})

    def refusal(self, words: str) -> bytes:
        """As documented."""
        return says(422, {"error": "RecordInvalid", "description": words, "details": {}})

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        """Time and body, signed."""
        stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        key = SECRET if signer == "provider" else "another"
        mac = b64encode(hmac.new(key.encode(), stamp.encode() + body, hashlib.sha256).digest()).decode()
        signed = {"x-zendesk-webhook-signature": mac, "x-zendesk-webhook-signature-timestamp": stamp}
        return hook(body, {} if signer == "nobody" else signed, at)

    async def test_request(self) -> None:
        """A ticket of type task under its key, for whom Zendesk knows; else the body says for whom."""
        async with self.stage("accepts") as stage:
            receipt = await stage.channel.send(self.message(to="bea@skin.example"))
            await stage.channel.send(self.message(to="235323"))
            await stage.channel.send(self.message(to="the night shift"))
        first, second, third = self.heard(stage)
        assert (first.method, first.target, first.headers["authorization"]) == ("POST", "/api/v2/tickets", LOGIN)
        assert first.headers["idempotency-key"] == KEY
        about = "Customer 41, journey post_purchase_care, step how_to_use"
        assert first.json["ticket"] == {
            "subject": "Call Ada",
            "comment": {"body": f"She gave two stars.\n\n{about}", "public": False},
            "type": "task",
            "external_id": KEY,
            "tags": ["sojourn"],
            "assignee_email": "bea@skin.example",
            "due_at": "2026-11-24T10:00:00+01:00",
        }
        assert second.json["ticket"]["assignee_id"] == 235323
        assert third.json["ticket"]["comment"]["body"] == f"She gave two stars.\n\nFor the night shift\n\n{about}"
        assert receipt == Receipt(Result.ACCEPTED, provider_id="35436")

    async def test_closing(self) -> None:
        """It is solved; what Zendesk doesn't let be solved is said in its words."""
        told, (request,) = await self.closed(says(200, {"ticket": {"id": 35436, "status": "solved"}}))
        assert (told.result, request.method, request.target) == (Result.ACCEPTED, "PUT", "/api/v2/tickets/35436")
        assert request.json == {"ticket": {"status": "solved"}}
        refused, _ = await self.closed(self.refusal("Assignee is required when solving a ticket"))
        assert refused.words == "422 RecordInvalid Assignee is required when solving a ticket"

    async def test_a_token_alone(self) -> None:
        """Without an agent's address it is an OAuth token."""
        cases = type("Cases", (TestZendeskTasks,), {"settings": {"subdomain": "skin", "token": TOKEN}})()
        async with cases.stage("accepts") as stage:
            await stage.channel.send(self.message())
            (request,) = self.heard(stage)
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
