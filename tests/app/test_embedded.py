"""Both servers in one folder: what is made accessible, what is left alone, what isn't started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.app.embedded import Embedded, make_folder
from engine.app.processes import PORTS, Claim, ServerError, await_end, free_port


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as another account")
def test_a_new_folder_lets_the_account_pass_and_an_old_one_stays_closed(data: Path) -> None:
    """An empty folder becomes ours and can be passed through; one that holds somebody's files keeps its mode."""
    empty, used = data / "empty", data / "used"
    for folder in (empty, used):
        folder.mkdir(mode=0o700)
    (used / "diary").touch()
    make_folder(empty)
    make_folder(used)
    assert (0o711, 0o700) == (empty.stat().st_mode & 0o777, used.stat().st_mode & 0o777)


def test_given_servers_are_used_and_none_is_started(data: Path) -> None:
    """Where the operator names both servers, nothing of ours runs and no data is made."""
    with Embedded.start(data / "d", database_url="postgresql://db/x", temporal_address="t:7233") as servers:
        assert (None, None) == (servers.postgres, servers.temporal)
        assert ("postgresql://db/x", "t:7233") == (servers.database_url, servers.temporal_address)
        assert [] == servers.restart_dead()
    assert [] == list((data / "d").iterdir())


def test_both_run_and_both_stop(data: Path) -> None:
    """Both servers run inside the block, and neither after it; a dead one comes back on its port."""
    with Embedded.start(data / "d", ui_port=None, durable=False) as servers:
        assert servers.postgres is not None
        assert servers.temporal is not None
        os.kill(servers.temporal.pid, 9)
        os.kill(servers.postgres.pid, 9)
        ports = (servers.postgres.port, servers.temporal.port)
        assert await_end(servers.postgres.pid, 10)
        assert await_end(servers.temporal.pid, 10)
        assert ["PostgreSQL", "Temporal"] == servers.restart_dead()
        assert ports == (servers.postgres.port, servers.temporal.port)
    assert (False, False) == (servers.postgres.running(), servers.temporal.running())


def test_a_folder_has_one_owner_at_a_time(data: Path) -> None:
    """A claimed folder is refused to others until it is given up."""
    first = Claim(data, "a test")
    assert Claim.held(data)
    with pytest.raises(ServerError, match=rf"in use by process {os.getpid()}: a test runs there already"):
        Claim(data, "a test")
    first.release()
    assert not Claim.held(data)
    Claim(data, "a test").release()


def test_free_ports_are_below_those_of_outgoing_connections() -> None:
    """A free port is one that no outgoing connection is given as its own, so that a client can't connect to itself."""
    assert free_port() in PORTS
    assert 32_768 == PORTS.stop
