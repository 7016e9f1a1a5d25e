"""Amazon SES before a stand-in that gives its documented answers; events as documented, in signed messages of an SNS topic."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from channels.letter import packed
from channels.ses import Ses, Settings
from channels.sigv4 import Credentials, signed
from channels.sns import CERTIFICATES, Sns
from engine.delivery.channel import Feedback, Forged, Notice, Receipt, Result
from engine.delivery.http import fetched
from engine.delivery.testing import NOW, Signer, Stage
from tests.channels.http_sink import HttpCases, Reply, Request, says

SECRET, SESSION = "wJalr-secret-6a1", "session-77d"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:ses-events"
CERTIFICATE = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b.pem"
CONFIRM = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=x&Token=2336412f37"
KEYS = {who: rsa.generate_private_key(public_exponent=65537, key_size=2048) for who in ("provider", "stranger")}
ID = "EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000"
AT = datetime(2017, 8, 5, 0, 41, 2, 669000, tzinfo=UTC)
WHO = {"key": "e1/s/0/0", "provider_id": ID, "address": "recipient@example.com", "at": AT, "id": "22b80b92-fdea"}


def pem() -> bytes:
    """The certificate that Amazon would have at CERTIFICATE."""
    name, key = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")]), KEYS["provider"]
    day = timedelta(days=1)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), NOW - day, NOW + day)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


PEM = pem()


def event(name: str, about: dict[str, Any], **more: Any) -> bytes:
    """One event record."""
    mail = {
        "timestamp": "2017-08-05T00:40:02.012Z",
        "source": "Sender Name <sender@example.com>",
        "messageId": ID,
        "destination": ["recipient@example.com"],
        "tags": {"ses:configuration-set": ["ConfigSet"], "sojourn_key": [packed("e1/s/0/0")]},
    }
    return json.dumps(
        {"eventType": name, "mail": mail, name.lower(): {"timestamp": "2017-08-05T00:41:02.669Z", **about}}
    ).encode()


def subscription(all: bool) -> dict[str, Any]:
    """What a Subscription record says, as documented: somebody left every topic, or one."""
    topics = [{"topicName": "ExampleTopicName", "subscriptionStatus": "OptOut"}]
    return {
        "contactList": "ContactListName",
        "source": "UnsubscribeHeader",
        "newTopicPreferences": {"unsubscribeAll": all, "topicSubscriptionStatus": topics},
        "oldTopicPreferences": {
            "unsubscribeAll": False,
            "topicSubscriptionStatus": [{**topics[0], "subscriptionStatus": "OptIn"}],
        },
    }


def sns(at: datetime, signer: Signer, version: str = "2", **fields: str) -> Notice:
    """A message of a topic's, signed by `signer`."""
    told = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea",
        "TopicArn": TOPIC,
        "Timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE,
        **fields,
    }
    kind = told["Type"]
    more = ("Subject",) if kind == "Notification" else ("SubscribeURL", "Token")
    names = sorted(name for name in ("Message", "MessageId", "Timestamp", "TopicArn", "Type", *more) if name in told)
    if signer != "nobody":
        over = "".join(f"{name}\n{told[name]}\n" for name in names).encode()
        hashed = hashes.SHA256() if version == "2" else hashes.SHA1()
        told["Signature"] = base64.b64encode(KEYS[signer].sign(over, padding.PKCS1v15(), hashed)).decode()
    headers = {"content-type": "text/plain; charset=UTF-8"}
    return Notice("POST", "https://m.example/v1/channels/email/webhook", headers, json.dumps(told).encode(), at)


