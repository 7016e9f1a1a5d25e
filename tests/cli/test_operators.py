"""`enrollments`, `show`, `skip`, `pause`, `resume` and `failures` on one running project. Most of them run in this process; as
processes of their own, docs/how-to/operate-what-runs.md has them all.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from engine.cli import terminal
from engine.temporal.trouble import ATTEMPTS, queues, stuck
from tests.cli.commands import answer, sojourn
from tests.harness import Running, running, write_project

SETTINGS = "channels: {email: {use: channels.noop}, sms: {use: channels.noop}}\n"
WELCOME = """
journey: welcome
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - send: email
    id: hello
    template: hello
    topic: news
  - wait_for: confirmed
    id: confirm
    timeout: 30d
  - set: {customer.country: IT}
    id: there
  - wait: 30d
    id: month
"""


async def standing(run: Running, step: str, n: int) -> None:
    """Wait until so many stand in a step."""

    async def there() -> bool:
        return len(await run.query("select 1 from enrollments where step = :step and status = 'live'", step=step)) == n

    await run.until(there)


async def counted(run: Running, condition: str, n: int) -> None:
    """Wait until so many enrollments are so."""

    async def there() -> bool:
        return len(await run.query(f"select 1 from enrollments where {condition}")) == n

    await run.until(there)


async def test_operators_find_their_way(
    tmp_path: Path,
    database_url: str,
    temporal_address: str,
    task_queue_prefix: str,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two people parked by a broken adapter: what the commands list, count, show and mend; a journey that is paused and
    resumed; a queue that nobody serves, and a workflow that stands still."""
    folder = write_project(tmp_path, {"sojourn.yaml": SETTINGS, "journeys/welcome.yaml": WELCOME})
    monkeypatch.setenv("SOJOURN_TEMPORAL_ADDRESS", temporal_address)
    monkeypatch.setattr(terminal.out, "width", 400)
    async with running(folder, database_url, temporal_address, task_queue_prefix, lanes=("bulk",)) as engine:
        client: Client = engine.worker.workers.client
        await engine.identify("ada", timezone="Europe/Rome")
        await engine.identify("bob")
        engine.email.answer = lambda m: RuntimeError(f"no answer for '{m.to}' on port 25")
        (ada,) = (await engine.track("ada", "signed_up")).enrollments
        (bob,) = (await engine.track("bob", "signed_up")).enrollments
        await counted(engine, "status = 'parked'", 2)
        for n, queue in enumerate((f"{task_queue_prefix}.urgent", task_queue_prefix)):
            await client.start_workflow("strange", {}, id=f"{task_queue_prefix}-cohort-{n}00", task_queue=queue)

        environ = {"SOJOURN_DATABASE_URL": database_url, "SOJOURN_TEMPORAL_ADDRESS": temporal_address}
        told = sojourn("failures", "--json", cwd=folder, **environ)
        assert 1 == told.returncode
        (cause,) = answer(told)["parked"]
        said = "channel email: RuntimeError: no answer for … on port N"
        assert (said, "welcome", "hello", 2, bob) == tuple(cause[k] for k in ("cause", "journey", "step", "n", "newest"))
        assert cause["retry"] in (await run("failures")).stdout
        by = answer(await run("enrollments", "--by", "reason", "--by", "step", "--json"))
        assert [{"reason": said, "step": "hello", "n": 2}] == by
        table = (await run("enrollments", "--by", "reason", "--by", "step")).stdout
        assert [*said.split(), "hello", "2"] == table.splitlines()[1].split()

        plan = answer(await run("enrollments", "--json"))[0]["plan"]
        for filters, found in (
            (("--step", "hello", "--plan", plan[:6]), [bob, ada]),
            (("--customer", "ada", "--status", "parked"), [ada]),
            (("--reason", "PORT N"), [bob, ada]),
            (("--older", "1h"), []),
            (("--in-step", "1h"), []),
            (("--in-step", "0s", "--older", "0s"), [bob, ada]),
            (("--status", "paused"), []),
        ):
            assert found == [r["id"] for r in answer(await run("enrollments", *filters, "--json"))]
        for wrong in (("--older", "soon"), ("--older", "-3d"), ("--by", "age"), ("--status", "odd")):
            assert 2 == (await run("enrollments", *wrong)).returncode

        engine.email.answer = lambda m: engine.email.__class__("", "").answer(m)
        retry = await run(*re.findall(r"'[^']*'|\S+", cause["retry"])[1:-1], said, "--dry-run", "--json")
        assert [ada, bob] == answer(retry)["retried"]
        skipped = await run("skip", str(ada))
        assert (0, "skipped 1") == (skipped.returncode, skipped.stdout.splitlines()[-1])
        await standing(engine, "confirm", 1)

        assert 0 == (await run("pause", str(bob))).returncode
        assert [bob] == answer(await run("retry", str(bob), "--json"))["retried"]
        await counted(engine, "kept_back", 1)
        done = await run("pause", "welcome", "--because", "a typo")
        assert (0, "paused welcome, with 2 inside; `sojourn resume welcome` lets it go on\n") == (done.returncode, done.stdout)
        assert 1 == (await run("pause", "welcome", "--dry-run")).returncode
        assert 2 == (await run("pause", "welcome", "12")).returncode
        assert 2 == (await run("pause", "12", "--because", "a typo")).returncode
        assert 1 == (await run("pause", "welcom")).returncode
        assert [bob, ada] == [r["id"] for r in answer(await run("enrollments", "--status", "paused", "--json"))]
        assert "welcome is paused since" in (await run("why", "ada")).stdout

        await engine.track("ada", "confirmed")
        await engine.identify("eve")
        await engine.track("eve", "signed_up")
        await standing(engine, "there", 1)
        await counted(engine, "kept_back", 3)
        assert 2 == (await run("resume", "welcome", "--rate", "fast")).returncode
        assert {"resumed": ["welcome"], "let_go": 2, "dry_run": True} == answer(
            await run("resume", "welcome", "--dry-run", "--json")
        )
        done = await run("resume", "welcome", "--rate", "1/s")
        assert (0, "resumed welcome: 2 that were kept back go on\n") == (done.returncode, done.stdout)
        first, second = await engine.query("select at from inputs where kind = 'again' order by id")
        assert second.at - first.at >= timedelta(seconds=0.9)
        await standing(engine, "month", 1)
        await standing(engine, "confirm", 1)
        assert (1, "welcome is not paused\n") == ((done := await run("resume", "welcome")).returncode, done.stdout)
        assert [bob] == answer(await run("resume", "--journey", "welcome", "--yes", "--json"))["resumed"]
        await standing(engine, "confirm", 2)

        shown = await run("show", str(ada))
        assert 0 == shown.returncode
        for kind in ("entered", "dropped", "skip", "event", "paused", "resumed", "act", "wakes"):
            assert re.search(rf"^\w{{3}} \d.* {kind} ", shown.stdout, re.MULTILINE), (kind, shown.stdout)
        assert "Europe/Rome and UTC" in shown.stdout
        told = answer(await run("show", str(ada), "--json"))
        assert (ada, "live", "month", 0) == (
            told["enrollment"],
            told["passage"]["status"],
            told["passage"]["step"],
            told["pending"],
        )
        assert 1 == (await run("show", "999")).returncode
        assert 2 == (await run("show", "ada")).returncode
        assert (0, "nothing needs a person\n") == ((done := await run("failures")).returncode, done.stdout)
        acts = await engine.query("select act, subject from audit where act <> 'deploy' order by id")
        assert [
            *(("skip", f"enrollment/{ada}"), ("pause", f"enrollment/{bob}"), ("retry", f"enrollment/{bob}")),
            *(("pause", "journey/welcome"), ("resume", "journey/welcome"), ("resume", f"enrollment/{bob}")),
        ] == [tuple(r) for r in acts]

        by_name = {(q.name, q.kind): q for q in await queues(client, task_queue_prefix, ["email"], datetime.now(UTC))}
        urgent, main = by_name[(f"{task_queue_prefix}.urgent", "workflow")], by_name[(task_queue_prefix, "workflow")]
        assert ((), 1, 0) == (urgent.pollers, urgent.backlog, main.backlog)
        assert main.pollers

        async def failing() -> bool:
            return bool(await stuck(client, task_queue_prefix, [f"{task_queue_prefix}-cohort-100"]))

        await engine.until(failing, 120)
        (one,) = await stuck(client, task_queue_prefix, [f"{task_queue_prefix}-cohort-{n}" for n in ("000", "100", "900")])
        assert (f"{task_queue_prefix}-cohort-100", "strange") == (one.workflow, one.journey)
        assert one.attempts >= ATTEMPTS
        for n in range(2):
            await client.get_workflow_handle(f"{task_queue_prefix}-cohort-{n}00").terminate()
