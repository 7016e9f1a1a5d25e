"""How PostgreSQL carries hot statements out once tables have grown: by index, never through all there is."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from engine.store import enrollments, relay
from engine.store.database import Connection, connect, fetch, transaction

FILL = (
    "insert into inputs (enrollment_id, seq, lane, kind, at, relayed_at) "
    "select i, 1, i % 64, 'begin', now(), case when i > 50 then now() end from generate_series(1, 20000) i",
    "insert into enrollments (id, customer_id, journey, plan, entry_event, entered_at) "
    "select i, i, 'j', 'p', i, now() from generate_series(1, 20000) i",
    "insert into messages (key, enrollment_id, customer_id, journey, plan, step, attempt, template, channel, tier, status, "
    "planned_at, decided_at, policy) select i || '/s/0/0', i, i, 'j', 'p', 's', 0, 't', 'email', 'lifecycle', "
    "case when i % 100 = 0 then 'deferred' else 'sent' end, now(), now(), 'x' from generate_series(1, 20000) i",
    "analyze inputs",
    "analyze enrollments",
    "analyze messages",
)


async def read(c: Connection, table: str) -> int:
    """Rows of `table` that this transaction has looked at, one after the other or by index."""
    found = await fetch(
        c, "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relname = :table", table=table
    )
    return int(found[0][0])


@pytest.mark.parametrize("table", ["inputs", "messages"])
async def test_marking_inputs_and_ending_enrollments_read_no_whole_table(table: str, database_url: str) -> None:
    """What a relay round marks and what an end drops is found by index among twenty thousand rows."""
    database = connect(database_url)
    try:
        async with transaction(database) as c:
            for statement in FILL:
                await c.execute(text(statement))
        async with transaction(database) as c:
            pending = [r.id for r in await fetch(c, "select id from inputs where relayed_at is null")]
            before = await read(c, table)
            await relay.relayed(c, pending)
            ended = await enrollments.end(
                c, [{"id": i, "reason": "x", "at": "2026-03-02T10:00Z"} for i in (100, 101)], close_tasks=True
            )
            assert await read(c, table) - before <= 2 * len(pending)
        assert [100, 101] == sorted(ended)
        async with transaction(database) as c:
            dropped = await fetch(c, "select enrollment_id from messages where status = 'dropped'")
        assert [100] == [r.enrollment_id for r in dropped]
    finally:
        await database.dispose()
