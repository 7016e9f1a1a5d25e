"""`kill -9` of every part in the middle of the work, then a restart: all delivered, none twice, no cap exceeded, nothing stuck.

Servers of these tests' own, with their data on disk and fsync on. The provider lives in the test and counts idempotency keys.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from engine.app.embedded import Embedded
from engine.store.schema import migrate
from tests.faults.cast import Cast, Process, Provider, cast, prepare, provider, until, write_faulty
from tests.harness import POLICY

JOURNEY = """
journey: three
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - send: email
    id: first
    template: hello
    topic: news
  - wait: 2s
    id: a_moment
  - send: email
    id: second
    template: again
    topic: news
  - send: email
    id: third
    template: again
    topic: news
    on_defer: skip
"""

CAP = "caps: [{name: weekly, limit: 2, per: 7d}]\n"


@pytest.fixture(scope="module")
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A durable PostgreSQL and a durable Temporal that these tests may kill."""
    with Embedded.start(tmp_path_factory.mktemp("servers"), ui_port=None) as running:
        yield running


class Stage:
    """One test's database on servers that die: asks the store, patiently."""

    def __init__(self, servers: Embedded) -> None:
        name = f"kill_{secrets.token_hex(4)}"
        with psycopg.connect(servers.database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        self.url = servers.database_url.rpartition("/")[0] + "/" + name
        migrate(self.url)

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Rows; a server that is down is an error."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
            return connection.execute(statement.encode()).fetchall()

    def count(self, what: str) -> int:
        """How many rows `what` (a table with a condition) has; -1 while the server is down."""
        try:
            return int(self.ask(f"select count(*) from {what}")[0][0])
        except psycopg.OperationalError:
            return -1

    def picture(self) -> object:
        """What stands in the way."""
        return (
            self.ask("select status, reason, step, count(*) from enrollments group by 1, 2, 3"),
            self.ask("select status, reason, step, count(*) from messages group by 1, 2, 3"),
            self.ask("select count(*) from inputs where relayed_at is null"),
            self.ask("select * from leases"),
        )


def strike(victim: str, servers: Embedded, play: Cast, worker: Process, intake: Process) -> None:
    """Kill `victim` with signal 9."""
    if victim == "worker":
        worker.kill()
    elif victim == "intake":
        intake.kill()
    elif victim == "temporal":
        assert servers.temporal is not None
        os.kill(servers.temporal.pid, signal.SIGKILL)
    else:
        assert servers.postgres is not None
        os.kill(servers.postgres.pid, signal.SIGKILL)


def recover(victim: str, servers: Embedded, play: Cast, events: list[Any]) -> None:
    """Start `victim` again."""
    if victim == "worker":
        play.worker()
    elif victim == "intake":
        play.intake(events)
    else:
        servers.restart_dead()


def arrived(play: Cast, sink: Provider, count: int) -> bool:
    """Whether the provider has heard of `count` messages."""
    return play.in_order() and len(sink.requests) >= count


async def through_kills(victims: list[str], people: int, folder: Path, prefix: str, servers: Embedded) -> None:
    """Enroll `people`, kill and restart each of `victims` on the way, and check that everything arrived once."""
    stage = Stage(servers)
    users = [f"user{i}" for i in range(people)]
    events = [[f"m-{u}", u, "signed_up", {}] for u in users]
    async with provider() as sink:
        write_faulty(folder, sink.port, {"journeys/three.yaml": JOURNEY, "journeys/policy.yaml": POLICY + CAP}, cohort=50)
        await prepare(folder, stage.url, users)
        play = cast(folder, prefix, stage.url, servers.temporal_address)
        try:
            worker, intake = play.worker(), play.intake(events)
            for turn, victim in enumerate(victims):
                reached = people * 2 * (turn + 1) // (len(victims) + 4)
                await until(partial(arrived, play, sink, reached), 300, stage.picture)
                strike(victim, servers, play, worker, intake)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(recover, victim, servers, play, events)
                worker = play.started[-1] if victim == "worker" else worker
                intake = play.started[-1] if victim == "intake" else intake
            await until(lambda: play.in_order() and intake.ended(), 300, stage.picture)
            ended = "enrollments where status = 'ended'"
            await until(lambda: play.in_order() and stage.count(ended) == people, 300, stage.picture)
            await until(lambda: stage.count("inputs where relayed_at is null") == 0, 60, stage.picture)
            check(stage, sink, people)
        finally:
            play.close()


def check(stage: Stage, sink: Provider, people: int) -> None:
    """Everybody got the first two messages once, the cap kept the third from all, and the books say the same."""
    assert Counter(dict.fromkeys(sink.per_customer(), 2)) == sink.per_customer()
    assert people == len(sink.per_customer())
    assert {("first", 1), ("second", 1)} == {(step, len(keys)) for (_, step), keys in sink.messages.items()}
    ledger = stage.ask("select step, status, reason, count(*) from messages group by 1, 2, 3 order by 1")
    assert [("first", "sent", "", people), ("second", "sent", "", people), ("third", "dropped", "cap", people)] == ledger
    assert set(sink.requests) == {r[0] for r in stage.ask("select key from messages where status = 'sent'")}
    ends = stage.ask("select status, reason, count(*) from enrollments group by 1, 2")
    assert [("ended", "completed", people)] == ends
    assert [(people,)] == stage.ask("select count(*) from events where name = 'signed_up'")


@pytest.mark.parametrize("victim", ["worker", pytest.param("intake", marks=pytest.mark.nightly), "temporal", "postgres"])
async def test_a_kill_in_the_middle_loses_and_doubles_nothing(
    victim: str, tmp_path: Path, own_servers: Embedded, task_queue_prefix: str
) -> None:
    """Killed in the middle of 300 enrollments and started again, each part leaves 600 messages delivered, each once."""
    await through_kills([victim], 300, tmp_path, task_queue_prefix, own_servers)


@pytest.mark.nightly
async def test_every_part_killed_in_turn_loses_and_doubles_nothing(
    tmp_path: Path, own_servers: Embedded, task_queue_prefix: str
) -> None:
    """2 000 enrollments survive eight kills, two of each part."""
    victims = ["worker", "intake", "temporal", "postgres"] * 2
    await through_kills(victims, 2_000, tmp_path, task_queue_prefix, own_servers)
