"""Postmark before a stand-in that gives its documented answers; notices as its documentation shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

import pytest

from channels.postmark import Postmark, Settings
from engine.delivery.channel import Feedback, Forged, Notice, Receipt, Result
from engine.delivery.http import basic
from engine.delivery.testing import ANSWERS, Signer
from tests.channels.http_sink import HttpCases, Request, says

TOKEN, PASSWORD = "server-token-71c", "hook-pass-0b2"
ID = "b7bc2f4a-e38e-4336-af7d-e6c392c2f817"
TAKEN = {"To": "ada@example.com", "SubmittedAt": "2026-11-22T12:00:00Z", "MessageID": ID, "ErrorCode": 0, "Message": "OK"}
META = '"MessageID": "m-1", "MessageStream": "outbound", "Metadata": {"key": "e1/how_to_use/0/0"}, "Tag": ""'
WHO = {"key": "e1/how_to_use/0/0", "provider_id": "m-1", "address": "john@example.com"}


def bounce(type: str) -> bytes:
    """A bounce as the documentation shows it."""
    when = '"BouncedAt": "2019-11-05T16:33:54.9070259Z"'
    return f"""{{"RecordType": "Bounce", "ID": 42, "Type": "{type}", "TypeCode": 1, {META}, "Name": "bounce", {when},
        "Details": "smtp;550", "Email": "john@example.com", "Inactive": true, "Subject": "x"}}""".encode()


BOUNCED = datetime(2019, 11, 5, 16, 33, 54, 907025, tzinfo=UTC)


class TestPostmark(HttpCases):
    """Every conformance case. What Postmark did with a message stands in its answer's body alone."""

    use = "channels.postmark"
    settings: ClassVar = {"token": TOKEN, "webhook_user": "sojourn", "webhook_password": PASSWORD}
    secrets = (TOKEN, PASSWORD, basic("sojourn", PASSWORD).split()[1])
    answers: ClassVar = {**ANSWERS, "garbles": Result.UNKNOWN}
    replies: ClassVar = {"busy": says(429, {"ErrorCode": 429, "Message": "Rate limit exceeded"})}
    max_age = None
    told: ClassVar = (
        (
            f"""{{"RecordType": "Delivery", {META}, "ServerID": 23, "Recipient": "john@example.com",
            "DeliveredAt": "2019-11-05T16:33:54.9070259Z", "Details": "Test delivery webhook details"}}""".encode(),
            [Feedback("delivered", **WHO, at=BOUNCED, words="Test delivery webhook details")],
        ),
        (bounce("HardBounce"), [Feedback("bounced", **WHO, at=BOUNCED, words="smtp;550", suppress="hard_bounce", id="42")]),
        (bounce("SoftBounce"), [Feedback("bounced", **WHO, at=BOUNCED, words="smtp;550", id="42")]),
        (bounce("Transient"), []),
        (
            bounce("SpamComplaint").replace(b'"Bounce"', b'"SpamComplaint"'),
            [Feedback("complained", **WHO, at=BOUNCED, words="smtp;550", suppress="complaint", id="42")],
        ),
        (
            f"""{{"RecordType": "Open", {META}, "FirstOpen": true, "Recipient": "john@example.com",
            "ReceivedAt": "2019-11-05T16:33:54.9070259Z", "Platform": "WebMail"}}""".encode(),
            [Feedback("opened", **WHO, at=BOUNCED)],
        ),
        (
            f"""{{"RecordType": "Click", {META}, "ClickLocation": "HTML", "Recipient": "john@example.com",
            "ReceivedAt": "2019-11-05T16:33:54.9070259Z", "OriginalLink": "https://example.com/x"}}""".encode(),
            [Feedback("clicked", **WHO, at=BOUNCED, url="https://example.com/x")],
        ),
        (
            f"""{{"RecordType": "SubscriptionChange", {META}, "ChangedAt": "2019-11-05T16:33:54.9070259Z", "Origin": "Recipient",
            "Recipient": "john@example.com", "SuppressSending": true, "SuppressionReason": "ManualSuppression"}}""".encode(),
            [Feedback("unsubscribed", **WHO, at=BOUNCED)],
        ),
        (b'{"RecordType": "SubscriptionChange", "Recipient": "a@b.example", "SuppressSending": false}', []),
    )

    def accepts(self, request: Request) -> bytes:
        """Alone or in a batch."""
        many = request.target == "/email/batch"
        return says(200, [{**TAKEN, "MessageID": m["Metadata"]["key"]} for m in request.json] if many else TAKEN)

    def refusal(self, words: str) -> bytes:
        """422, whatever is wrong with the message."""
        return says(422, {"ErrorCode": 300, "Message": words})

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        """User and password of the webhook's URL."""
        headers = {"provider": basic("sojourn", PASSWORD), "stranger": basic("sojourn", "another"), "nobody": ""}
        return Notice("POST", "https://m.example/v1/channels/email/webhook", {"authorization": headers[signer]}, body, at)

    async def test_request(self) -> None:
        """The message as Postmark wants it, with its key; a key longer than Metadata takes is left out."""
        async with self.stage("accepts") as stage:
            receipt = await stage.channel.send(self.message())
            await stage.channel.send(self.message(key="k" * 81, unsubscribe_url=None))
        first, second = self.heard(stage)
        assert (first.method, first.target, first.headers["x-postmark-server-token"]) == ("POST", "/email", TOKEN)
        assert first.json == {
            "From": '"Skin Co" <care@skin.example>',
            "To": "ada@example.com",
            "ReplyTo": "help@skin.example",
            "Subject": "How to use it",
            "MessageStream": "outbound",
            "TextBody": "Morning and evening.",
            "HtmlBody": "<p>Morning and evening.</p>",
            "Headers": [
                {"Name": "List-Unsubscribe", "Value": "<https://m.skin.example/u/abc>"},
                {"Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click"},
                {"Name": "List-Id", "Value": "<product-education.skin.example>"},
            ],
            "Metadata": {"key": "e1/how_to_use/0/0"},
        }
        assert (second.json["Headers"], second.json["Metadata"]) == ([], {})
        assert receipt == Receipt(Result.ACCEPTED, provider_id=ID)

    async def test_each_of_a_batch(self) -> None:
        """Each letter of a batch has its own answer: refused, inactive, under maintenance, or none where Postmark gave none."""
        parts = [
            {**TAKEN, "MessageID": "m-0"},
            {"ErrorCode": 406, "Message": "You tried to send to a recipient that has been marked as inactive."},
            {"ErrorCode": 300, "Message": "Invalid 'To' address"},
            {"ErrorCode": 100, "Message": "Maintenance"},
            "what?",
        ]
        async with self.before(says(200, parts)) as stage:
            answers = await stage.channel.send_many([self.message(key=f"e{n}/s/0/0") for n in range(6)])
        found = [(a.result, a.suppress, a.provider_id) for a in answers if isinstance(a, Receipt)]
        assert found == [
            (Result.ACCEPTED, None, "m-0"),
            (Result.REFUSED, "inactive", ""),
            (Result.REFUSED, None, ""),
            (Result.LATER, None, ""),
            (Result.UNKNOWN, None, ""),
            (Result.UNKNOWN, None, ""),
        ]
        assert len(self.heard(stage)) == 1
        async with self.before(says(422, {"ErrorCode": 406, "Message": "inactive"})) as stage:
            assert await stage.channel.send(self.message()) == Receipt(
                Result.REFUSED, words="422 406 inactive", suppress="inactive"
            )

    async def test_batches(self) -> None:
        """501 letters go in two requests, and the answer to the larger, of Postmark's own length, is read whole; letters that
        together are too large for one go in several, each in its order."""
        many = [self.message(key=f"{n:08}{ID[8:]}") for n in range(501)]
        async with self.stage("accepts") as stage:
            answers = await stage.channel.send_many(many)
            assert [a.provider_id for a in answers if isinstance(a, Receipt)] == [m.key for m in many]
        assert sorted(len(r.json) for r in self.heard(stage)) == [1, 500]
        async with self.before(self.accepts) as stage:
            small = Postmark(Settings.model_validate({"max_bytes": 2000, "base_url": stage.settings["base_url"], "token": TOKEN}))
            answers = await small.send_many(many[:20])
            await small.close()
        assert [a.provider_id for a in answers if isinstance(a, Receipt)] == [m.key for m in many[:20]]
        assert max(len(r.body) for r in self.heard(stage)) <= 2000
        assert len(self.heard(stage)) > 2

    async def test_no_webhook_without_a_password(self) -> None:
        """Where no password is set, nobody is Postmark, an empty password included."""
        bare = Postmark(Settings.model_validate({"token": TOKEN}))
        for header in ("", basic("", "")):
            with pytest.raises(Forged, match="signature"):
                await bare.parse_webhook(Notice("POST", "https://x", {"authorization": header}, b"{}", BOUNCED))
        await bare.close()
