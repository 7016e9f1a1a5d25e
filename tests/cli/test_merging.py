"""`merge` and `unmerge` as processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import answer, sojourn
from tests.people import People, opened

SETTINGS = "channels: {email: {use: channels.noop}, sms: {use: channels.noop}}\n"
JOURNEY = """
journey: welcome
tier: lifecycle
enter: {event: signed_up, again: never}
steps: [{wait: 30d, id: month}]
"""
FILES = {"sojourn.yaml": SETTINGS, "journeys/welcome.yaml": JOURNEY}


def run(people_folder: Path, url: str, *arguments: str) -> Any:
    """Run `sojourn` in the project."""
    return sojourn(*arguments, cwd=people_folder, SOJOURN_DATABASE_URL=url)


async def two(people: People) -> tuple[int, int]:
    """Ada and Bob, both in the journey."""
    ada = await people.identify("ada", email="ada@example.com", country="IT")
    bob = await people.identify("bob", country="DE")
    for user in ("ada", "bob"):
        await people.track(user, "signed_up")
    return ada, bob


async def test_two_customers_become_one_and_two_again(tmp_path: Path, database_url: str) -> None:
    """Looked at first, which changes nothing; then done, by any name of theirs; `why` tells of it by either; then undone."""
    async with opened(tmp_path, database_url, files=FILES) as people:
        ada, bob = await two(people)
        looked = run(tmp_path, database_url, "merge", "ADA@example.com", "bob", "--dry-run")
        assert (0, 2) == (looked.returncode, len(await people.owners("events")))
        assert "nothing was changed" in looked.stdout
        assert looked.stdout.startswith(f"would merge: customer {ada} (ADA@example.com) and customer {bob} (bob)\n")
        assert 1 == looked.stdout.lower().count("ada"), "no more names than were typed"
        assert "in welcome: the older one stays" in looked.stdout
        done = answer(run(tmp_path, database_url, "merge", "ada", "bob", "--yes", "--json"))
        assert (ada, bob, "command", False) == (done["kept"], done["gone"], done["cause"], done["dry_run"])
        assert (["country", "email"], ["welcome"]) == (done["attributes"], [e["journey"] for e in done["ended"]])
        told = [answer(run(tmp_path, database_url, "why", user, "--json")) for user in ("ada", "bob")]
        assert [ada, ada] == [t["customer"] for t in told]
        assert [done["merge"]] == [m["id"] for m in told[0]["merges"]]
        assert "by an operator: number" in run(tmp_path, database_url, "why", "bob").stdout
        taken = run(tmp_path, database_url, "unmerge", str(done["merge"]), "--yes")
        assert (0, True) == (taken.returncode, taken.stdout.startswith(f"taken apart: customer {ada} and customer {bob}"))
        assert bob == answer(run(tmp_path, database_url, "why", "bob", "--json"))["customer"]
        noted = await people.query("select act, count(*) as n from audit where act <> 'deploy' group by 1 order by 1")
        assert [("merge", 2), ("unmerge", 2)] == [tuple(r) for r in noted]


async def test_what_cannot_be_done_is_said_in_a_line(tmp_path: Path, database_url: str) -> None:
    """Nobody by that name, two of whom either may be meant, one customer already, no such merge, no number at all, nobody to ask;
    with a code that says which."""
    async with opened(tmp_path, database_url, files=FILES) as people:
        await two(people)
        several = [await people.identify(user, email="home@example.com") for user in ("bob", "eve")]
    for arguments, code, said in (
        (("merge", "ada", "bobb", "--yes"), 1, "no customer is known as 'bobb'\nsimilar: bob\n"),
        (
            ("merge", "ada", "home@example.com", "--yes"),
            1,
            f"'home@example.com' may mean several customers: {several[0]}, {several[1]}\nname them by their user id\n",
        ),
        (("merge", "ada", "ada@example.com", "--yes"), 1, "they are one customer already\n"),
        (("unmerge", "99", "--yes"), 1, "there is no merge 99\n`sojourn why` names the merges of a customer\n"),
        (("unmerge", "one"), 2, "'one' is not the number of a merge\n`sojourn why` names the merges of a customer\n"),
        (
            ("merge", "ada", "bob"),
            2,
            "nobody is here to be asked\nadd --yes to go on without asking, or --dry-run to look only\n",
        ),
    ):
        done = run(tmp_path, database_url, *arguments)
        assert (code, said) == (done.returncode, done.stderr)


@pytest.mark.parametrize("command", [("merge", "ada", "bob"), ("unmerge", "1")])
def test_without_a_database_nothing_happens(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Exit code 3, as for every command that needs one."""
    (tmp_path / "sojourn.yaml").write_text(SETTINGS)
    assert 3 == sojourn(*command, "--yes", cwd=tmp_path).returncode
