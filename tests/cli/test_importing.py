"""`import` as a process: killed and interrupted on the way, asked to look only, and told what can't be."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from engine.app.deploying import deploy
from engine.authoring.project import load_project
from engine.store.database import connect
from tests.cli.commands import ROOT, answer, environ, sojourn
from tests.harness import HELLO, write_project

SETTINGS = "channels: {email: {use: channels.noop}, sms: {use: channels.noop}}\n"
TRACKING = "events: {ordered: {properties: {order_id: string, total: number}}}\nattributes: {email: string}\n"
ROWS = 6_000


@pytest_asyncio.fixture
async def folder(tmp_path: Path, database_url: str) -> AsyncIterator[Path]:
    """A deployed project."""
    letters = {
        f"templates/{name}.txt": HELLO.replace("first_name", "email") for name in ("email/hello", "email/again", "sms/hello")
    }
    project = write_project(tmp_path, {"sojourn.yaml": SETTINGS, "journeys/tracking.yaml": TRACKING, **letters})
    database = connect(database_url)
    await deploy(database, load_project(project, {"email", "sms"}), "test")
    await database.dispose()
    yield project


def orders(path: Path, rows: int) -> None:
    """A file of orders, of which one in a thousand is bad."""
    lines = (f"u{n % 300},ordered,2026-01-02,A{n},{'?' if n % 1000 == 7 else n / 100}\n" for n in range(rows))
    path.write_text("user_id,event,timestamp,order_id,total\n" + "".join(lines))


def ask(url: str, statement: str) -> tuple[int, ...]:
    """One row straight from the store."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchone() or ()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
async def test_an_import_that_is_ended_on_the_way_goes_on(folder: Path, database_url: str, number: signal.Signals) -> None:
    """Each row once, each bad row once in the report; the exit code tells the bad ones."""
    orders(folder / "orders.csv", ROWS)
    command = [sys.executable, "-m", "engine.cli", "import", "events", "orders.csv"]
    running = subprocess.Popen(
        command,
        cwd=folder,
        env=environ(SOJOURN_DATABASE_URL=database_url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while (ask(database_url, "select coalesce(max(rows), 0) from imports") or (0,))[0] < 1_000 and time.monotonic() < end:
        await asyncio.sleep(0.02)
    running.send_signal(number)
    _, said = running.communicate(timeout=60)
    assert (-9 if number == signal.SIGKILL else 130) == running.returncode, said
    assert number == signal.SIGKILL or "goes on from there" in said
    read = ask(database_url, "select rows from imports")[0]
    assert 1_000 <= read < ROWS, "it was ended on the way"
    done = sojourn("import", "events", "orders.csv", "--json", cwd=folder, SOJOURN_DATABASE_URL=database_url)
    bad = ROWS // 1000
    assert (1, ROWS - bad, 0, bad, read) == (done.returncode, *(answer(done)[k] for k in ("taken", "known", "bad", "resumed")))
    assert (ROWS - bad, ROWS - bad) == ask(database_url, "select count(*), count(distinct properties->>'order_id') from events")
    assert bad + 1 == len((folder / "orders.csv.bad.csv").read_text().splitlines())
    again = sojourn("import", "events", "orders.csv", cwd=folder, SOJOURN_DATABASE_URL=database_url)
    assert (1, True) == (again.returncode, f"imported 0 rows of orders.csv, {ROWS - bad} known before" in again.stdout)


async def test_looking_only_tells_what_would_be(folder: Path, database_url: str) -> None:
    """What each column is taken for, how many rows can be taken, and the bad ones with what to do."""
    orders(folder / "orders.csv", 20)
    done = sojourn("import", "events", "orders.csv", "--dry-run", cwd=folder, SOJOURN_DATABASE_URL=database_url)
    assert 1 == done.returncode
    assert [
        "user_id ← user_id",
        "moment ← timestamp",
        "event ← event",
        "property order_id ← order_id",
        "property total ← total",
    ] == [line.strip() for line in done.stdout.splitlines() if "←" in line]
    assert "19 rows of orders.csv can be taken; nothing was changed" in done.stdout
    assert "row 9: ordered: total '?' is not a number; mend the value, or its type in tracking.yaml" in done.stdout
    assert (0, 0) == ask(database_url, "select (select count(*) from events), (select count(*) from imports)")


async def test_looking_only_lists_every_column(folder: Path, database_url: str) -> None:
    """Those that become attributes by their own names, and those that are left out; for machines too."""
    (folder / "people.csv").write_text(
        "user_id,email,first_name,plan,note,consent_email,agreed\nu1,a@example.com,Ada,pro,x,yes,\n"
    )
    consent = "consents: [{column: consent_email, channel: email, at: agreed}]\n"
    (folder / "people.yaml").write_text(f"{consent}ignore: [note]\nattributes: {{tier: plan}}\n")
    command = ("import", "customers", "people.csv", "--mapping", "people.yaml", "--dry-run", "--json")
    done = answer(sojourn(*command, cwd=folder, SOJOURN_DATABASE_URL=database_url))
    assert [
        ("user_id", "user_id"),
        ("email", "email"),
        ("attribute email", "email"),
        ("attribute tier", "plan"),
        ("consent to email", "consent_email"),
        ("moment of the consent to email", "agreed"),
        ("attribute first_name", "first_name"),
        ("left out", "note"),
    ] == [(c["what"], c["column"]) for c in done["columns"]]
    (folder / "people.yaml").write_text(f"{consent}rest: ignore\n")
    left_out = [c["column"] for c in answer(sojourn(*command, cwd=folder, SOJOURN_DATABASE_URL=database_url))["columns"][-3:]]
    assert ["first_name", "plan", "note"] == left_out


async def test_what_cannot_be_is_told_in_words(folder: Path, database_url: str) -> None:
    """Files that are none, mappings that are none, columns that say nothing: exit code 2, and what to do."""
    (folder / "people.csv").write_text("name\nAda\n")
    (folder / "wrong.yaml").write_text("user_id: nme\n")
    cases = [
        (("customers", "nowhere.csv"), "nowhere.csv can't be read: No such file or directory"),
        (("customers", "sojourn.yaml"), "is no file that can be imported"),
        (("customers", "people.csv"), "no column names the customer"),
        (("customers", "people.csv", "--mapping", "nowhere.yaml"), "nowhere.yaml can't be used: No such file"),
        (("customers", "people.csv", "--mapping", "wrong.yaml"), "wrong.yaml:1:10: error SJ260: the file has no column 'nme'"),
    ]
    for arguments, said in cases:
        done = sojourn("import", *arguments, cwd=folder, SOJOURN_DATABASE_URL=database_url)
        assert (2, True) == (done.returncode, said in done.stderr), done.stderr


def test_help_is_there_without_a_project() -> None:
    """Both commands show an example."""
    for kind in ("customers", "events"):
        done = subprocess.run(
            [sys.executable, "-m", "engine.cli", "import", kind, "--help"],
            cwd=ROOT,
            env=environ(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (0, True) == (done.returncode, f"sojourn import {kind}" in done.stdout)
