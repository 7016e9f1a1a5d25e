"""Fixtures that every floor's tests share, and the end of a test session.

Real servers, a fresh database per test, names that no two tests share. A session ends through `end_process` with pytest's
own exit code, because a process that ran a Temporal worker may abort at interpreter exit.
"""

from __future__ import annotations

import gc
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import HealthCheck, settings

from engine.app.ending import end_process
from tests import servers as session
from tests.conditions import Store, kept_store

# Where CI is set Hypothesis tries the same examples each time, so that a change is judged by itself; elsewhere it searches.
settings.register_profile("sojourn", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # it tells of machines
settings.load_profile("sojourn")

_exit_status = pytest.StashKey[int]()


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt(f"signal {number}")


def pytest_configure(config: pytest.Config) -> None:
    """Open the session's folder; let a polite kill end the session in order, so that no server stays behind."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background job, whose children would ignore Ctrl-C too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not _is_worker(config):
        session.open_session()
        signal.signal(signal.SIGTERM, _interrupt)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of the night may take an hour each, on a machine that does something else too."""
    for item in items:
        if item.get_closest_marker("nightly") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))


def pytest_collection_finish() -> None:
    """What collecting has made stays: the garbage collector needs not go through it again and again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the exit code for the end."""
    session.config.stash[_exit_status] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers and end with pytest's own exit code."""
    if not _is_worker(config):
        session.close_session(Path(os.environ[session.SESSION]))
    if _exit_status in config.stash:
        end_process(config.stash[_exit_status])


@pytest.fixture(scope="session")
def servers() -> session.Servers:
    """The session's PostgreSQL and in-memory Temporal."""
    return session.servers()


@pytest.fixture
def database_url(servers: session.Servers) -> Iterator[str]:
    """URL of a fresh, migrated, empty database that is dropped after the test."""
    with session.fresh_database() as url:
        yield url


@pytest.fixture(scope="module")
def store(servers: session.Servers) -> Iterator[Store]:
    """A store and a loop for all examples of a module."""
    with kept_store() as made:
        yield made


@pytest.fixture(scope="session")
def temporal_address(servers: session.Servers) -> str:
    """host:port of the session's Temporal server; namespace "default"."""
    return servers.temporal_address


@pytest.fixture
def task_queue_prefix() -> str:
    """A prefix for task queues, workflow ids and the like that no other test uses."""
    return f"test-{secrets.token_hex(6)}"
