"""Twilio's adapter: conformance, its parameters, its errors, its signed callbacks."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from dataclasses import replace
from datetime import datetime
from typing import ClassVar
from urllib.parse import parse_qs, parse_qsl, urlencode

import pytest

from engine.delivery.channel import Content, Feedback, Forged, Notice, Receipt, Result
from engine.delivery.testing import NOW, Signer
from tests.channels.http_sink import Request, says
from tests.channels.phones import HOOK, PHONE, PhoneCases, called

SID, TOKEN = "AC" + "0" * 32, "auth-token-1f2e"
BASIC = b64encode(f"{SID}:{TOKEN}".encode()).decode()
QUEUED = {
    "account_sid": SID,
    "api_version": "2010-04-01",
    "body": "Morning and evening.",
    "date_created": "Thu, 24 Aug 2023 05:01:45 +0000",
    "date_sent": None,
    "direction": "outbound-api",
    "error_code": None,
    "error_message": None,
    "from": "+15550100",
    "num_segments": "1",
    "price": None,
    "sid": "SM1b1c0b6ac6f24f9a8a3dfc8b8a6a6b7c",
    "status": "queued",
    "to": PHONE,
}
STATUS = {"AccountSid": SID, "From": "+15550100", "MessageSid": "SM1", "To": PHONE, "ApiVersion": "2010-04-01"}
INBOUND = {"MessageSid": "SM2", "From": PHONE, "To": "+15550100", "Body": "STOP + più", "NumMedia": "0", "FromCity": ""}


def error(code: int, message: str, status: int = 400) -> bytes:
    """An error as Twilio words it."""
    more = f"https://www.twilio.com/docs/errors/{code}"
    return says(status, {"code": code, "message": message, "more_info": more, "status": status})


def status(name: str, **more: str) -> bytes:
    """A status callback."""
    return urlencode({**STATUS, "MessageStatus": name, **more}).encode()


class TestTwilio(PhoneCases):
    """Every conformance case, and what is Twilio's own."""

    use = "channels.twilio"
    settings: ClassVar = {"account_sid": SID, "auth_token": TOKEN, "status_callback": HOOK}
    secrets = (TOKEN, BASIC)
    max_age = None
    told: ClassVar = [
        (status("delivered"), [Feedback("delivered", "", "SM1", PHONE, None, "delivered", id="SM1/delivered")]),
        (status("read"), [Feedback("opened", "", "SM1", PHONE, None, "read", id="SM1/read")]),
        (
            status("undelivered", ErrorCode="30005"),
            [Feedback("bounced", "", "SM1", PHONE, None, "undelivered 30005", "hard_bounce", id="SM1/undelivered")],
        ),
        (
            status("failed", ErrorCode="30008", ErrorMessage="Unknown error"),
            [Feedback("failed", "", "SM1", PHONE, None, "failed 30008 Unknown error", id="SM1/failed")],
        ),
        (status("sent"), []),
        (urlencode(INBOUND).encode(), [Feedback("received", address=PHONE, words="STOP + più", id="SM2")]),
    ]

    def accepts(self, request: Request) -> bytes:
        return says(201, QUEUED)

    def refusal(self, words: str) -> bytes:
        return error(21211, words)

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        text = HOOK + "".join(name + fields[name] for name in sorted(fields))
        key = TOKEN if signer == "provider" else "another"
        mac = b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).decode()
        return replace(called(body, {} if signer == "nobody" else {"x-twilio-signature": mac}), received=at)

    async def test_request(self) -> None:
        """One form with sender, text and callback, under the account's own path; the template's JSON adds parameters."""
        media = ["https://m.example/a.png", "https://m.example/b.png"]
        async with self.stage("accepts") as stage:
            content = Content({}, text="Ciao €", json={"MediaUrl": media, "To": "+15559999"})
            receipt = await stage.channel.send(self.message(to="+39 333 123-4567", content=content))
            (request,) = self.heard(stage)
        assert (request.method, request.target) == ("POST", f"/2010-04-01/Accounts/{SID}/Messages.json")
        assert request.headers["authorization"] == f"Basic {BASIC}"
        sent = parse_qs(request.body.decode())
        assert sent == {
            "To": [PHONE], "From": ["+15550100"], "Body": ["Ciao €"], "StatusCallback": [HOOK], "MediaUrl": media
        }  # fmt: skip
        assert receipt == Receipt(Result.ACCEPTED, provider_id="SM1b1c0b6ac6f24f9a8a3dfc8b8a6a6b7c")

    async def test_errors(self) -> None:
        """Twilio's codes stand in the words; a STOP and a number that is none are not used again; too many requests: later."""
        stop = await self.answered(error(21610, "Attempt to send to unsubscribed recipient"))
        assert stop == Receipt(Result.REFUSED, words="400 21610 Attempt to send to unsubscribed recipient", suppress="stop")
        assert (await self.answered(error(21614, "not a valid mobile number"))).suppress == "invalid_address"
        ours = await self.answered(error(21606, "The 'From' phone number is not valid"))
        assert (ours.result, ours.suppress) == (Result.REFUSED, None)
        busy = await self.answered(error(20429, "Too Many Requests", 429))
        assert (busy.result, busy.words) == (Result.LATER, "429 20429 Too Many Requests")
        nowhere = await self.answered(b"", to="+39 call me")
        assert (nowhere.result, nowhere.suppress) == (Result.REFUSED, "invalid_address")
        with pytest.raises(ValueError, match="has no text"):
            await self.alone().send(self.message(content=Content({"subject": "x"})))

    async def test_another_sender(self) -> None:
        """A messaging service sends in the sender's place, and an API key signs in in the account's."""
        other = {"messaging_service": "MG1", "key_sid": "SK1", "key_secret": "key-secret"}
        cases = type("Cases", (TestTwilio,), {"settings": {**self.settings, **other}})()
        async with cases.stage("accepts") as stage:
            await stage.channel.send(self.message())
            (request,) = self.heard(stage)
        assert request.headers["authorization"] == "Basic " + b64encode(b"SK1:key-secret").decode()
        sent = parse_qs(request.body.decode())
        assert ("From" in sent, sent["MessagingServiceSid"]) == (False, ["MG1"])

    async def test_forged(self) -> None:
        """The signature holds for this URL and this body alone; it is the one that Twilio's own page shows for its example."""
        good, channel = self.notice(status("delivered"), NOW, "provider"), self.alone()
        for bad in (replace(good, body=good.body + b"&Body=1"), replace(good, url=good.url + "?x=1")):
            with pytest.raises(Forged):
                await channel.parse_webhook(bad)
        call = {"CallSid": "CA1234567890ABCDE", "Caller": "+14158675309", "Digits": "1234"}
        body = urlencode({**call, "From": "+14158675309", "To": "+18005551212"}).encode()
        shown = {"x-twilio-signature": "RSOYDt4T1cUTdK1PDd93/VVr8B8="}
        with pytest.raises(ValueError, match="no MessageSid"):  # rightly signed, and about a call
            await self.alone(auth_token="12345").parse_webhook(called(body, shown, "https://mycompany.com/myapp.php?foo=1&bar=2"))