class TestSes(HttpCases):
    """Every conformance case. Amazon's certificate is the one thing of it that can't be had here."""

    use = "channels.ses"
    settings: ClassVar = {
        "region": "eu-west-1",
        "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": SECRET,
        "session_token": SESSION,
        "configuration_set": "ConfigSet",
        "topic_arn": TOPIC,
    }
    secrets = (SECRET, SESSION)
    max_age = 3_900.0
    replies: ClassVar = {
        "busy": says(400, {"message": "Maximum sending rate exceeded."}, "x-amzn-ErrorType: ThrottlingException:http://x/"),
        "busy_for": says(429, {"message": "slow"}, "x-amzn-ErrorType: TooManyRequestsException", "Retry-After: 7"),
    }
    told: ClassVar = (
        (event("Send", {}), []),
        (event("DeliveryDelay", {"delayType": "MailboxFull"}), []),
        (event("Delivery", {"smtpResponse": "250 ok"}), [Feedback("delivered", **WHO, words="250 ok")]),
        (
            event(
                "Bounce",
                {
                    "bounceType": "Permanent",
                    "bounceSubType": "General",
                    "bouncedRecipients": [
                        {"emailAddress": "recipient@example.com", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 unknown"}
                    ],
                },
            ),
            [Feedback("bounced", **WHO, words="smtp; 550 5.1.1 unknown", suppress="hard_bounce")],
        ),
        (event("Bounce", {"bounceType": "Transient", "bouncedRecipients": [{}]}), [Feedback("bounced", **WHO)]),
        (
            event(
                "Complaint",
                {"complainedRecipients": [{"emailAddress": "recipient@example.com"}], "complaintFeedbackType": "abuse"},
            ),
            [Feedback("complained", **WHO, words="abuse", suppress="complaint")],
        ),
        (event("Open", {"ipAddress": "192.0.2.1"}), [Feedback("opened", **WHO)]),
        (event("Click", {"link": "http://docs.example/"}), [Feedback("clicked", **WHO, url="http://docs.example/")]),
        (event("Subscription", subscription(all=True)), [Feedback("unsubscribed", **WHO)]),
        (event("Subscription", subscription(all=False)), []),
        (event("Reject", {"reason": "Bad content"}), [Feedback("failed", **WHO, words="Bad content")]),
    )

    def accepts(self, request: Request) -> bytes:
        """As documented."""
        return says(200, {"MessageId": ID})

    def refusal(self, words: str) -> bytes:
        """As documented."""
        return says(400, {"message": words}, "x-amzn-ErrorType: MessageRejected")

    def notice(self, body: bytes, at: datetime, signer: Signer) -> Notice:
        """What SES published, in a notification of the topic."""
        return sns(at, signer, Message=body.decode("latin-1"))

    @asynccontextmanager
    async def before(self, reply: Reply, hangs: bool = False, gone: bool = False) -> AsyncIterator[Stage]:
        """Amazon's hosts hold one certificate."""
        self.asked: list[str] = []

        async def amazon(url: str) -> bytes:
            self.asked.append(url)
            return PEM if url == CERTIFICATE else b"<html>ok</html>"

        async with super().before(reply, hangs, gone) as stage:
            assert isinstance(stage.channel, Ses)
            stage.channel.sns.fetch = amazon
            yield stage

    async def test_request(self) -> None:
        """The message as MIME, tagged with its key; the signature is that of the credentials over what arrived."""
        async with self.stage("accepts") as stage:
            receipt = await stage.channel.send(self.message())
            await stage.channel.send(self.message(key="k" * 300))
        first, second = self.heard(stage)
        told = first.json
        assert {name: told[name] for name in told if name != "Content"} == {
            "FromEmailAddress": "care@skin.example",
            "Destination": {"ToAddresses": ["ada@example.com"]},
            "EmailTags": [{"Name": "sojourn_key", "Value": packed("e1/how_to_use/0/0")}],
            "ConfigurationSetName": "ConfigSet",
        }
        mail = email.message_from_bytes(base64.b64decode(told["Content"]["Raw"]["Data"]), policy=email.policy.default)
        assert (mail["From"], mail["Reply-To"], mail["To"]) == (
            "Skin Co <care@skin.example>",
            "help@skin.example",
            "ada@example.com",
        )
        assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert second.json["EmailTags"] == []
        assert first.target == "/v2/email/outbound-emails"
        assert first.headers["x-amz-security-token"] == SESSION
        at = datetime.strptime(first.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        who = Credentials("AKIDEXAMPLE", SECRET, SESSION, "eu-west-1", "ses")
        url = f"http://{first.headers['host']}{first.target}"
        again = signed(who, "POST", url, {"Content-Type": "application/json"}, first.body, at)
        assert first.headers["authorization"] == again["Authorization"]
        assert receipt == Receipt(Result.ACCEPTED, provider_id=ID)

    async def test_account(self) -> None:
        """What concerns the account for now, whatever its status, was not sent and waits."""
        for name in ("LimitExceededException", "SendingPausedException"):
            async with self.before(says(400, {"message": "quota"}, f"x-amzn-ErrorType: {name}")) as stage:
                assert await stage.channel.send(self.message()) == Receipt(Result.LATER, words=f"400 {name} quota")

    async def test_subscription(self) -> None:
        """A topic that asks is told yes, once its signature holds; a goodbye changes nothing; another topic is nobody's."""
        about = {"Message": "You have chosen to subscribe", "SubscribeURL": CONFIRM, "Token": "2336412f37"}
        async with self.stage("accepts") as stage:
            channel = stage.channel
            assert await channel.parse_webhook(sns(NOW, "provider", Type="SubscriptionConfirmation", **about)) == []
            assert self.asked == [CERTIFICATE, CONFIRM]
            assert await channel.parse_webhook(sns(NOW, "provider", Type="UnsubscribeConfirmation", **about)) == []
            with pytest.raises(Forged, match="wrong"):
                await channel.parse_webhook(sns(NOW, "stranger", Type="SubscriptionConfirmation", **about))
            with pytest.raises(Forged, match="topic"):
                await channel.parse_webhook(sns(NOW, "provider", TopicArn=TOPIC + "2", Message="{}"))
            assert self.asked == [CERTIFICATE, CONFIRM]

    async def test_versions(self) -> None:
        """Both versions of the signature and a subject are understood; changed words are forged."""
        async with self.stage("accepts") as stage:
            for version in ("1", "2"):
                notice = sns(NOW, "provider", version, Message=event("Open", {}).decode(), Subject="Amazon SES")
                assert len(await stage.channel.parse_webhook(notice)) == 1
                with pytest.raises(Forged):
                    await stage.channel.parse_webhook(replace(notice, body=notice.body.replace(b"Open", b"Spam")))
            assert self.asked == [CERTIFICATE]


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com.evil.example/x.pem",
        "https://evil.example/sns.eu-west-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/x.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/x.pem",
        "https://s3.eu-west-1.amazonaws.com/mine/x.pem",
        "https://sns.s3-us-west-2.amazonaws.com/x.pem",  # anybody's bucket called "sns"
        "https://sns.us-east-1.amazonaws.com/x.pem",
        "https://sns.eu-west-1.amazonaws.com.cn/x.pem",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1",
        "file:///etc/passwd",
        "",
    ],
)
async def test_certificates_of_amazon_only(url: str) -> None:
    """A certificate from anywhere but SNS's own hosts is not fetched, let alone believed."""
    with pytest.raises(Forged, match="certificate"):
        await Sns(TOPIC).message(sns(NOW, "provider", Message="{}", SigningCertURL=url))


