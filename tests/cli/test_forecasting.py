"""`simulate` and `diff`: over recorded history, a file, people who don't exist; in this process, and once as processes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.app.differing import JourneyChange, ProjectChanges, StepChange
from engine.cli.diff_shown import LIMIT, write_markdown
from engine.cli.differing import Diff
from engine.store.database import run as execute
from engine.store.database import transaction
from tests.cli.commands import answer, sojourn
from tests.harness import write_project
from tests.people import JOURNEYS, opened

SETTINGS = "channels: {email: {use: channels.noop, address: email}, sms: {use: channels.noop}}\n"
WELCOME = """
journey: welcome
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - send: email
    id: hello
    template: hello
    topic: news
  - wait: 5d
    id: month
  - send: email
    id: later
    template: again
    topic: news
"""
MANY = "journeys/many.yaml"
FILES = {"sojourn.yaml": SETTINGS, "journeys/welcome.yaml": WELCOME}


async def test_recorded_history_is_played_as_it_was(tmp_path: Path, database_url: str, run: Any) -> None:
    """What is older than asked for counts and enrolls nobody, what the engine said itself isn't played twice, people keep their
    numbers; the deployed version differs in nothing from itself, and an edit in exactly its messages and in who is stranded."""
    now = datetime.now(UTC).replace(microsecond=0)
    async with opened(tmp_path, database_url, files={**FILES, MANY: JOURNEYS[MANY]}) as people:
        ada = await people.identify("ada", email="ada@example.com")
        bob = await people.identify("bob", email="bob@example.com")
        await people.track("ada", "signed_up", now - timedelta(days=100))
        await people.track("bob", "signed_up", now - timedelta(days=40))
        await people.track("ada", "pinged", now - timedelta(days=3), number=1)
        async with transaction(people.core.database) as c:
            statement = "update events set occurred_at = :at where name = '$identify'"
            await execute(c, statement, at=now - timedelta(days=200))
            again = (
                "insert into events (source, message_id, customer_id, name, properties, occurred_at, accepted_at) "
                "select 'journey', 'own', customer_id, name, properties, occurred_at, accepted_at from events "
                "where name = 'pinged'"
            )
            await execute(c, again)
            await execute(c, "update enrollments set step = 'month' where journey = 'welcome'")
        found = answer(await run("simulate", "welcome", "--from-store", "90d", "--json"))
        (welcome,) = found["journeys"]
        assert (1, 2, {"completed": 1}) == (welcome["entered"], welcome["sent"], welcome["exits"])
        assert (2, {}) == (found["played"]["incoming"], found["played"]["refused"])
        everything = answer(await run("simulate", "--from-store", "90d", "--json"))
        assert {"many": 1, "welcome": 1} == {j["journey"]: j["entered"] for j in everything["journeys"] if j["entered"]}

        same = await run("diff", "deployed", str(tmp_path), "--from-store", "90d")
        assert (0, True) == (same.returncode, "nothing differs" in same.stdout)
        assert "Nobody inside would be stranded." in same.stdout
        edited = WELCOME.replace("  - wait: 5d\n    id: month\n", "  - wait: 6d\n    id: week\n").replace(
            "again: never", "again: always"
        )
        (tmp_path / "journeys" / "welcome.yaml").write_text(
            edited.replace("again: always", "again: always, while_active: restart")
        )
        done = await run("diff", "deployed", str(tmp_path), "--from-store", "90d", "--json")
        assert 1 == done.returncode
        found = answer(done)
        steps = {s["step"]: s["change"] for j in found["journeys"] for s in j["steps"]}
        assert {"week": "added", "month": "removed"} == steps
        (moved,) = found["messages"]["changes"]
        assert ("moved", "bob", bob, "later") == tuple(moved[k] for k in ("kind", "user", "customer", "step"))
        signed_up = now - timedelta(days=40)
        assert [(signed_up + timedelta(days=n)).isoformat() for n in (5, 6)] == [moved["old_at"], moved["new_at"]]
        assert [{"user": "bob", "customer": bob, "added": 0, "lost": 0, "moved": 1}] == found["messages"]["customers"]
        stranded = found["stranded"]
        assert (2, [{"journey": "welcome", "step": "month", "enrollments": 2}]) == (stranded["enrollments"], stranded["places"])
        assert {"ada", "bob"} == {p["user"] for p in stranded["people"]}
        assert ada != bob

        comment = (await run("diff", "deployed", str(tmp_path), "--from-store", "90d", "--markdown")).stdout
        assert "> 2 enrollments inside would be stranded." in comment
        assert "| welcome | later | 0 | 0 | 1 | 0 |" in comment
        assert "- **removed** `month` (wait)" in comment
        screen = (await run("diff", "deployed", str(tmp_path), "--from-store", "90d")).stdout
        assert all(
            words in screen
            for words in ("+ week (wait, before later)", "- month (wait)", "2 enrollments inside would be stranded")
        )
        assert answer(await run("diff", "deployed", str(tmp_path), "--no-inside", "--json"))["stranded"] is None


NONSENSE = [
    (["simulate", "welcom"], "there is no journey 'welcom'", "welcome"),
    (["simulate", "--from-store", "soon"], "--from-store: ", "write a time such as 90d"),
    (["simulate", "--from-store", "0d"], "is no time back", "90d"),
    (
        ["simulate", "--from-store", "90d", "--customers", "5"],
        "--customers is for people who don't exist",
        "leave --customers out",
    ),
    (["simulate", "--from-store", "90d", "--days", "5"], "--days is for people who don't exist", "leave --days out"),
    (["simulate", "--events", "a.jsonl", "--from-store", "1d"], "exclude each other", ""),
    (["simulate", "--events", "none.jsonl"], "none.jsonl can't be read", ""),
    (["simulate", "--start", "tomorrow"], "--start: 'tomorrow' is not an ISO 8601 moment", "2026-03-02"),
    (["simulate", "--customers", "1", "--days", "1", "--html", "no/where.html"], "no/where.html can't be written", "--html"),
    (["diff", "nowhere"], "nowhere: 'nowhere' is neither a folder nor a revision", "deployed"),
    (["diff", "deployed", "--events", "a.jsonl", "--from-store", "1d"], "exclude each other", ""),
    (["diff", "deployed", "--markdown", "--json"], "exclude each other", ""),
    (["diff", ".", "--from-store", ""], "--from-store: ", "write a time such as 90d"),
    (["simulate", "--warm-up"], "no channel of sojourn.yaml has a `warmup`", "50/day"),
]


async def test_nonsense_is_refused_in_a_line(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with what is wrong and what to write, and exit code 2."""
    monkeypatch.chdir(write_project(tmp_path, FILES))
    for arguments, said, hint in NONSENSE:
        done = await run(*arguments)
        assert (2, "") == (done.returncode, done.stdout), arguments
        assert said in done.stderr, (arguments, done.stderr)
        assert hint in done.stderr, (arguments, done.stderr)
    write_project(tmp_path / "broken", {**FILES, "journeys/welcome.yaml": WELCOME.replace("again: never", "again: nver")})
    done = await run("diff", str(tmp_path / "broken"), str(tmp_path))
    assert (2, True) == (done.returncode, "broken doesn't compile: 1 error" in done.stderr)


