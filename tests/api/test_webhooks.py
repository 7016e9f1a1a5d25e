"""`/v1/channels/NAME/webhook`: notices of a provider on a real API, and what they do to people."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from engine.api import webhooks
from engine.delivery.channel import Receipt, Result, load_channel
from engine.settings.project import ApiSettings, ChannelSettings, ReplySettings, Settings
from engine.store import feedback as store
from engine.store.database import transaction
from tests.api.carrier import Carrier, notify
from tests.api.conftest import Api, error, serving
from tests.channels import test_mailgun as theirs
from tests.harness import Sink

PUBLIC = "https://m.test.example/journeys"
STOPPED = "Test Co: you get no more texts. START brings them back."
SETTINGS = Settings(
    project="test-co",
    api=ApiSettings(public_url=PUBLIC),
    write_keys={"website": SecretStr("wk_website")},
    channels={
        "sms": ChannelSettings(use="channels.noop", replies=ReplySettings(stop=STOPPED, help="Test Co, +1 555 0100")),
    },
)

SENT = """insert into messages (key, enrollment_id, customer_id, journey, plan, step, attempt, template, channel, topic, tier,
    status, planned_at, decided_at, slot_at, policy, provider_id)
    values (:key, :id, :id, 'welcome', 'p', 'hello', 0, 'hello', :channel, 'news', 'lifecycle', 'sent', now(), now(), now(), 'p',
    :provider) returning key"""


@pytest.fixture
def carriers() -> dict[str, Sink]:
    """An e-mail and a text channel whose providers may call, and one whose doesn't."""
    return {"email": Carrier("email", "email"), "sms": Carrier("sms", "phone"), "push": Sink("push", "token")}


@pytest_asyncio.fixture
async def api(
    database_url: str, temporal_address: str, project: Path, carriers: dict[str, Sink], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Api]:
    """The API with these channels, behind a proxy with a name and a path of its own."""
    monkeypatch.setattr(webhooks, "SETTLING", 0.0)
    async with serving(database_url, temporal_address, project, SETTINGS, carriers) as running:
        yield running


async def person(api: Api, user: str, **traits: Any) -> int:
    """Somebody with an address and a number; their id."""
    values = {"email": f"{user.title()}@Example.com", "phone": "+39 06 5551 0001", **traits}
    assert (await api.http.post("/v1/identify", json={"userId": user, "traits": values})).status_code == 200
    return int((await api.query("select customer_id from identifiers where value = :user", user=user))[0].customer_id)


async def told(api: Api, *notices: dict[str, Any], **more: Any) -> int:
    """The status of the answer to these."""
    return (await notify(api.http, PUBLIC, *notices, **more)).status_code


async def sent(channel: Sink, number: int) -> None:
    """Wait until the channel was handed so many: the answer to the provider comes first."""
    async with asyncio.timeout(20):
        while len(channel.seen) < number:
            await asyncio.sleep(0)


async def events(api: Api) -> list[tuple[str, dict[str, Any]]]:
    """(name, properties) of what came from providers, in order."""
    return [tuple(r) for r in await api.query("select name, properties from events where source like 'channel/%' order by id")]


async def suppressed(api: Api) -> list[tuple[Any, ...]]:
    return [
        tuple(r)
        for r in await api.query("select channel, address, reason from suppressions where lifted_at is null order by 1, 2, 3")
    ]


async def consents(api: Api) -> list[tuple[Any, ...]]:
    return [tuple(r) for r in await api.query("select channel, topic, state, source, wording, via from consents order by at, id")]


