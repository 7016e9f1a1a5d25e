"""What protects a sender, on the real engine: a warm-up by days, and a rest when too many complain."""

from __future__ import annotations

import re
from datetime import UTC, date
from pathlib import Path

from engine.insight.why import why
from engine.intake import resting
from engine.settings.project import ChannelSettings
from engine.settings.sender import ComplaintSettings, WarmupSettings
from engine.store.database import transaction
from tests.harness import Running, running, write_project
from tests.letters import letter

DAYS = 43_200.0
"""A day in two seconds."""

FILES = {
    "journeys/offer.yaml": letter("offer", "promotional", topic="offers", expires="20d"),
    "journeys/receipt.yaml": letter("receipt", "transactional", event="pinged"),
}


async def days_of(sojourn: Running) -> dict[date, int]:
    """Offers that went out, by day (UTC)."""
    found: dict[date, int] = {}
    for m in await sojourn.messages():
        if m.status == "sent" and m.key.split("/")[1] == "offer":
            day = m.sent_at.astimezone(UTC).date()
            found[day] = found.get(day, 0) + 1
    return found


async def test_a_new_sender_is_warmed_up_day_by_day(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Three on the first day, six on the second: the others wait with the reason, and nobody is lost. A receipt waits for
    nothing."""
    email = ChannelSettings(use="x", warmup=WarmupSettings(start="3/day", double="1d"))  # type: ignore[arg-type]  # as written
    folder = write_project(tmp_path, FILES)
    async with running(
        folder, database_url, temporal_address, task_queue_prefix, channels={"email": email}, time_scale=DAYS
    ) as sojourn:
        people = [f"user{i}" for i in range(10)]
        await sojourn.accept([sojourn.known(u) for u in people])
        await sojourn.accept([sojourn.event(u, "signed_up") for u in people])
        await sojourn.message_is("deferred")
        await sojourn.track("user0", "pinged", number=1)
        await sojourn.settled()
        sent = await days_of(sojourn)
        [(begun,)] = await sojourn.query("select begun_on from warmups")
        for day in sent:  # what had room on a day may leave a moment after its midnight, never before
            so_far = sum(n for other, n in sent.items() if other <= day)
            assert so_far <= sum(3 * 2**n for n in range((day - begun).days + 1))
        assert 10 == sum(sent.values())
        assert len(sent) > 1
        waited = await sojourn.query("select distinct rule, reason from decisions where decision = 'defer'")
        assert [("warm-up of email", "hold")] == [tuple(r) for r in waited]
        (told,) = await sojourn.query("select detail from decisions where decision = 'defer' order by id limit 1")
        assert re.search(r"email is being warmed up, and the \d+ messages of day \d are used up", told.detail)
        assert 1 == len([m for m in sojourn.email.seen if m.journey == "receipt"])


async def test_too_many_complaints_have_a_channel_rest_until_somebody_looks(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """The second of ten is one too many: offers on that channel wait, receipts and other channels don't; the audit log and
    `why` say it; when the rest is ended they go."""
    limit = ComplaintSettings(pause_above="15%", over="7d", at_least="10")  # type: ignore[arg-type]  # as written
    texts = letter("text", "promotional", topic="offers", event="confirmed", channel="sms")
    folder = write_project(tmp_path, {**FILES, "journeys/text.yaml": texts})
    channels = {"email": ChannelSettings(use="x", complaints=limit)}
    async with running(folder, database_url, temporal_address, task_queue_prefix, channels=channels) as sojourn:
        people = [f"user{i}" for i in range(10)]
        await sojourn.accept([sojourn.known(u) for u in (*people, "zoe")])
        await sojourn.identify("zoe", phone="+391")
        await sojourn.accept([sojourn.event(u, "signed_up") for u in people])
        await sojourn.message_is("sent", 10)
        await sojourn.settled()
        keys = {m.customer_id: m.key for m in await sojourn.messages()}
        ids = {r.value: r.customer_id for r in await sojourn.query("select value, customer_id from identifiers")}
        for user in people[:2]:
            assert [] == await sojourn.query("select 1 from channel_rests")
            strange = {"channel": "email", "message": keys[ids[people[5]]]}  # it went to somebody else
            await sojourn.track(people[6], "message_complained", **strange)
            for _ in range(2):
                await sojourn.track(user, "message_complained", channel="email", message=keys[ids[user]])
        (log,) = await sojourn.query("select actor, act, subject, detail from audit where act = 'rest'")
        assert ("sojourn", "channel/email", {"sent": 10, "complained": 2, "days": 7}) == (log.actor, log.subject, log.detail)
        for event in ("signed_up", "pinged", "confirmed"):
            await sojourn.track("zoe", event)
        await sojourn.message_is("deferred")
        await sojourn.message_is("sent", 12)
        (waiting,) = [m for m in await sojourn.messages() if m.status == "deferred"]
        said = "email rests: 2 of 10 messages in 7 days were complained about"
        assert ("hold", True) == (waiting.reason, said in waiting.detail)
        async with transaction(sojourn.worker.core.database) as c:
            zoe = (await sojourn.query("select customer_id from identifiers where value = 'zoe'"))[0].customer_id
            story = await why(c, zoe, deployments=sojourn.worker.core.deployments)
        assert said in str(story)
        assert await resting.lift(sojourn.worker.core.database, "email", "test")
        await sojourn.message_is("sent", 13)
        assert not await resting.lift(sojourn.worker.core.database, "email", "test")
        assert ["rest", "lift rest"] == [
            r.act for r in await sojourn.query("select act from audit where subject = 'channel/email' order by id")
        ]


async def test_a_rest_ends_when_nobody_watches_complaints_any_more(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Who takes `complaints:` away and starts the workers anew wakes everybody who waits; the audit log says so."""
    limit = ComplaintSettings(pause_above="15%", over="7d", at_least="1")  # type: ignore[arg-type]  # as written
    folder = write_project(tmp_path, FILES)
    servers = (folder, database_url, temporal_address, task_queue_prefix)
    async with running(*servers, channels={"email": ChannelSettings(use="x", complaints=limit)}) as sojourn:
        await sojourn.identify("ada")
        await sojourn.track("ada", "signed_up")
        await sojourn.message_is("sent")
        [sent] = await sojourn.messages()
        await sojourn.track("ada", "message_complained", channel="email", message=sent.key)
        assert [("email",)] == [tuple(r) for r in await sojourn.query("select channel from channel_rests")]
        await sojourn.identify("bob")
        await sojourn.track("bob", "signed_up")
        await sojourn.message_is("deferred")
    async with running(*servers, channels={"email": ChannelSettings(use="x")}) as sojourn:
        await sojourn.message_is("sent", 2)
        assert [] == await sojourn.query("select 1 from channel_rests")
        acts = await sojourn.query("select actor, act from audit where subject = 'channel/email' order by id")
        assert [("sojourn", "rest"), ("sojourn", "lift rest")] == [tuple(r) for r in acts]
