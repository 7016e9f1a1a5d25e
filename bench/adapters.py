"""The adapters that `bench.sending` measures: their settings, a message for each, and what their providers answer.

One row an adapter. One of `channels/` that has no row isn't measured, and docs/benchmarks.md says why. Ids and tokens are made
up; private keys are made when settings are asked for.
"""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from engine.authoring.templates import Source, Template, sealed
from engine.delivery.channel import Content, Outgoing
from engine.delivery.render import render

ID = "0100018c-bench"
SID = "AC" + "0" * 32
UUID = "00000000-0000-4000-8000-000000000000"
BOT = "123456:bench-bench"

TEXT = "Apply a pea-sized amount in the morning and in the evening, on dry skin. "


def _template(parts: Mapping[str, str], **fields: str) -> Template:
    written = {name: Source(f"templates/email/bench.{name}", 1, text) for name, text in {**fields, **parts}.items()}
    return sealed("email", "bench", {f: written[f] for f in fields}, {p: written[p] for p in parts}, {})


LETTER = _template(
    {
        "txt": f"Hello {{{{ customer.first_name }}}}\n{TEXT * 12}\n{{{{ unsubscribe_url }}}}\n",
        "html": f"<html><body><h1>Hello {{{{ customer.first_name }}}}</h1><p>{TEXT * 12}</p>{'<p></p>' * 100}"
        '<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p></body></html>',
    },
    subject="How to use your new serum, {{ customer.first_name }}",
)
"""3 kB."""

NOTE = _template({"txt": f"{{{{ customer.first_name }}}}: {TEXT.strip()}"}, title="How to use your new serum")
TASK = _template(
    {"txt": "{{ customer.first_name }} gave two stars to the serum. " * 6},
    title="Call {{ customer.first_name }}",
    queue="service",
    due="2026-11-24T10:00:00+01:00",
    at="2026-11-22T12:00:00+00:00",
)


@dataclass(frozen=True, slots=True)
class StandIns:
    """Where messages go: the ports of `bench.provider` on loopback, and an empty folder."""

    http: int
    http2: int
    smtp: int
    folder: Path

    @property
    def url(self) -> str:
        """Of the one that speaks HTTP/1.1."""
        return f"http://127.0.0.1:{self.http}"


@dataclass(frozen=True, slots=True)
class Case:
    """One adapter. `settings`: those that it needs; all others have their defaults. `message`: the nth, unlike all others, not
    rendered yet. `answers`: what its provider says to a path, or to any path one segment longer. `bare`: there is a loop to
    compare it with."""

    settings: Callable[[StandIns], Mapping[str, Any]]
    message: Callable[[int, StandIns], Unrendered]
    answers: Mapping[str, Any] = field(default_factory=dict)
    bare: bool = True


@dataclass(frozen=True, slots=True)
class Unrendered:
    """A message, and the template that its content is to be made of."""

    message: Outgoing
    template: Template

    def rendered(self) -> Outgoing:
        """As an adapter gets it."""
        names = {"customer": {"first_name": f"Ada {self.message.customer}"}, "unsubscribe_url": self.message.unsubscribe_url}
        return replace(self.message, content=render(self.template, names))


def _outgoing(n: int, to: str, template: Template, sender: Mapping[str, str]) -> Unrendered:
    message = Outgoing(
        key=f"{n}/how_to_use/0/0",
        to=to,
        content=Content(),
        sender=sender,
        customer=str(n),
        journey="post_purchase_care",
        step="how_to_use",
        template="post_purchase/how_to_use",
        tier="lifecycle",
        topic="product_education",
        unsubscribe_url=f"https://m.skin.example/u/{b64encode(str(n).encode()).decode()}",
    )
    return Unrendered(message, template)


def mail(n: int, where: StandIns) -> Unrendered:
    """An e-mail of 3 kB."""
    return _outgoing(n, f"ada{n}@example.com", LETTER, {"from": "Skin Co <care@skin.example>", "reply_to": "help@skin.example"})


def _note(address: str, n: int, where: StandIns) -> Unrendered:
    """A title and 80 characters, to the nth `address`."""
    return _outgoing(n, address.format(n=n), NOTE, {"from": "+15550100"})


def _task(assignee: str, n: int, where: StandIns) -> Unrendered:
    """A task of 200 characters for a person."""
    return _outgoing(n, assignee, TASK, {})


def _to_browser(n: int, where: StandIns) -> Unrendered:
    """As `_note`, to a subscription of a browser's."""
    keys = {"p256dh": _browser_key(), "auth": _base64url(b"0123456789abcdef")}
    return _outgoing(n, json.dumps({"endpoint": f"{where.url}/wpush/{n}", "keys": keys}), NOTE, {})


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def _browser_key() -> str:
    form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    return _base64url(_p256().public_key().public_bytes(*form))


def _vapid_key() -> str:
    return _base64url(_p256().private_numbers().private_value.to_bytes(32, "big"))


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*form).decode()


def _rsa() -> str:
    return _pem(rsa.generate_private_key(65537, 2048))


def _service_account(where: StandIns) -> str:
    """The JSON of a service account's key, whose tokens our stand-in gives."""
    names = {"project_id": "skin-co", "private_key_id": "bench", "client_email": "bench@skin-co.example"}
    return json.dumps({**names, "private_key": _rsa(), "token_uri": f"{where.url}/token"})


_phone = partial(_note, "+1555{n:07}")
_member = partial(_note, "U{n:08}")

