"""Many processes and one customer: a cap holds, not by one, however they race."""

from __future__ import annotations

from pathlib import Path

import psycopg

from tests.faults.cast import cast, prepare, provider, until, write_faulty
from tests.harness import POLICY

RACE = """
journey: race
tier: lifecycle
enter: {event: signed_up, key: order_id, again: always}
steps:
  - send: email
    id: only
    template: hello
    topic: news
    on_defer: skip
"""


async def test_two_hundred_enrollments_of_one_customer_in_five_processes_send_three(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Under a cap of 3 in a week, three workers and two intakes that race for one customer send exactly 3 of 200 messages."""
    policy = POLICY + "caps: [{name: weekly, limit: 3, per: 7d}]\n"
    async with provider() as sink:
        folder = write_faulty(tmp_path, sink.port, {"journeys/race.yaml": RACE, "journeys/policy.yaml": policy}, cohort=8)
        await prepare(folder, database_url, ["ada"])
        play = cast(folder, task_queue_prefix, database_url, temporal_address)
        try:
            for _ in range(3):
                play.worker()
            events = [[f"m{i}", "ada", "signed_up", {"order_id": f"o{i}"}] for i in range(200)]
            intakes = [play.intake(events[:120], "one"), play.intake(events[80:], "two")]
            with psycopg.connect(database_url, autocommit=True) as store:

                def ended() -> int:
                    row = store.execute("select count(*) from enrollments where status = 'ended'").fetchone()
                    assert row is not None
                    return int(row[0])

                await until(lambda: play.in_order() and all(p.ended() for p in intakes), 120, ended)
                await until(lambda: play.in_order() and ended() == 200, 120, ended)
                found = store.execute("select status, reason, count(*) from messages group by 1, 2 order by 1").fetchall()
                assert [("dropped", "cap", 197), ("sent", "", 3)] == found
                assert [(0,)] == store.execute("select count(*) from inputs where relayed_at is null").fetchall()
                assert [(200,)] == store.execute("select count(*) from enrollments").fetchall()
                working = store.execute("select count(distinct owner) from cohorts").fetchall()
                assert [(1,)] == working, "one customer is one partition's"
            assert 3 == len(sink.requests) == sink.requests.total()
        finally:
            play.close()
