"""What a worker says while the database is gone: one line when it begins, one when it is over."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
import temporalio.activity
from sqlalchemy.exc import DBAPIError

from engine.app.processes import free_port
from engine.delivery.deployments import Deployments
from engine.intake.relay import Relay
from engine.observe.words import in_a_line
from engine.store.database import connect, run, transaction
from engine.store.trouble import Trouble, lost
from engine.temporal.worker import tell_plainly
from tests.harness import running, write_project

NOBODY: Any = None
"""Cohorts that nothing is brought to."""


async def failure(url: str, statement: str = "select 1") -> DBAPIError:
    """What the store raises for this statement on the database at `url`."""
    database = connect(url)
    try:
        async with transaction(database) as c:
            await run(c, statement)
    except DBAPIError as error:
        return error
    finally:
        await database.dispose()
    raise AssertionError("it works")


def dead_url() -> str:
    """A database where nobody listens."""
    return f"postgresql://sojourn:x@127.0.0.1:{free_port()}/sojourn"


def told(caplog: pytest.LogCaptureFixture, name: str) -> list[str]:
    """What this logger said, aloud."""
    return [r.getMessage() for r in caplog.records if r.name == name and r.levelno >= logging.WARNING]


class Counted(Trouble):
    """Counts what it is told."""

    n = 0

    def met(self, part: object, error: BaseException) -> bool:
        """One more."""
        self.n += 1
        return super().met(part, error)


async def test_the_relay_says_once_that_the_database_is_gone(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Three partitions try again and again, and there are two lines: what is wrong, and that it is over."""
    there, gone = connect(database_url), connect(dead_url())
    relay = Relay(gone, database_url, Deployments(), NOBODY, partitions=3)
    relay.trouble = counted = Counted(logging.getLogger("sojourn.relay"), "the relay")
    stop = asyncio.Event()
    working = asyncio.create_task(relay.run(stop))
    async with asyncio.timeout(20):
        while counted.n < 6:
            await asyncio.sleep(0.05)
        relay.database = there
        while len(told(caplog, "sojourn.relay")) < 2:
            await asyncio.sleep(0.05)
        stop.set()
        await working
    begins, ends = told(caplog, "sojourn.relay")
    assert begins.startswith("the database can't be reached: connection failed: ")
    assert begins.endswith("; the relay tries again until it works")
    assert ("the relay works again", 1) == (ends, len(begins.splitlines()))
    await there.dispose()
    await gone.dispose()


async def test_what_is_no_lost_connection_is_told_by_its_own_words(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The first line of what PostgreSQL said, without the statement; another failure is another line."""
    wrong = await failure(database_url, "select * from nowhere")
    gone = await failure(dead_url())
    assert (False, True, True) == (lost(wrong), lost(gone), lost(OSError()))
    trouble = Trouble(logging.getLogger("sojourn.relay"), "the relay")
    assert [True, False, True, False] == [trouble.met(part, e) for part, e in ((0, wrong), (1, wrong), (1, gone), (2, gone))]
    for part in (2, 1, 3, 0):
        trouble.over(part)
    assert [
        'relation "nowhere" does not exist; the relay tries again until it works',
        f"the database can't be reached: {in_a_line(gone)}; the relay tries again until it works",
        "the relay works again",
    ] == told(caplog, "sojourn.relay")


async def test_an_activity_that_lost_the_database_shows_no_trace(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Temporal tries it again, and the relay has said it; an activity that fails otherwise shows where."""
    caplog.set_level(logging.INFO)
    async with running(write_project(tmp_path, {}), database_url, temporal_address, task_queue_prefix) as sojourn:
        await sojourn.until(lambda: tell_plainly in logging.getLogger("temporalio.activity").filters)
        for error in (await failure(dead_url()), ValueError("a bug")):
            try:
                raise error
            except (DBAPIError, ValueError):
                temporalio.activity.logger.warning("Completing activity as failed", exc_info=True)
    first, second = (r for r in caplog.records if r.name == "temporalio.activity")
    assert ("INFO", None) == (first.levelname, first.exc_info)
    assert first.getMessage().startswith("an activity is tried again: connection failed: ")
    assert ("WARNING", "Completing activity as failed") == (second.levelname, second.getMessage())
    assert second.exc_info is not None