async def test_what_a_provider_tells_becomes_events_about_the_message_and_its_person(api: Api) -> None:
    """Found by our key, else by the provider's id, else by the address however it is written; with the provider's own words. A
    hard bounce and a complaint suppress at once, under the address as the customer wrote it."""
    ada = await person(api, "ada")
    bob = await person(api, "bob", phone="+39 06 5551 0002")
    await api.query(SENT, key="7/hello/0/0", id=ada, channel="email", provider="<7@x>")
    about = {"message": "7/hello/0/0", "journey": "welcome", "step": "hello", "template": "hello", "topic": "news"}
    about |= {"tier": "lifecycle", "channel": "email"}
    answer = await notify(
        api.http,
        PUBLIC,
        {"kind": "delivered", "key": "7/hello/0/0", "words": "250 2.0.0\r\nOK\x00", "at": "2026-03-02T10:00:00+00:00", "id": "a"},
        {"kind": "clicked", "provider_id": "<7@x>", "url": "https://shop.example/", "machine": True, "id": "b"},
        {"kind": "bounced", "key": "8/gone/0/0", "address": "ADA@example.com", "words": "550 no such user", "suppress": "x"},
        {"kind": "failed", "address": "bob@EXAMPLE.com", "words": "mailbox full"},
        {"kind": "complained", "address": "bob@example.com", "words": "abuse"},
        {"kind": "unsubscribed", "key": "7/hello/0/0"},
    )
    assert (200, b"", None) == (answer.status_code, answer.content, answer.headers.get("content-type"))
    ada_wrote, bob_wrote = {"channel": "email", "address": "Ada@Example.com"}, {"channel": "email", "address": "Bob@Example.com"}
    assert [
        ("message_delivered", {**about, "words": "250 2.0.0 OK\ufffd"}),
        ("message_clicked", {**about, "url": "https://shop.example/", "machine": True}),
        ("message_bounced", {**ada_wrote, "reason": "550 no such user", "hard": True}),
        ("message_bounced", {"channel": "email", "address": "Bob@Example.com", "reason": "mailbox full", "hard": False}),
        ("message_complained", {**bob_wrote, "words": "abuse"}),
        ("unsubscribed", {k: v for k, v in about.items() if k != "topic"} | {"source": "provider"}),
    ] == await events(api)
    owners = await api.query("select customer_id from events where source = 'channel/email' order by id")
    assert [ada, ada, ada, bob, bob, ada] == [r.customer_id for r in owners]
    assert [("email", "Ada@Example.com", "hard_bounce"), ("email", "Bob@Example.com", "complaint")] == await suppressed(api)
    assert [("email", None, "withdrawn", "provider", "", "channel/email")] == await consents(api)
    at = await api.query("select occurred_at from events where name = 'message_delivered'")
    assert "2026-03-02T10:00:00+00:00" == at[0].occurred_at.isoformat()


async def test_the_same_again_changes_nothing(api: Api) -> None:
    """By the provider's id of the notice, or where it has none by all that it says; within one call too."""
    ada = await person(api, "ada")
    await api.query(SENT, key="7/hello/0/0", id=ada, channel="email", provider="<7@x>")
    opened = {"kind": "opened", "provider_id": "<7@x>"}
    bounced = {"kind": "bounced", "id": "n-1", "provider_id": "<7@x>", "suppress": "x"}
    assert 200 == await told(api, opened, bounced, opened)
    assert 200 == await told(api, {**bounced, "words": "told differently"})
    assert 200 == await told(api, {**opened, "at": "2026-03-02T10:00:00+00:00"})
    assert ["message_opened", "message_bounced", "message_opened"] == [name for name, _ in await events(api)]
    assert (3, 2, 0, 0) == await api.counters("channel/email")
    assert 200 == await told(api, {**bounced, "id": "n" * 5000})
    assert 200 == await told(api, {**bounced, "id": "n" * 5000})
    assert 4 == len(await events(api))
    odd = {"words": "\ud800 \x00 \u2028" * 5000, "url": "\x00" + "u" * 5000, "provider_id": "\udfff", "key": "\x00"}
    for at in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-03-02T10:00:00"):
        for kind in ("replied", "complained", "clicked"):
            assert 200 == await told(api, {**odd, "kind": kind, "at": at, "address": "Ada@example.com", "id": f"{at}\ud800"})
    assert 200 == await told(api, {**odd, "kind": "complained", "address": "\ud800@\x00" + "x" * 600})
    assert 13 == len(await events(api))


async def test_whoever_is_not_the_provider_is_refused(api: Api) -> None:
    """A wrong signature, another URL, an old one: 401. Nonsense: 400 with words. No such channel: 404. Nothing of it is taken."""
    bounced = {"kind": "bounced", "address": "ada@example.com", "suppress": "x"}
    await person(api, "ada")
    assert (401, "forged") == error(await notify(api.http, PUBLIC, bounced, **{"X-Carrier-Signature": "1,ab"}))
    assert (401, "forged") == error(await notify(api.http, "https://elsewhere.example", bounced))
    old = await notify(api.http, PUBLIC, bounced, age=400)
    assert (401, "forged") == error(old)
    assert "too old" in old.text
    assert (401, "forged") == error(await api.http.post("/v1/channels/email/webhook", content=b"[]"))
    for wrong in ({"kind": "bounced", "nonsense": 1}, {"at": "some day"}, {}, {"kind": "bounced", "at": 7}):
        assert (400, "malformed_notice") == error(await notify(api.http, PUBLIC, wrong))
    assert (404, "unknown_channel") == error(await notify(api.http, PUBLIC, bounced, name="fax"))
    assert (404, "unknown_channel") == error(await notify(api.http, PUBLIC, bounced, name="push"))
    assert (413, "too_large") == error(await api.http.post("/v1/channels/email/webhook", content=b"x" * (webhooks.LIMIT + 1)))
    assert [] == await events(api) == await suppressed(api)
    assert (0, 0, 0, 9) == await api.counters("channel/email")


