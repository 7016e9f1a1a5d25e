"""`kill -9` of the process that enrolls, twice on the way: a broadcast reaches everybody once."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path

import psycopg

from tests.faults.cast import cast, prepare, provider, until, write_faulty
from tests.harness import POLICY

PEOPLE = 600
JOURNEY = """
journey: news
tier: lifecycle
enter: {broadcast: pinged, audience: customer.email is not none, again: never, rate: 100/s}
steps:
  - send: email
    id: letter
    template: hello
    topic: news
"""


def ask(url: str, statement: str) -> list[tuple[object, ...]]:
    """Rows straight from the store."""
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        return connection.execute(statement.encode()).fetchall()


async def test_a_broadcast_killed_twice_on_the_way_reaches_everyone_once(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """600 people at a hundred a second; the worker is killed after some 100 and after some 300, and the next one goes on."""
    users = [f"user{i}" for i in range(PEOPLE)]
    async with provider() as sink:
        write_faulty(tmp_path, sink.port, {"journeys/news.yaml": JOURNEY, "journeys/policy.yaml": POLICY})
        await prepare(tmp_path, database_url, users)
        play = cast(tmp_path, task_queue_prefix, database_url, temporal_address)
        picture = partial(ask, database_url, "select state, found, entered, refused, carried, turn, next_at from broadcasts")

        def entered(count: int) -> bool:
            return play.in_order() and int(str(ask(database_url, "select count(*) from enrollments")[0][0])) >= count

        try:
            worker = play.worker()
            play.intake([["m-1", "catalogue", "pinged", {"number": 1}]])
            for reached in (100, 300):
                await until(partial(entered, reached), 120, picture)
                worker.kill()
                assert not entered(PEOPLE), "it was killed on the way"
                await asyncio.sleep(0.5)
                worker = play.worker()
            await until(
                lambda: play.in_order() and ask(database_url, "select state from broadcasts") == [("done",)], 120, picture
            )
            ended = "select 1 from enrollments where status <> 'ended'"
            await until(lambda: play.in_order() and entered(PEOPLE) and not ask(database_url, ended), 120, picture)
            assert [(PEOPLE, PEOPLE, 0)] == ask(database_url, "select found, entered, refused from broadcasts")
            assert [(PEOPLE, PEOPLE)] == ask(database_url, "select count(*), count(distinct customer_id) from enrollments")
            assert [("sent", PEOPLE)] == ask(database_url, "select status, count(*) from messages group by 1")
            assert Counter(dict.fromkeys(sink.per_customer(), 1)) == sink.per_customer()
            assert PEOPLE == len(sink.per_customer())
        finally:
            play.close()
