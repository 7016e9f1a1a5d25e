"""A channel's rate on the real engine: shared by workers, and never in the way of a message that can't wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.app.wiring import open_worker
from engine.delivery import deliver
from engine.delivery.pacing import AHEAD_SECONDS, BURST_SECONDS
from engine.settings.project import ChannelSettings, CohortSettings, Settings
from tests.harness import Running, running
from tests.letters import letter, project

JOURNEYS = (letter("offer", "promotional", topic="offers"), letter("reset", "transactional", event="confirmed"))


def at(rate: str) -> dict[str, Any]:
    """Settings with this rate for e-mail."""
    return {"channels": {"email": ChannelSettings.model_validate({"use": "channels.noop", "rate": rate})}}


async def crowd(sojourn: Running, n: int) -> None:
    """Make `n` customers known: u0, u1 …"""
    await sojourn.accept([sojourn.known(f"u{i}") for i in range(n)])


async def offer(sojourn: Running, n: int) -> None:
    """The first `n` of them are offered something."""
    await sojourn.accept([sojourn.event(f"u{i}", "signed_up") for i in range(n)])


async def seconds_for_all(sojourn: Running) -> float:
    """Real seconds between the first claim and the last."""
    found = await sojourn.query("select extract(epoch from max(decided_at) - min(decided_at)) as s from messages")
    return float(found[0].s)


async def test_two_workers_share_a_channels_rate(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """A hundred messages at 50 a second take two seconds, less one burst, with two workers as with one."""
    folder, rate, n = project(tmp_path, "", *JOURNEYS), 50.0, 100
    async with running(folder, database_url, temporal_address, task_queue_prefix, max_size=10, **at("50/s")) as sojourn:
        values = Settings(cohort=CohortSettings(max_size=10), **at("50/s"))
        channels = {"email": sojourn.email, "sms": sojourn.sms}
        async with open_worker(
            values, database_url, temporal_address, prefix=task_queue_prefix, channels=channels, heartbeat_seconds=10.0
        ) as second:
            other = Running(folder, second, sojourn.email, sojourn.sms)
            other.resume()
            await crowd(sojourn, n)
            await offer(sojourn, n)
            await sojourn.settled(60)
            await other.pause()
        assert n == len(sojourn.email.seen)
        assert n <= rate * (await seconds_for_all(sojourn) + BURST_SECONDS + AHEAD_SECONDS) + 1


async def test_a_broadcast_never_delays_a_password_reset(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """While a broadcast goes out at five a second, for a minute, a transactional message goes at its next token."""
    folder = project(tmp_path, "", *JOURNEYS)
    async with running(folder, database_url, temporal_address, task_queue_prefix, **at("5/s")) as sojourn:
        await crowd(sojourn, 301)
        await offer(sojourn, 300)
        await sojourn.until(lambda: len(sojourn.email.seen) >= 3)
        await sojourn.track("u300", "confirmed")
        await sojourn.until(lambda: any(m.step == "reset" for m in sojourn.email.seen), 50)
        assert len(sojourn.email.seen) < 300, "the broadcast is still going on"


async def test_who_gets_no_turn_comes_again(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members for whom the pace leaves nothing within the soft limit are neither lost nor parked nor sent twice, and wait without
    being looked at."""
    monkeypatch.setattr(deliver, "SOFT_LIMIT_SECONDS", 0.3)
    folder = project(tmp_path, "", *JOURNEYS)
    async with running(folder, database_url, temporal_address, task_queue_prefix, max_size=5, **at("10/s")) as sojourn:
        await crowd(sojourn, 30)
        await offer(sojourn, 30)
        await sojourn.settled(60)
        assert 30 == len(sojourn.email.seen) == len({m.key for m in sojourn.email.seen})
        assert {"sent": 30} == await sojourn.statuses()
        assert ["allow"] * 30 == [d.decision for d in await sojourn.decisions()]


async def test_what_the_gates_keep_back_uses_none_of_the_rate(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """At ten a minute, eight messages without consent are dropped at once, and the one that may go goes."""
    folder = project(tmp_path, "", *JOURNEYS)
    async with running(folder, database_url, temporal_address, task_queue_prefix, **at("10/m")) as sojourn:
        await crowd(sojourn, 9)
        await sojourn.accept([sojourn.event(f"u{i}", "unsubscribed", channel="email") for i in range(8)])
        await offer(sojourn, 9)
        await sojourn.settled(100)
        assert {"dropped": 8, "sent": 1} == await sojourn.statuses()
