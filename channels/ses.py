"""E-mail through Amazon SES, API v2.

Facts from the documentation of AWS, read 2026-11-22: "SendEmail" of the SES API v2 (`POST /v2/email/outbound-emails`; raw MIME in
base64; tags of A-Z a-z 0-9 _ - . @ and up to 256 characters, which come back only through a configuration set), "Errors related
to the sending quotas", and "Contents of event data that Amazon SES publishes to Amazon SNS". The SES API has no idempotency keys,
and its bulk call takes only templates of its own. Requests are signed by `sigv4`, notices judged by `sns`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from channels.letter import Letter, Mailer, MailSettings, packed, unpacked
from channels.mime import compose
from channels.sigv4 import Credentials, signed
from channels.sns import Sns
from engine.delivery.channel import Feedback, Notice, Receipt, Result
from engine.delivery.http import Credential, ProviderUrl, json_bytes
from engine.delivery.notices import iso, listed, part, read_json, text

PATH, TAG, MAX_TAG = "/v2/email/outbound-emails", "sojourn_key", 256

WAIT = frozenset(
    {"TooManyRequestsException", "ThrottlingException", "Throttling", "LimitExceededException", "SendingPausedException"}
)
"""Errors that concern the account for now, whatever their status: nothing was sent."""

KINDS: Mapping[str, Literal["delivered", "opened", "clicked", "bounced", "complained", "unsubscribed", "failed"]] = {
    "Delivery": "delivered",
    "Open": "opened",
    "Click": "clicked",
    "Bounce": "bounced",
    "Complaint": "complained",
    "Subscription": "unsubscribed",
    "Reject": "failed",
    "Rendering Failure": "failed",
}
"""Its events; "Send" and "DeliveryDelay" are no outcome yet, and who leaves one of a list's topics is no "Subscription"."""


class Settings(MailSettings):
    """`access_key_id`, `secret_access_key`, `session_token`: of a user or role that may `ses:SendEmail`. `configuration_set`:
    names the events that SES publishes. `topic_arn`: the SNS topic that it publishes them to. `base_url`: by default the
    region's."""

    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")
    access_key_id: str = Field(pattern=r"^\w+$")
    secret_access_key: Credential
    session_token: Credential = SecretStr("")
    configuration_set: str | None = None
    topic_arn: str = ""
    max_bytes: int = Field(default=10_000_000, ge=1_000, le=53_000_000)
    base_url: ProviderUrl = ""

    @model_validator(mode="before")
    @classmethod
    def _of_the_region(cls, given: Any) -> Any:
        if isinstance(given, dict) and "base_url" not in given:
            return {**given, "base_url": f"https://email.{given.get('region')}.amazonaws.com"}
        return given


class Ses(Mailer):
    """One region of an AWS account. `clock` gives the aware time for Date and signature."""

    receipts = frozenset(KINDS.values())

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        secret, token = settings.secret_access_key.get_secret_value(), settings.session_token.get_secret_value()
        super().__init__(settings.base_url, settings, [secret, token])
        self._credentials = Credentials(settings.access_key_id, secret, token, settings.region, "ses")
        self._set, self._url, self._clock = settings.configuration_set, settings.base_url.rstrip("/"), clock
        self.sns = Sns(settings.topic_arn)

    async def post(self, ready: Letter) -> Receipt:
        """See "SendEmail"."""
        at, tag = self._clock(), packed(ready.key)
        mail: dict[str, Any] = {
            "FromEmailAddress": ready.sender[1],
            "Destination": {"ToAddresses": [ready.to]},
            "Content": {"Raw": {"Data": b64encode(compose(ready.message, at)).decode()}},
            "EmailTags": [{"Name": TAG, "Value": tag}] if len(tag) <= MAX_TAG else [],
        }
        if self._set is not None:
            mail["ConfigurationSetName"] = self._set
        raw = json_bytes(mail)
        headers = {"Content-Type": "application/json"}
        answer = await self.ask(
            "POST", PATH, content=raw, headers=signed(self._credentials, "POST", self._url + PATH, headers, raw, at)
        )
        if isinstance(answer, Receipt):
            return answer
        name = answer.headers.get("x-amzn-errortype", "").partition(":")[0]
        words = f"{name} {text(answer.json, 'message', 'Message')}".strip()
        receipt = self.receipt(answer, id=text(answer.json, "MessageId"), words=words)
        return replace(receipt, result=Result.LATER) if name in WAIT else receipt

    async def parse_webhook(self, notice: Notice) -> list[Feedback]:
        """What SES told the topic. A topic that asks whether it may send here is told yes, if it is the one in the settings."""
        told = await self.sns.message(notice)
        if told is None:
            return []
        event = read_json(told.body.encode())
        name = text(event, "eventType", "notificationType")
        if not name:
            raise ValueError("the notice holds no event")
        stays = (
            name == "Subscription" and part(part(event, "subscription"), "newTopicPreferences").get("unsubscribeAll") is not True
        )
        return [_feedback(told.id, name, event)] if name in KINDS and not stays else []


def _feedback(id: str, name: str, event: dict[str, Any]) -> Feedback:
    kind, mail, about = KINDS[name], part(event, "mail"), part(event, name.lower())
    tags = listed(part(mail, "tags"), TAG)
    recipients = [*listed(about, "bouncedRecipients"), *listed(about, "complainedRecipients"), {}]
    hard = kind == "bounced" and text(about, "bounceType") == "Permanent"
    to = listed(mail, "destination")
    return Feedback(
        kind,
        key=unpacked(tags[0]) if tags and isinstance(tags[0], str) else "",
        provider_id=text(mail, "messageId"),
        address=text(recipients[0], "emailAddress") or (to[0] if to and isinstance(to[0], str) else ""),
        at=iso(text(about, "timestamp")),
        words=text(recipients[0], "diagnosticCode") or text(about, "smtpResponse", "reason", "complaintFeedbackType"),
        suppress="hard_bounce" if hard else "complaint" if kind == "complained" else None,
        raw=event,
        id=id,
        url=text(about, "link"),
    )


def channel(config: Mapping[str, object]) -> Ses:
    """The channel for `config`, see Settings."""
    return Ses(Settings.model_validate(config))
