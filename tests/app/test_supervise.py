"""The process tree of `sojourn up`, run as a process of its own: order, restarts, kills, a second one on the same data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from rich.console import Console

from engine.app.processes import ServerError, alive, await_end
from engine.app.supervise import Running, find_running, sweep
from tests.servers import Servers

ROOT = Path(__file__).parents[2]

UP = """
import os, sys
from pathlib import Path

from rich.console import Console

from engine.app.ending import end_process
from engine.app.processes import ServerError
from engine.app.supervise import Child, up

data = Path(sys.argv[1])
child = '''
import os, signal, sys, time
def note(what):
    with open(sys.argv[2], "a") as file:
        print(sys.argv[1], what, os.getpid(), file=file)
def end(*_):
    note("stopped")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
assert os.environ["SOJOURN_DATABASE_URL"].startswith("postgresql://")
note("started")
print("hello from", sys.argv[1])
time.sleep(600)
'''


def children(running):
    return [Child(n, [sys.executable, "-c", child, n, str(data / "notes")]) for n in ("worker", "api")]


def migrate(url):
    (data / "migrated").write_text(url)


try:
    code = up(
        data,
        migrate=migrate,
        children=children,
        console=Console(width=200),
        database_url=os.environ.get("GIVEN_DATABASE"),
        temporal_address=os.environ.get("GIVEN_TEMPORAL"),
    )
except ServerError as refused:
    print("refused:", refused)
    code = 3
end_process(code)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(data: Path) -> Iterator[Start]:
    """Starts `up` on `data`; whatever still runs afterwards is ended."""
    begun: list[subprocess.Popen[str]] = []

    def run(**environ: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", UP, str(data)]
        environ = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ))
        return begun[-1]

    yield run
    for process in begun:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def given(servers: Servers) -> dict[str, str]:
    """The session's servers, so that `up` starts none."""
    return {"GIVEN_DATABASE": servers.database_url, "GIVEN_TEMPORAL": servers.temporal_address}


def notes(data: Path) -> list[str]:
    """What children noted: "name started|stopped pid"."""
    path = data / "notes"
    return path.read_text().splitlines() if path.exists() else []


def names(data: Path) -> list[str]:
    """The children that `run.json` names, in the order in which they are launched."""
    noted = {pid: name for name, _, pid in (n.split() for n in notes(data))}
    return [noted[pid] for pid in json.loads((data / "run.json").read_text())["children"]]


def until(said: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until `said` holds."""
    give_up = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < give_up, "it didn't come about in time"
        time.sleep(0.05)


def test_everything_starts_and_stops_in_order_and_goes_on_where_it_was(data: Path, start: Start) -> None:
    """`up` runs real servers, tells others where they are, on Ctrl-C stops the API before the worker and ends with 0; the
    next one finds the data."""
    first = start()
    until(lambda: len(notes(data)) == 2)
    running = find_running(data)
    launched = names(data)
    assert running is not None
    assert 0o600 == (data / "run.json").stat().st_mode & 0o777
    assert (data / "migrated").read_text() == running.database_url
    with psycopg.connect(running.database_url) as connection:
        connection.execute("create table kept (a int)")
    first.send_signal(signal.SIGINT)
    said, _ = first.communicate(timeout=60)
    assert 0 == first.returncode, said
    assert ["worker", "api"] == launched
    told = [n.rpartition(" ")[0] for n in notes(data)]
    assert {"api started", "worker started"} == set(told[:2])  # each says so itself, once its interpreter runs
    assert ["api stopped", "worker stopped"] == told[2:]
    assert running.temporal_address in said
    assert "hello from worker" in said
    assert find_running(data) is None
    second = start()
    until(lambda: len(notes(data)) == 6)
    again = find_running(data)
    assert again is not None
    with psycopg.connect(again.database_url) as connection:
        assert (0,) == connection.execute("select count(*) from kept").fetchone()
    second.terminate()
    said, _ = second.communicate(timeout=60)
    assert 0 == second.returncode, said


def test_a_child_that_dies_is_started_again(data: Path, start: Start, given: dict[str, str]) -> None:
    """A killed worker is named with its exit code and replaced, and the API runs on."""
    process = start(**given)
    until(lambda: len(notes(data)) == 2)
    assert ["worker", "api"] == names(data)
    worker = next(n for n in notes(data) if n.startswith("worker"))
    os.kill(int(worker.split()[2]), signal.SIGKILL)
    until(lambda: len(notes(data)) == 3)
    assert ["worker", "api"] == names(data)
    process.terminate()
    said, _ = process.communicate(timeout=60)
    assert "the worker died (exit code -9)" in said
    told = [n.rpartition(" ")[0] for n in notes(data)]
    assert {"api started", "worker started"} == set(told[:2])
    assert ["worker started", "api stopped", "worker stopped"] == told[2:]


def test_a_second_one_on_the_same_data_is_refused(data: Path, start: Start, given: dict[str, str]) -> None:
    """The second `up` says who runs there already, and the first isn't disturbed."""
    first = start(**given)
    until(lambda: len(notes(data)) == 2)
    second = start(**given)
    said, _ = second.communicate(timeout=60)
    assert 3 == second.returncode
    assert f"in use by process {first.pid}" in said
    with pytest.raises(ServerError, match=f"in use by process {first.pid}: `sojourn up` runs there already"):
        sweep(data, Console(quiet=True))
    assert isinstance(find_running(data), Running)
    assert first.poll() is None


def test_what_a_killed_one_left_is_stopped_first(data: Path, start: Start, given: dict[str, str]) -> None:
    """After kill -9 of `up` its children live on; the next one stops them before it starts its own."""
    first = start(**given)
    until(lambda: len(notes(data)) == 2)
    first.kill()
    assert await_end(first.pid, 10)
    left = [int(n.split()[2]) for n in notes(data)]
    assert [True, True] == [alive(pid) for pid in left]
    start(**given)
    until(lambda: len(notes(data)) == 6)
    assert [False, False] == [alive(pid) for pid in left]


def test_a_server_that_dies_is_started_again_on_its_port(data: Path, start: Start, given: dict[str, str]) -> None:
    """After kill -9 of PostgreSQL the same address answers again with the same data."""
    process = start(GIVEN_TEMPORAL=given["GIVEN_TEMPORAL"])
    until(lambda: len(notes(data)) == 2)
    running = find_running(data)
    assert running is not None
    pid = int((data / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
    with psycopg.connect(running.database_url) as connection:
        connection.execute("create table kept (a int)")
    os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        try:
            with psycopg.connect(running.database_url) as connection:
                return connection.execute("select count(*) from kept").fetchone() == (0,)
        except psycopg.OperationalError:
            return False

    assert process.stdout is not None
    patience = threading.Timer(60.0, process.kill)
    patience.start()
    said = next((line for line in process.stdout if "PostgreSQL had died and was started again" in line), None)
    patience.cancel()
    assert said is not None, "it was never said, or not in time"
    assert back()
    process.terminate()
    process.communicate(timeout=60)
    assert 0 == process.returncode
