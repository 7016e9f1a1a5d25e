"""`collision_free`: a transaction is run again where it collides or was outrun, and keeps nothing of an attempt that failed."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy.exc import DBAPIError

from engine.store.database import COLLISIONS, Connection, Outrun, collision_free, connect, fetch, run, transaction


async def test_a_transaction_is_run_again_until_it_stands(database_url: str) -> None:
    """Two that lock each other out, one that was outrun, one that always is, one that is wrong, and one that only looks."""
    database = connect(database_url, pool=2)
    tried: list[str] = []

    async def add(c: Connection, *ids: int) -> int:
        for i in ids:
            await run(c, "update numbers set n = n + 1 where id = :i", i=i)
        return len(tried)

    async def numbers() -> list[int]:
        async with transaction(database) as c:
            return [r.n for r in await fetch(c, "select n from numbers order by id")]

    try:
        async with transaction(database) as c:
            await run(c, "create table numbers (id int primary key, n int not null)")
            await run(c, "insert into numbers values (1, 0), (2, 0)")
        both = asyncio.Barrier(2)

        async def crosswise(c: Connection, first: int, second: int) -> None:
            await add(c, first)
            tried.append(f"{first}, {second}")
            if len(tried) <= 2:
                await both.wait()
            await add(c, second)

        await asyncio.gather(
            collision_free(database, lambda c: crosswise(c, 1, 2)), collision_free(database, lambda c: crosswise(c, 2, 1))
        )
        assert [2, 2] == await numbers()
        assert 3 == len(tried), "one of them came through, the other one was run again"

        tried.clear()

        async def outrun(c: Connection, times: int) -> int:
            tried.append("outrun")
            n = await add(c, 1)
            if n <= times:
                raise Outrun
            return n

        assert 2 == await collision_free(database, lambda c: outrun(c, 1))
        assert [3, 2] == await numbers()
        tried.clear()
        with pytest.raises(Outrun):
            await collision_free(database, lambda c: outrun(c, COLLISIONS))
        assert COLLISIONS == len(tried)

        tried.clear()

        async def wrong(c: Connection) -> None:
            tried.append("wrong")
            await run(c, "insert into numbers values (1, 0)")

        with pytest.raises(DBAPIError):
            await collision_free(database, wrong)
        assert ["wrong"] == tried

        assert 1 == await collision_free(database, lambda c: add(c, 1, 2), dry_run=True)
        assert [3, 2] == await numbers()
    finally:
        await database.dispose()