async def test_a_provider_that_asks_first_is_answered(api: Api) -> None:
    """Its challenge comes back as plain text where it knows the token, and a GET may be a notice too."""
    asked = {"hub.mode": "subscribe", "hub.challenge": "1158201444"}
    answer = await api.http.get("/v1/channels/sms/webhook", params={**asked, "hub.verify_token": "ours"})
    assert (200, "1158201444", "text/plain; charset=utf-8") == (answer.status_code, answer.text, answer.headers["content-type"])
    assert (401, "forged") == error(await api.http.get("/v1/channels/sms/webhook", params=asked))
    assert (401, "forged") == error(await api.http.get("/v1/channels/sms/webhook"))


async def test_what_is_about_nobody_is_kept_or_counted(api: Api) -> None:
    """Complaints, replies and what suppresses lie in the quarantine, whole; deliveries and the like of another program's messages
    are counted."""
    strange = {"kind": "complained", "address": "eve@example.com", "provider_id": "<9@x>", "words": "abuse", "id": "c-1"}
    clicked = {"kind": "clicked", "key": "9/other/0/0", "url": "https://x.example"}
    for _ in range(2):
        assert 200 == await told(api, strange, clicked, {"kind": "failed", "address": "eve@example.com"})
    [row] = await api.query("select source, reason, call from quarantine")
    assert ("channel/email", "no message and no customer of this project has what the provider names") == (row.source, row.reason)
    assert "eve@example.com" in row.call
    assert "raw" in row.call
    assert [] == await events(api)
    assert (0, 0, 2, 4) == await api.counters("channel/email")
    assert [] == await api.query("select 1 from customers")


