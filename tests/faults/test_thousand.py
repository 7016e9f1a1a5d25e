"""Many enrollments of one customer, of five tiers under caps that overlap, race in several processes, also under `kill -9`: the
highest get the slots, all the others wait, and nobody else ever gets through.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.faults.cast import Cast, Provider, cast, prepare, provider, until, write_faulty

TIERS = ("alerts", "care", "lifecycle", "triggered", "promotional")

POLICY = """
tiers:
  - {name: alerts, expires: 60d}
  - {name: care, expires: 60d}
  - {name: lifecycle, expires: 60d}
  - {name: triggered, expires: 60d}
  - {name: promotional, expires: 60d}
timezone: UTC
topics: [news]
consent:
  email: {default: granted}
senders:
  email: {from: "Test Co <care@test.example>", postal_address: "1 Main St"}
caps:
  - {name: all, limit: 12, per: 30d}
  - {name: alerts, tiers: [alerts], limit: 5, per: 30d}
  - {name: upper, tiers: [alerts, care, lifecycle], limit: 9, per: 30d}
  - {name: care, tiers: [care], limit: 3, per: 30d}
  - {name: offers, tiers: [triggered, promotional], limit: 4, per: 30d}
  - {name: triggered, tiers: [triggered], limit: 2, per: 30d}
"""

CAPS = [(12, set(TIERS)), (5, {"alerts"}), (9, set(TIERS[:3])), (3, {"care"}), (4, set(TIERS[3:])), (2, {"triggered"})]
"""The same for the test: limit, tiers."""

JOURNEY = """
journey: {tier}
tier: {tier}
enter: {{event: signed_up, where: "event.plan == '{tier}'", key: order_id, again: always}}
steps:
  - send: email
    id: only
    template: hello
    topic: news
"""


def highest(enrolled: list[tuple[int, str, Any]]) -> set[int]:
    """The enrollments that get through: one after the other in their order, each where every cap has room."""
    through: dict[int, str] = {}
    for number, tier, _ in sorted(enrolled, key=lambda e: (TIERS.index(e[1]), e[2], e[0])):
        if all(sum(t in tiers for t in through.values()) < limit for limit, tiers in CAPS if tier in tiers):
            through[number] = tier
    return set(through)


async def race(count: int, workers: int, folder: Path, prefix: str, url: str, temporal: str, *, kill_every: float = 0) -> None:
    """`count` enrollments are registered by two processes; then `workers` decide them, and one dies every so many seconds."""
    files = {f"journeys/{tier}.yaml": JOURNEY.format(tier=tier) for tier in TIERS}
    async with provider() as sink:
        write_faulty(folder, sink.port, {**files, "journeys/policy.yaml": POLICY}, cohort=40)
        await prepare(folder, url, ["ada"])
        play = cast(folder, prefix, url, temporal)
        try:
            events = [[f"m{i}", "ada", "signed_up", {"order_id": f"o{i}", "plan": TIERS[i * 7 % 5]}] for i in range(count)]
            intakes = [play.intake(events[: count // 2 + 20], "one"), play.intake(events[count // 2 - 20 :], "two")]
            await until(lambda: play.in_order() and all(p.ended() for p in intakes), 600, lambda: "enrolling")
            for _ in range(workers):
                play.worker()
            with psycopg.connect(url, autocommit=True) as store:
                killing = asyncio.create_task(kill(play, kill_every)) if kill_every else None
                try:
                    await until(lambda: play.in_order() and settled(store, count), 1200, lambda: picture(store))
                finally:
                    if killing is not None:
                        killing.cancel()
                check(store, sink, count, exactly_once=not kill_every)
        finally:
            play.close()


async def kill(play: Cast, seconds: float) -> None:
    """One worker after the other dies and is started again."""
    for turn in itertools.count():
        await asyncio.sleep(seconds)
        alive = [p for p in play.started if not p.killed and p.child.poll() is None]
        alive[turn % len(alive)].kill()
        play.worker()


def settled(store: psycopg.Connection[Any], count: int) -> bool:
    """Whether everybody has been decided and nothing is under way."""
    row = store.execute(
        "select count(*) filter (where status in ('sent', 'deferred')), (select count(*) from inputs where relayed_at is null) "
        "from messages"
    ).fetchone()
    return row == (count, 0)


def picture(store: psycopg.Connection[Any]) -> object:
    """How far it has come."""
    return store.execute("select status, reason, count(*) from messages group by 1, 2").fetchall()


def check(store: psycopg.Connection[Any], sink: Provider, count: int, *, exactly_once: bool) -> None:
    """Exactly the highest were sent, and the provider has what the books say."""
    enrolled = [(i, t, at) for i, t, at in store.execute("select id, journey, entered_at from enrollments").fetchall()]
    assert count == len(enrolled)
    sent = store.execute("select enrollment_id, key from messages where status = 'sent'").fetchall()
    assert highest(enrolled) == {r[0] for r in sent}
    assert set(sink.requests) == {r[1] for r in sent}
    if exactly_once:
        assert Counter(sink.requests.keys()) == sink.requests
    told = store.execute("select count(*), count(until), count(slot_at) from messages where status = 'deferred'").fetchone()
    assert (count - len(sent), count - len(sent), 0) == told
    assert [(count - len(sent),)] == store.execute("select count(*) from planned where waiting").fetchall()


async def test_of_a_hundred_in_three_processes_the_highest_get_through(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Twelve of 120, tier by tier, under six caps."""
    await race(120, 3, tmp_path, task_queue_prefix, database_url, temporal_address)


@pytest.mark.nightly
@pytest.mark.parametrize("kill_every", [0, 10])
async def test_of_a_thousand_in_four_processes_the_highest_get_through(
    kill_every: float, tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Also where a worker dies every ten seconds."""
    await race(1_000, 4, tmp_path, task_queue_prefix, database_url, temporal_address, kill_every=kill_every)
