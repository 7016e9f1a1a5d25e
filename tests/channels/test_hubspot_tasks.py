"""HubSpot's receiver before a stand-in that gives its documented answers; notices as its documentation shows them."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import ClassVar

from engine.delivery.channel import Content, Feedback, Notice, Receipt, Result
from engine.delivery.testing import Signer
from tests.channels.http_sink import Request, says
from tests.channels.receivers import FIELDS, HOOK, ReceiverCases, hook

TOKEN, SECRET = "pat-eu1-5a20", "client-secret-90e"


def change(**more: object) -> dict[str, object]:
    """One change, as documented."""
    return {
        "eventId": 3816279340,
        "subscriptionId": 25,
        "portalId": 33,
        "appId": 1160452,
        "occurredAt": 1462216307945,
        "subscriptionType": "object.propertyChange",
        "attemptNumber": 0,
        "objectId": 17589,
        "objectTypeId": "0-27",
        "propertyName": "hs_task_status",
        "propertyValue": "COMPLETED",
        "changeSource": "CRM",
        **more,
    }


OTHERS = (change(propertyValue="IN_PROGRESS"), change(propertyName="hs_task_subject"), change(objectTypeId="0-1"))


class TestHubSpotTasks(ReceiverCases):
    """Every conformance case, and what is HubSpot's own."""

    use = "channels.hubspot_tasks"
    remote = "17589"
    settings: ClassVar = {"token": TOKEN, "client_secret": SECRET, "assignees": {"bea": "64492917"}}
    secrets = (TOKEN, SECRET)
    told: ClassVar = [
        (
            json.dumps([change(), *OTHERS]).encode(),
            [Feedback("completed", "", "17589", at=datetime(2016, 5, 2, 19, 11, 47, 945000, tzinfo=UTC), id="3816279340")],
        )
    ]

    def accepts(self, request: Request) -> bytes:
        """As documented."""
        return says(201, {"id": "17589", "properties": {"hs_task_status": "NOT_STARTED"}, "archived": False})

    def refusal(self, words: str) -> bytes:
        """As documented."""
        return says(400, {"status": "error", "message": words, "correlationId": "aeb5f871", "category": "VALIDATION_ERROR"})

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        """Method, URI, body and time, signed."""
        stamp = str(int(at.timestamp() * 1000))
        key = SECRET if signer == "provider" else "another"
        signed = b64encode(hmac.new(key.encode(), f"POST{HOOK}".encode() + body + stamp.encode(), hashlib.sha256).digest())
        headers = {"x-hubspot-signature-v3": signed.decode(), "x-hubspot-request-timestamp": stamp}
        return hook(body, {} if signer == "nobody" else headers, at)

    async def test_request(self) -> None:
        """A task with its due date, else that of its step; an assignee by the number of an owner."""
        async with self.stage("accepts") as stage:
            receipt = await stage.channel.send(self.message(to="bea"))
            await stage.channel.send(self.message(to="somebody", content=Content({**FIELDS, "due": ""})))
        first, second = self.heard(stage)
        assert (first.method, first.target) == ("POST", "/crm/v3/objects/tasks")
        assert first.headers["authorization"] == f"Bearer {TOKEN}"
        about = "Customer 41, journey post_purchase_care, step how_to_use"
        assert first.json["properties"] == {
            "hs_timestamp": "2026-11-24T10:00:00+01:00",
            "hs_task_subject": "Call Ada",
            "hs_task_body": f"She gave two stars.\n\n{about}",
            "hs_task_status": "NOT_STARTED",
            "hs_task_type": "TODO",
            "hubspot_owner_id": "64492917",
        }
        alone = second.json["properties"]
        assert (alone["hs_timestamp"], "hubspot_owner_id" in alone) == ("2026-11-22T12:00:00+00:00", False)
        assert alone["hs_task_body"] == f"For somebody\n\n{about}"
        assert receipt == Receipt(Result.ACCEPTED, provider_id="17589")

    async def test_closing(self) -> None:
        """It is completed."""
        told, (request,) = await self.closed(says(200, {"id": "17589"}))
        assert (told.result, request.method, request.target) == (Result.ACCEPTED, "PATCH", "/crm/v3/objects/tasks/17589")
        assert request.json == {"properties": {"hs_task_status": "COMPLETED"}}