async def test_a_notice_that_is_faster_than_the_record_of_its_handover_is_waited_for(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider's id isn't in the ledger yet when it tells: it is looked for once more."""
    ada = await person(api, "ada")

    async def recorded() -> None:
        await api.query(SENT, key="7/hello/0/0", id=ada, channel="email", provider="<7@x>")

    monkeypatch.setattr(webhooks, "settled", recorded)
    assert 200 == await told(api, {"kind": "delivered", "provider_id": "<7@x>"})
    assert [("message_delivered", "7/hello/0/0")] == [(name, p["message"]) for name, p in await events(api)]


async def test_stop_start_and_help_by_text(api: Api, carriers: dict[str, Sink]) -> None:
    """STOP withdraws the whole channel with its wording and is confirmed once, by one text; START brings it back; HELP is
    answered; YES is START only for whoever has stopped; all else is for people, with the message that it answers."""
    ada = await person(api, "ada")
    await api.query(SENT, key="7/hello/0/0", id=ada, channel="sms", provider="SM7")
    numbers, sms = itertools.count(), carriers["sms"]

    async def texts(*said: str) -> None:
        for text in said:
            notice = {"kind": "received", "address": "+390655510001", "words": text, "id": f"n{next(numbers)}"}
            assert 200 == await told(api, notice, name="sms")

    await texts("yes", "Please stop by!", " sToP ")
    assert [("sms", "+39 06 5551 0001", "stop")] == await suppressed(api)
    await texts("STOPALL")
    await sent(sms, 1)
    assert [(STOPPED, "+390655510001")] == [(m.content.text, m.to) for m in sms.seen]
    await texts("YES")
    assert [] == await suppressed(api)
    await texts("Help", "INFO", "start")
    await sent(sms, 2)
    assert [STOPPED, "Test Co, +1 555 0100"] == [m.content.text for m in sms.seen], "HELP once an hour; no text for START is set"
    withdrawn, granted = ("sms", None, "withdrawn"), ("sms", None, "granted")
    assert [
        (*withdrawn, "reply", " sToP ", "channel/sms"),
        (*withdrawn, "reply", "STOPALL", "channel/sms"),
        (*granted, "reply", "YES", "channel/sms"),
        (*granted, "reply", "start", "channel/sms"),
    ] == await consents(api)
    replies = [p for name, p in await events(api) if name == "message_replied"]
    assert ["yes", "Please stop by!", " sToP ", "STOPALL", "YES", "Help", "INFO", "start"] == [p["text"] for p in replies]
    assert [None, None, "stop", "stop", "start", "help", "help", "start"] == [p.get("keyword") for p in replies]
    assert {("7/hello/0/0", "welcome")} == {(p["message"], p["journey"]) for p in replies}
    assert ["stop", "help"] == [p["keyword"] for name, p in await events(api) if name == "reply_sent"]


async def test_a_stop_of_a_number_that_nobody_has_holds_for_whoever_turns_up_with_it(api: Api, carriers: dict[str, Sink]) -> None:
    """The law asks no name of whoever says STOP; other texts from strangers are put aside."""
    stop = {"kind": "received", "address": "+390655519999", "words": "Stop", "id": "1"}
    assert 200 == await told(api, stop, {**stop, "words": "who is this?", "id": "2"}, name="sms")
    await sent(carriers["sms"], 1)
    assert ["+390655519999"] == [m.to for m in carriers["sms"].seen]
    eve = await person(api, "eve", phone="+39 06 5551 9999")
    assert [("sms", "+390655519999", "stop")] == await suppressed(api)
    found = await api.query("select customer_id, channel, state from consents")
    assert [(eve, "sms", "withdrawn")] == [tuple(r) for r in found]
    assert 1 == len(await api.query("select 1 from quarantine"))


async def test_nobody_is_answered_who_wants_nothing_and_an_answer_that_fails_is_said(
    api: Api, carriers: dict[str, Sink], caplog: pytest.LogCaptureFixture
) -> None:
    """A restricted person's STOP counts and isn't answered; one that the provider puts off is tried again."""
    ada, sms = await person(api, "ada"), carriers["sms"]
    stop = {"kind": "received", "address": "+390655510001", "words": "STOP"}
    await api.query("update customers set restricted = true where id = :id returning id", id=ada)
    assert 200 == await told(api, stop, name="sms")
    assert [] == sms.seen
    await person(api, "bob", phone="+39 06 5551 0002")
    sms.answer = lambda m: Receipt(Result.LATER, words="slow down", retry_after=0.0)
    with caplog.at_level(logging.WARNING, "sojourn.channels"):
        assert 200 == await told(api, {**stop, "address": "+390655510002"}, name="sms")
        async with asyncio.timeout(20):
            while not caplog.text:  # the answer to the provider comes first
                await asyncio.sleep(0)
    assert webhooks.TRIES == len(sms.seen)
    assert "on 'sms' wasn't sent: later" in caplog.text
    assert "slow down" not in caplog.text  # a provider may quote whom it writes to
    assert "+3906" not in caplog.text


async def test_a_project_without_a_deployment_tells_the_provider_to_come_again(
    database_url: str, temporal_address: str, carriers: dict[str, Sink]
) -> None:
    """503: nothing is lost, because nothing is acknowledged."""
    async with serving(database_url, temporal_address, None, SETTINGS, carriers) as bare:
        assert (503, "nothing_deployed") == error(await notify(bare.http, PUBLIC, {"kind": "delivered", "key": "k"}))


async def test_a_signature_stands_for_one_notice(api: Api, carriers: dict[str, Sink]) -> None:
    """Where a provider signs nothing but a token, what comes with it again is the same or isn't heard, whichever process it comes
    to, and although the first said nothing that is kept; a day later it is too old for any adapter, and forgotten."""
    channel = load_channel("email", {"use": "channels.mailgun", "token": "x", "domain": "mg.example", "webhook_key": theirs.KEY})
    carriers["email"].parse_webhook = channel.parse_webhook  # type: ignore[method-assign]
    first = theirs.TestMailgun().notice(theirs.event('"event": "accepted"'), datetime.now(UTC), "provider").body
    other = first.replace(b'"accepted"', b'"complained"')
    assert first != other

    async def says(body: bytes) -> int:
        return (await api.http.post("/v1/channels/email/webhook", content=body)).status_code

    assert [200, 200, 401, 401] == [await says(body) for body in (first, first, other, other)]
    assert (0, 0, 0, 2) == await api.counters("channel/email")
    async with transaction(api.core.database) as c:
        assert 0 == await store.forget_tokens(c)
    await api.query("update notice_tokens set at = at - interval '25 hours' returning 1")
    async with transaction(api.core.database) as c:
        assert 1 == await store.forget_tokens(c)
