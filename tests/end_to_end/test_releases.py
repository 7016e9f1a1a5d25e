"""Many holds that end at once, on the real engine: what they paused is decided in batches, and leaves at the channel's rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import counts
from engine.cli.acting import BATCH as OF_OPERATORS
from engine.delivery.pacing import AHEAD_SECONDS, BURST_SECONDS
from engine.intake import operators
from engine.intake.door import BATCH as OF_INTAKE
from engine.settings.project import ChannelSettings
from engine.store.database import transaction
from tests.end_to_end.test_holds import LONG, RECOVERY
from tests.harness import POLICY, Running, running, write_project
from tests.letters import letter

N = 600
CONCURRENCY = 40

OFFER = letter("offer", "promotional", topic="offers", expires="5000d")

ENDLESS = RECOVERY.replace("300d", "3000d")

FILES = {"journeys/policy.yaml": POLICY + LONG, "journeys/offer.yaml": OFFER, "journeys/recovery.yaml": ENDLESS}

A_DAY_A_SECOND = 86_400.0


async def held(sojourn: Running, opening: str) -> None:
    """Everybody has a hold, opened by `opening`, and a promotion that waits for its end."""
    await sojourn.accept([sojourn.known(f"u{i}") for i in range(N)])
    await sojourn.accept([sojourn.event(f"u{i}", opening, ticket_id="T", number=i) for i in range(N)])
    await sojourn.accept([sojourn.event(f"u{i}", "signed_up") for i in range(N)])
    await sojourn.until(lambda: all_are(sojourn, "deferred", "sent"), 120)


async def all_are(sojourn: Running, *statuses: str) -> bool:
    """Whether every promotion is one of these."""
    found = await sojourn.statuses()
    return sum(found.get(s, 0) for s in statuses) == N


async def most_woken_at_once(sojourn: Running) -> int:
    """The most messages that one statement woke."""
    found = await sojourn.query(
        "select max(n) as n from (select count(*) as n from inputs where kind = 'again' group by at) as t"
    )
    return int(found[0].n)


@pytest.mark.parametrize("way", ["events", "operator", "at_most"])
async def test_what_many_holds_paused_is_decided_in_batches(
    way: str, tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Six hundred holds that end by an import, by an operator's act, or by themselves at the same time: everybody's promotion
    goes once, no transaction decides more of them than the channel takes at once, and none wakes more than a batch."""
    files = FILES
    if way == "at_most":
        files = {**FILES, "journeys/policy.yaml": POLICY + LONG.replace("at_most: 3000d", "at_most: 12d")}
    folder = write_project(tmp_path, files)
    async with running(folder, database_url, temporal_address, task_queue_prefix, time_scale=A_DAY_A_SECOND) as sojourn:
        sojourn.email.capabilities = replace(sojourn.email.capabilities, concurrency=CONCURRENCY)
        await held(sojourn, "pinged" if way == "operator" else "complaint_filed")
        if way == "events":
            await sojourn.accept([sojourn.event(f"u{i}", "complaint_resolved", ticket_id="T") for i in range(N)])
        elif way == "operator":
            rows = await sojourn.query("select id from enrollments where journey = 'recovery' order by id")
            ids = [r.id for r in rows]
            for i in range(0, N, OF_OPERATORS):
                async with transaction(sojourn.worker.core.database) as c:
                    await operators.stop(c, ids[i : i + OF_OPERATORS], "test")
        await sojourn.until(lambda: all_are(sojourn, "sent"), 120)
        assert N == len(sojourn.email.seen) == len({m.key for m in sojourn.email.seen})
        assert 0 < await counts.at_once(sojourn.worker.core.database) <= CONCURRENCY
        if way != "at_most":
            assert 0 < await most_woken_at_once(sojourn) <= max(OF_INTAKE, OF_OPERATORS)


async def test_what_many_holds_paused_leaves_at_the_channels_rate(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Set free together, six hundred promotions take as long as the channel's rate says."""
    rate = 150.0
    channels = {"email": ChannelSettings.model_validate({"use": "channels.noop", "rate": "150/s"})}
    folder = write_project(tmp_path, FILES)
    async with running(
        folder, database_url, temporal_address, task_queue_prefix, time_scale=A_DAY_A_SECOND, channels=channels
    ) as sojourn:
        await held(sojourn, "complaint_filed")
        [began] = await sojourn.query("select sojourn_now() as at")  # no token is taken before
        await sojourn.accept([sojourn.event(f"u{i}", "complaint_resolved", ticket_id="T") for i in range(N)])
        await sojourn.until(lambda: all_are(sojourn, "sent"), 120)
        [last] = await sojourn.query("select max(sent_at) as at from messages")
        seconds = (last.at - began.at).total_seconds() / A_DAY_A_SECOND
        assert N <= rate * (seconds + BURST_SECONDS + AHEAD_SECONDS) + 1