GRANTED = {"access_token": "bench", "expires_in": 3600, "token_type": "Bearer"}
POSTED = {"ok": True, "channel": "CBENCH000", "ts": "1763812800.000100", "message": {"text": "x"}}

ADAPTERS: Mapping[str, Case] = {
    "smtp": Case(lambda w: {"host": "127.0.0.1", "port": w.smtp}, mail),
    "ses": Case(
        lambda w: {"region": "eu-west-1", "access_key_id": "AKIDEXAMPLE", "secret_access_key": "bench", "base_url": w.url},
        mail,
        {"/v2/email/outbound-emails": {"MessageId": ID}},
    ),
    "sendgrid": Case(lambda w: {"token": "bench", "base_url": w.url}, mail, {"/v3/mail/send": {}}),
    "postmark": Case(
        lambda w: {"token": "bench", "base_url": w.url},
        mail,
        {
            "/email": {"ErrorCode": 0, "Message": "OK", "MessageID": ID},
            "/email/batch": [{"ErrorCode": 0, "Message": "OK", "MessageID": ID}] * 500,
        },
    ),
    "mailgun": Case(
        lambda w: {"token": "bench", "domain": "bench.example", "base_url": w.url},
        mail,
        {"/v3/bench.example/messages": {"id": f"<{ID}@bench.example>", "message": "Queued. Thank you."}},
    ),
    "resend": Case(lambda w: {"token": "bench", "base_url": w.url}, mail, {"/emails": {"id": ID}}),
    "brevo": Case(
        lambda w: {"token": "bench", "base_url": w.url}, mail, {"/v3/smtp/email": {"messageId": f"<{ID}@bench.example>"}}
    ),
    "webhook": Case(lambda w: {"secret": "bench", "url": f"{w.url}/webhook"}, mail, {"/webhook": {}}),
    "twilio": Case(
        lambda w: {"account_sid": SID, "auth_token": "bench", "base_url": w.url},
        _phone,
        {f"/2010-04-01/Accounts/{SID}/Messages.json": {"sid": "SM" + "0" * 32, "status": "queued", "error_code": None}},
    ),
    "vonage": Case(
        lambda w: {"application_id": UUID, "private_key": _rsa(), "base_url": w.url},
        _phone,
        {"/v1/messages": {"message_uuid": UUID}},
    ),
    "messagebird": Case(
        lambda w: {"access_key": "bench", "workspace": UUID, "channel_id": UUID, "base_url": w.url},
        _phone,
        {f"/workspaces/{UUID}/channels/{UUID}/messages": {"id": UUID, "channelId": UUID, "status": "accepted"}},
    ),
    "whatsapp": Case(
        lambda w: {"phone_number_id": "100000", "token": "bench", "version": "v24.0", "base_url": w.url},
        _phone,
        {"/v24.0/100000/messages": {"messaging_product": "whatsapp", "messages": [{"id": f"wamid.{ID}"}]}},
    ),
    "slack": Case(lambda w: {"token": "xoxb-bench", "base_url": w.url}, _member, {"/api/chat.postMessage": POSTED}),
    "telegram": Case(
        lambda w: {"token": BOT, "base_url": w.url},
        partial(_note, "1{n:08}"),
        {f"/bot{BOT}/sendMessage": {"ok": True, "result": {"message_id": 1, "date": 1763812800, "text": "x"}}},
    ),
    "fcm": Case(
        lambda w: {"service_account": _service_account(w), "base_url": w.url},
        partial(_note, "bench:{n:0140}"),
        {"/token": GRANTED, "/v1/projects/skin-co/messages:send": {"name": f"projects/skin-co/messages/{ID}"}},
    ),
    "apns": Case(
        lambda w: {
            "key": _pem(_p256()),
            "key_id": "BENCHBENCH",
            "team_id": "BENCHBENCH",
            "topic": "example.skin.app",
            "base_url": f"http://127.0.0.1:{w.http2}",
        },
        partial(_note, "{n:064x}"),
    ),
    "webpush": Case(
        lambda w: {
            "private_key": _vapid_key(),
            "subject": "mailto:ops@skin.example",
            "services": ["127.0.0.1"],
            "allow_private": True,
        },
        _to_browser,
        {"/wpush": {}},
    ),
    "hubspot_tasks": Case(
        lambda w: {"token": "bench", "base_url": w.url},
        partial(_task, "64492917"),
        {"/crm/v3/objects/tasks": {"id": "17589", "properties": {"hs_task_status": "NOT_STARTED"}, "archived": False}},
    ),
    "salesforce_tasks": Case(
        lambda w: {"client_id": "bench", "client_secret": "bench-secret", "base_url": w.url},
        partial(_task, "005000000000001"),
        {
            "/services/oauth2/token": GRANTED,
            "/services/data/v62.0/sobjects/Task/Sojourn_Key__c": {"id": "00T000000000001", "success": True, "errors": []},
        },
    ),
    "zendesk_tasks": Case(
        lambda w: {"subdomain": "skin", "token": "bench", "base_url": w.url},
        partial(_task, "35436"),
        {"/api/v2/tickets": {"ticket": {"id": 35436, "subject": "Call Ada", "status": "new"}}},
    ),
    "slack_tasks": Case(
        lambda w: {"token": "xoxb-bench", "channel_id": "CBENCH000", "base_url": w.url},
        partial(_task, "UBENCH000"),
        {"/api/chat.postMessage": POSTED},
    ),
    "file": Case(lambda w: {"folder": str(w.folder)}, mail, bare=False),
}
