"""The embedded PostgreSQL on real files: stopping, killing, leftovers, accounts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest

from engine.app.postgres import Postgres
from engine.app.postgres_home import account
from engine.app.processes import ServerError, alive, await_end


def remember(url: str, word: str) -> None:
    """Commit `word`."""
    with psycopg.connect(url) as connection:
        connection.execute("create table if not exists words (word text)")
        connection.execute("insert into words values (%s)", (word,))


def remembered(url: str) -> list[str]:
    """Every word committed so far."""
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("select word from words order by word")]


def test_what_was_committed_survives_a_stop_and_a_kill(data: Path) -> None:
    """After an orderly stop, and after kill -9, the same data is there on the same port."""
    first = Postgres.start(data / "postgres")
    remember(first.url, "a")
    first.stop()
    assert not first.running()
    second = Postgres.start(data / "postgres")
    remember(second.url, "b")
    os.kill(second.pid, signal.SIGKILL)
    second.stop()
    with Postgres.start(data / "postgres") as third:
        assert ["a", "b"] == remembered(third.url)
        assert [first.port, first.port] == [second.port, third.port]
        with psycopg.connect(third.url) as connection:
            assert ("on",) == connection.execute("show fsync").fetchone()


def test_a_server_that_nobody_owns_is_replaced(data: Path) -> None:
    """A server left running by a killed owner is stopped in order before the next one starts on its data."""
    left = Postgres.start(data / "postgres")
    remember(left.url, "a")
    left._claim.release()
    with Postgres.start(data / "postgres") as next_one:
        assert ["a"] == remembered(next_one.url)
        assert not alive(left.pid)


def test_data_in_use_is_refused(data: Path) -> None:
    """A second server on the same data is refused with the owner's process id, and the first goes on."""
    with Postgres.start(data / "postgres") as first:
        with pytest.raises(ServerError, match=str(os.getpid())):
            Postgres.start(data / "postgres")
        remember(first.url, "a")


def test_a_recycled_process_id_in_the_pid_file_misleads_nobody(data: Path) -> None:
    """A pid file that names somebody else's process, of the same account, neither blocks the start nor ends that process."""
    killed = Postgres.start(data / "postgres")
    remember(killed.url, "a")
    os.kill(killed.pid, signal.SIGKILL)
    assert await_end(killed.pid, 10)
    killed.stop()
    stranger = subprocess.Popen(["sleep", "60"], **account(killed.folder / "data").popen())
    path = killed.folder / "data" / "postmaster.pid"
    path.write_text(f"{stranger.pid}\n" + path.read_text().partition("\n")[2])
    try:
        with Postgres.start(data / "postgres") as server:
            assert ["a"] == remembered(server.url)
        assert alive(stranger.pid)
    finally:
        stranger.kill()
        stranger.wait()


def test_an_initialisation_that_was_cut_short_is_made_again(data: Path) -> None:
    """Half a cluster, left by a kill during the first start, is thrown away and made anew."""
    (data / "postgres" / "data.new" / "base").mkdir(parents=True)
    with Postgres.start(data / "postgres") as server:
        remember(server.url, "a")
        assert ["a"] == remembered(server.url)


def test_a_lost_password_never_costs_the_data(data: Path) -> None:
    """Data without its password file is refused and left as it is, not initialised again."""
    with Postgres.start(data / "postgres") as server:
        remember(server.url, "a")
    (server.folder / "password").rename(server.folder / "elsewhere")
    with pytest.raises(ServerError, match="password"):
        Postgres.start(data / "postgres")
    (server.folder / "elsewhere").rename(server.folder / "password")
    with Postgres.start(data / "postgres") as again:
        assert ["a"] == remembered(again.url)


def test_only_this_machine_and_only_with_the_password(data: Path) -> None:
    """The password is private to its owner, another one is refused, and only loopback is listened on."""
    with Postgres.start(data / "postgres") as server:
        assert 0o600 == (server.folder / "password").stat().st_mode & 0o777
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(f"postgresql://sojourn:wrong@127.0.0.1:{server.port}/sojourn")
        with psycopg.connect(server.url) as connection:
            assert ("127.0.0.1",) == connection.execute("show listen_addresses").fetchone()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's data is run by another account")
def test_data_under_a_closed_home_is_laid_elsewhere_and_linked(data: Path) -> None:
    """Where PostgreSQL's account can't pass, no folder is opened for it: its data lies elsewhere, a link leads there."""
    home = data / "home"
    home.mkdir(mode=0o700)
    first = Postgres.start(home / "postgres")
    try:
        remember(first.url, "a")
        first.stop()
        with Postgres.start(home / "postgres") as second:
            assert ["a"] == remembered(second.url)
        assert 0o700 == home.stat().st_mode & 0o777
        assert first.folder == (home / "postgres").resolve()
    finally:
        first.stop()
        shutil.rmtree(first.folder)


def test_without_the_wheel_the_error_says_what_to_do(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the embedded extra isn't installed, the error names it and the variable that makes it unnecessary."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ServerError, match=r"sojourn\[embedded\].*SOJOURN_DATABASE_URL"):
        Postgres.start(data / "postgres")