async def test_certificates_are_kept() -> None:
    """Each certificate is fetched once; a few are kept, those used last. What can't be had is no forgery: Amazon repeats it."""
    asked: list[str] = []

    async def amazon(url: str) -> bytes:
        asked.append(url)
        if "down" in url:
            raise httpx.ConnectError("down")
        return b"no certificate" if "odd" in url else PEM

    topic = Sns(TOPIC, amazon)
    for n in (*range(CERTIFICATES), 0, CERTIFICATES, 0, 1):
        assert await topic.message(sns(NOW, "provider", Message="{}", SigningCertURL=f"{CERTIFICATE}?{n}")) is not None
    assert [url.rpartition("?")[2] for url in asked] == [*map(str, range(CERTIFICATES + 1)), "1"]
    with pytest.raises(httpx.ConnectError):
        await topic.message(sns(NOW, "provider", Message="{}", SigningCertURL="https://down"))
    with pytest.raises(Forged, match="certificate"):
        await topic.message(sns(NOW, "provider", Message="{}", SigningCertURL="https://odd"))


async def test_only_what_is_public() -> None:
    """A host of the right name that leads inside (here: this machine) is not reached."""
    with pytest.raises(httpx.ConnectError, match="private address"):
        await fetched("https://localhost/x.pem", re.compile("localhost"))


@pytest.mark.parametrize(
    ("method", "headers", "body", "signature"),
    [
        ("GET", {}, b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", {}, b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ],
)
def test_published_signatures(method: str, headers: dict[str, str], body: bytes, signature: str) -> None:
    """The requests that AWS published with their signatures (aws-sig-v4-test-suite: get-vanilla, post-vanilla)."""
    who = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "", "us-east-1", "service")
    at = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
    made = signed(who, method, "https://example.amazonaws.com/", headers, body, at)
    assert made["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}"
    )
    assert hashlib.sha256(body).hexdigest() not in repr(who)
    assert "EXAMPLEKEY" not in repr(who)


def test_regions() -> None:
    """The region gives the host; what is no region is refused, so that nothing is sent to a host of somebody's choice."""
    settings = {"access_key_id": "A", "secret_access_key": "b"}
    assert (
        Settings.model_validate({**settings, "region": "us-gov-west-1"}).base_url == "https://email.us-gov-west-1.amazonaws.com"
    )
    with pytest.raises(ValueError, match="region"):
        Settings.model_validate({**settings, "region": "evil.example/#"})
