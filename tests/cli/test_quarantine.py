"""`quarantine` and `sources` as processes, on a database that a source has sent to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.api.conftest import PROJECT, Api, serving
from tests.cli.commands import answer, sojourn
from tests.harness import write_project

SETTINGS = """
write_keys: {website: "${WEBSITE_KEY}", backend: "${BACKEND_KEY}"}
sources: {website: {rate: 500/s}}
channels: {email: {use: channels.noop}, sms: {use: channels.noop}}
"""

BAD = {"type": "track", "event": "signed_up", "messageId": "m1", "timestamp": "2026-03-02T10:00:00Z"}
MANY = {"type": "track", "userId": "bob", "event": "pinged", "properties": {"number": "many"}, "messageId": "m2"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with two sources."""
    return write_project(tmp_path, {**PROJECT, "sojourn.yaml": SETTINGS})


@pytest_asyncio.fixture
async def api(database_url: str, temporal_address: str, folder: Path) -> AsyncIterator[Api]:
    """A running API to which two calls were sent that it put aside, and one that it took."""
    async with serving(database_url, temporal_address, folder) as running:
        good = {"type": "identify", "userId": "ada", "messageId": "m0"}
        await running.http.post("/v1/batch", json={"batch": [BAD, MANY, good]})
        await running.reach.tally.write(running.core.database)
        yield running


class Commands:
    """`sojourn quarantine` on one project and one database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url

    def __call__(self, *arguments: str, stdin: str = "") -> Any:
        """Run it."""
        return sojourn("quarantine", *arguments, cwd=self.folder, stdin=stdin, SOJOURN_DATABASE_URL=self.url)


async def test_a_call_is_found_shown_mended_and_released(api: Api, folder: Path, database_url: str) -> None:
    """From the list to the journey, with what is wrong in words all along."""
    run = Commands(folder, database_url)
    many, bad = answer(run("list", "--json"))
    assert ("website", "track", "signed_up") == (bad["source"], bad["kind"], bad["name"])
    number = str(bad["id"])
    listed = run("list", "--reason", "USERID").stdout
    assert ("both missing" in listed, "many" in listed) == (True, False)
    shown = run("show", number)
    assert (0, True, True) == (shown.returncode, "(waits)" in shown.stdout, '"messageId": "m1"' in shown.stdout)
    assert BAD == answer(run("show", number, "--json"))["call"]
    stays = run("release", number)
    assert (1, True) == (stays.returncode, f"{number} stays: userId and anonymousId are both missing" in stays.stdout)
    path = folder / "call.json"
    path.write_text(json.dumps({**BAD, "userId": "ada"}))
    mended = run("mend", number, "--json-file", str(path))
    assert (0, True) == (mended.returncode, f"sojourn quarantine release {number}" in mended.stdout)
    looked = run("release", "--source", "website", "--dry-run")
    assert (0, "would release 2; nothing was changed" in looked.stdout) == (looked.returncode, True)
    assert {"released": [bad["id"]], "known": [], "still": [], "dry_run": False} == answer(run("release", number, "--json"))
    assert ["welcome"] == [r.journey for r in await api.query("select journey from enrollments")]
    again = run("release", number)
    assert (1, "nothing of it waits" in again.stdout) == (again.returncode, True)
    assert [many["id"]] == [r["id"] for r in answer(run("list", "--json"))]
    assert "(released)" in run("list", "--all").stdout


async def test_what_cannot_be_is_told_in_words(api: Api, folder: Path, database_url: str) -> None:
    """Files that are none, calls that are none, numbers that nobody has, choices that are none: and nothing is changed."""
    run = Commands(folder, database_url)
    number = str(answer(run("list", "--json"))[0]["id"])
    cases = [
        (("mend", number, "--json-file", "nowhere.json"), 2, "nowhere.json can't be read"),
        (("mend", "99999", "--json-file", "-"), 1, "no call waits under 99999"),
        (("show", "99999"), 1, "there is no call 99999"),
        (("show", "x"), 2, "Invalid value"),
        (("release",), 2, "say which"),
        (("drop", number, "--source", "website"), 2, "say which"),
        (("drop", "--source", "website"), 2, "add --yes"),
    ]
    for arguments, code, said in cases:
        done = run(*arguments, stdin=json.dumps(MANY))
        assert (code, True) == (done.returncode, said in done.stderr), (arguments, done.stderr)
    broken = run("mend", number, "--json-file", "-", stdin='{"type": "track",')
    assert (2, True) == (broken.returncode, "line 1, column" in broken.stderr and "nothing was changed" in broken.stderr)
    still = run("mend", number, "--json-file", "-", stdin=json.dumps(MANY))
    assert (0, True) == (still.returncode, "as things are it would stay" in still.stdout)
    assert 2 == len(answer(run("list", "--json")))


async def test_drop_takes_what_was_chosen_and_nothing_else(api: Api, folder: Path, database_url: str) -> None:
    """By reason; what is gone is gone, and the rest waits on."""
    run = Commands(folder, database_url)
    kept, gone = answer(run("list", "--json"))
    done = run("drop", "--reason", "both missing", "--yes")
    assert (0, "dropped 1" in done.stdout) == (done.returncode, True)
    assert [kept["id"]] == [r["id"] for r in answer(run("list", "--json"))]
    assert (None, True) == ((shown := answer(run("show", str(gone["id"]), "--json")))["call"], bool(shown["dropped_at"]))
    assert {"dropped": [kept["id"]], "dry_run": False} == answer(run("drop", str(kept["id"]), "--json"))
    assert "nothing waits\n" == run("list").stdout
    assert 1 == run("drop", str(kept["id"])).returncode


async def test_sources_are_listed_with_what_became_of_their_calls(api: Api, folder: Path, database_url: str) -> None:
    """Those that have a key and those that sent something, with their rate and what waits."""
    done = sojourn("sources", "--json", cwd=folder, SOJOURN_DATABASE_URL=database_url)
    backend, website = answer(done)
    counted = {"accepted": 1, "duplicate": 0, "quarantined": 2, "refused": 0, "waiting": 2, "rate": 500.0}
    assert counted == {name: website[name] for name in counted}
    assert ("backend", 0, None) == (backend["source"], backend["accepted"], backend["last_at"])
    shown = sojourn("sources", cwd=folder, SOJOURN_DATABASE_URL=database_url)
    assert (0, True) == (shown.returncode, "2 put aside: `sojourn quarantine list` says why" in shown.stdout)
    assert ["website", "1", "0", "2", "0", "2", "500/s"] == shown.stdout.splitlines()[2].split()[:7]