def test_a_comment_ends_in_time() -> None:
    """It holds whole lines, at most as many characters as a comment may have, and says how many are left out."""
    steps = tuple(StepChange(f"step_{n}", "added", "wait", "b|c") for n in range(20))
    changes = ProjectChanges(tuple(JourneyChange(f"journey_{n}", "new", (), steps) for n in range(100)))
    comment = write_markdown(Diff("a", "b", changes, None, None))
    assert LIMIT - 2000 < len(comment) <= LIMIT
    *_, last, _, more = comment.splitlines()
    assert last.startswith(("- **added** `step_", "###")) or not last
    told, left = comment.count("`step_"), int(more.split()[2])
    assert (2000 - told) < left <= (2000 - told) + 100
    assert "b\\|c" in comment


def test_both_run_as_processes(tmp_path: Path) -> None:
    """`simulate` with people who don't exist and a page, `diff` over a file of events, in a project without any server."""
    shop = write_project(tmp_path / "shop", FILES)
    new = write_project(tmp_path / "new", {**FILES, "journeys/welcome.yaml": WELCOME.split("  - wait")[0]})
    told = sojourn(
        "simulate", "--customers", "20", "--days", "9", "--seed", "3", "--start", "2026-03-02", "--html", "f.html", cwd=shop
    )
    assert (0, True) == (
        told.returncode,
        "20 synthetic customers, seed 3, 2026-03-02 00:00 to 2026-03-11 00:00 UTC" in told.stdout,
    )
    assert all(
        words in told.stdout
        for words in ("welcome", "2026-03-02", "lifecycle email", "Time in steps", "the page with plots is f.html")
    )
    assert (shop / "f.html").read_text().startswith("<!doctype html>")
    settings = "channels: {email: {use: channels.noop, warmup: {start: 1/day, double: 90d}}}\n"
    slowly = write_project(tmp_path / "slowly", {**FILES, "sojourn.yaml": settings})
    warmed = answer(sojourn("simulate", "--customers", "20", "--days", "9", "--warm-up", "--json", cwd=slowly))
    shown = sojourn("simulate", "--customers", "20", "--days", "9", "--warm-up", "--html", "f.html", cwd=slowly).stdout
    assert (True, False) == (warmed["played"]["warm_up"], "warm-up" in told.stdout)
    assert ("UTC, channels begin their warm-up\n" in shown, "channels begin" in (slowly / "f.html").read_text()) == (True, True)
    sent = {m["day"]: m["sent"] for m in warmed["messages"] if m["channel"] == "email"}
    assert ({1}, {"warm-up of email"}) == (set(sent.values()), {d["rule"] for d in warmed["defers"]})
    who = {"type": "identify", "userId": "ada", "timestamp": "2026-03-01T00:00:00Z", "traits": {"email": "ada@example.com"}}
    did = {"type": "track", "userId": "ada", "event": "signed_up", "timestamp": "2026-03-02T10:00:00Z"}
    (tmp_path / "e.jsonl").write_text(f"{json.dumps(who)}\n{json.dumps(did)}\n")
    done = sojourn("diff", shop, new, "--events", tmp_path / "e.jsonl", "--json", cwd=shop)
    assert 1 == done.returncode, done.stderr
    found = answer(done)
    assert [("lost", "later", "its step wasn't reached")] == [
        (c["kind"], c["step"], c["new_why"]) for c in found["messages"]["changes"]
    ]
    assert (None, 1) == (found["stranded"], found["messages"]["totals"][0]["same"])
