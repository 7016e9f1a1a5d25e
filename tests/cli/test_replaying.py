"""`replay` and `roll` on a real Temporal, with people inside: what fits today's code, what a changed workflow would break."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio import workflow

from engine.app import replaying
from engine.app.replaying import Report, replay_stored
from engine.settings.project import EncryptionSettings, Settings
from engine.temporal import histories
from engine.temporal.broadcasting import broadcast_id
from engine.temporal.chores import chore_id
from engine.temporal.workflow import Cohort
from tests.cli.commands import answer, sojourn
from tests.harness import Running, running, write_project

JOURNEY = """
journey: {name}
tier: lifecycle
enter: {{event: signed_up, again: never}}
steps:
  - send: email
    id: hello
    template: hello
    topic: news
  - branch:
      - if: customer.country == "IT"
        then:
          - wait: 2d
            id: italian
      - else:
          - wait: 30d
            id: month
"""
HISTORIES = Path(__file__).parents[1] / "temporal" / "histories"
SETTINGS = 'channels: {email: {use: channels.noop}, sms: {use: channels.noop}}\nencryption: {key: "${TEST_KEY:-}"}\n'
KEY = base64.b64encode(bytes(range(32))).decode()


async def start_cohorts_apart(engine: Running) -> None:
    """Numbers of cohorts that no other test's database on this Temporal has: here workflow ids begin as in production."""
    await engine.query("select setval(pg_get_serial_sequence('cohorts', 'id'), :n)", n=1_000_000 + secrets.randbelow(10**9))


async def listed(run: Any, *arguments: str, runs: int) -> Any:
    """What `replay --json` says once Temporal lists so many runs: its list lags a moment behind."""
    for _ in range(100):
        done = await run("replay", *arguments, "--json")
        told = json.loads(done.stdout)
        if told["replayed"] + len(told["broken"]) >= runs:
            return done.returncode, told
        await asyncio.sleep(0.1)
    raise AssertionError(told)


async def test_replay_and_roll(
    tmp_path: Path, database_url: str, temporal_address: str, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open runs replay; after a roll the closed ones do, too; a change of the order of commands is told with those whom it would
    break; exported histories replay from their files, encrypted as they are; without a worker `roll` says who waits for one."""
    monkeypatch.setenv("SOJOURN_TEMPORAL_ADDRESS", temporal_address)
    monkeypatch.setenv("TEST_KEY", KEY)
    encryption = EncryptionSettings(key=SecretStr(KEY))
    name = f"welcome_{secrets.token_hex(4)}"
    folder = write_project(tmp_path, {"sojourn.yaml": SETTINGS, f"journeys/{name}.yaml": JOURNEY.format(name=name)})
    async with running(
        folder, database_url, temporal_address, "sojourn", partitions=1, max_size=2, encryption=encryption
    ) as engine:
        await start_cohorts_apart(engine)
        for user in ("ada", "bob", "eve"):
            await engine.identify(user, country="IT" if user == "ada" else "FR")
            await engine.track(user, "signed_up")
        await engine.waiting_in("month", 2)
        await engine.waiting_in("italian", 1)
        export = tmp_path / "histories"
        await engine.pause()
        code, told = await listed(run, name, "--open", "--export", str(export), runs=2)
        assert (0, 2, [], []) == (code, told["replayed"], told["broken"], told["enrollments"])
        assert told["written"] == sorted(map(str, export.iterdir()), reverse=True)
        with monkeypatch.context() as changed:
            await after_a_change(engine, run, name, export, changed)
        assert "all 2 runs replay" in (await run("replay", "--files", str(export))).stdout
        assert all(b"binary/encrypted" in base64.b64decode(found) for found in encodings(export))
        assert "of cohorts only the newest 1 run; --limit replays more" in (await run("replay", name, "--limit", "1")).stdout
        assert "newest" not in (await run("replay", name, "--limit", "2")).stdout, "that is all there are"
        assert "newest" not in (await run("replay", "--files", str(export), "--limit", "1")).stdout
        assert {"cohort": 1} == json.loads((await run("replay", name, "--limit", "1", "--json")).stdout)["cut"]
        looked = json.loads((await run("roll", name, "--dry-run", "--json")).stdout)
        assert (2, [], True) == (len(looked["open"]), looked["rolled"], looked["dry_run"])
        await without_a_worker(run, name)
        engine.resume()
        # A process of its own, as before an upgrade.
        servers = {"SOJOURN_DATABASE_URL": database_url, "SOJOURN_TEMPORAL_ADDRESS": temporal_address}
        done = await asyncio.to_thread(sojourn, "roll", name, "--yes", "--json", cwd=folder, **servers)
        assert (0, []) == (done.returncode, answer(done)["behind"]), done
        assert sorted(looked["open"]) == sorted(answer(done)["open"])
        noted = await engine.query("select distinct subject from audit where act = 'roll' order by subject")
        assert [f"cohort/{n}" for n in sorted(looked["open"])] == [r.subject for r in noted]
        code, told = await listed(run, name, runs=4)
        assert (0, []) == (code, told["broken"])


LETTER = """
journey: letter
tier: lifecycle
enter: {broadcast: pinged, audience: customer.country == "IT", rate: 1/m, again: always}
steps:
  - send: email
    id: hello
    template: hello
    topic: news
"""


async def test_broadcasts_and_chores_are_replayed_beside_cohorts(
    tmp_path: Path,
    database_url: str,
    temporal_address: str,
    task_queue_prefix: str,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no journey is named. One that doesn't fit is said by its name, an open one as what a worker would stop."""
    folder = write_project(tmp_path, {"sojourn.yaml": SETTINGS, "journeys/letter.yaml": LETTER})
    export = tmp_path / "histories"
    export.mkdir()
    async with running(folder, database_url, temporal_address, task_queue_prefix, keeps_chores=True) as engine:
        for user in ("ada", "bob"):
            await engine.identify(user, country="IT")
        await engine.track("catalogue", "pinged")
        client, prefix = engine.worker.relay.journeys.client, engine.worker.relay.journeys.prefix
        calendar = client.get_schedule_handle(chore_id(prefix, "calendar"))

        async def stored(**wanted: Any) -> Report:
            return await replay_stored(Settings(), engine.worker.core.database, temporal_address, prefix=prefix, **wanted)

        try:
            await engine.until(lambda: len(engine.email.seen) == 1)
            await calendar.trigger()

            async def all_listed() -> bool:
                queries = [histories.wanted(prefix), *histories.wanted_beside(prefix)]
                return all([await histories.runs(client, prefix, query) for query in queries])

            await engine.until(all_listed)

            async def ran_twice() -> bool:
                await calendar.trigger()
                listed = await histories.runs(client, prefix, histories.wanted_beside(prefix)[1])
                return max(Counter(r.name for r in listed).values()) > 1

            await engine.until(ran_twice)
            report = await stored(export=export)
            assert ((), True) == (report.broken, report.fits >= 4)
            assert report.fits == len(set(report.written)) == len(list(export.iterdir()))
            assert (1, 3) == ((await stored(journey="letter")).fits, (cut := await stored(limit=1)).fits)
            assert (("chore", 1),) == cut.cut
            with monkeypatch.context() as fewer:
                fewer.setattr(replaying, "BESIDE", 1)
                assert (("chore", 1),) == (await stored()).cut
        finally:
            await client.get_workflow_handle(broadcast_id(prefix, 1, 0)).terminate()
            for chore in engine.worker.workers.chores.chores if engine.worker.workers.chores else ():
                await client.get_schedule_handle(chore_id(prefix, chore.name)).delete()
    assert f"all {report.fits} runs replay" in (await run("replay", "--files", str(export))).stdout
    for file in export.glob("sojourn.*.json"):
        file.write_text(file.read_text().replace('"name": "carry"', '"name": "x"').replace('"name": "chore"', '"name": "x"'))
    told = json.loads((await run("replay", "--files", str(export), "--json")).stdout)["broken"]
    assert (report.fits - 1, {None}, {()}) == (len(told), {b["journey"] for b in told}, {tuple(b["enrollments"]) for b in told})
    assert {("broadcast", "1-0", True), ("chore", "calendar", False)} <= {(b["kind"], b["name"], b["open"]) for b in told}
    shown = (await run("replay", "--files", str(export))).stdout
    assert (True, True) == ("this worker would stop broadcast 1-0" in shown, "chore calendar" in shown), shown


def test_a_broadcasts_turn_is_no_cohort(tmp_path: Path) -> None:
    """Its number stands at the end of the id, where a cohort has its own."""
    body = json.loads((HISTORIES / "broadcast.json").read_text())
    file = tmp_path / "seventh.json"
    file.write_text(json.dumps({**body, "workflow_id": "sojourn-broadcast-1-7"}))
    run = histories.from_file(file).run
    assert ("broadcast", "1-7", 0) == (run.kind, run.name, run.cohort)


async def test_a_file_with_a_plan_of_another_version_is_one_that_does_not_replay(tmp_path: Path, run: Any) -> None:
    """It is told with the reason, and the other files are replayed all the same."""
    write_project(tmp_path, {"sojourn.yaml": SETTINGS})
    export = tmp_path / "histories"
    export.mkdir()
    body = json.loads((HISTORIES / "moved.json").read_text())
    (export / "moved.json").write_text(json.dumps(body))
    (export / "newer.json").write_text(json.dumps({**body, "plan": {**body["plan"], "format": 99}}))
    done = await run("replay", "--files", str(export), "--json")
    told = json.loads(done.stdout)
    assert (1, 1) == (done.returncode, told["replayed"])
    assert ["plan format 99 is not one this version can execute (it knows 1)"] == [b["reason"] for b in told["broken"]]


def encodings(folder: Path) -> list[str]:
    """How the payloads of signals are encoded in these files."""
    bodies = [json.loads(file.read_text()) for file in folder.iterdir()]
    signals = [e for b in bodies for e in b["history"]["events"] if "workflowExecutionSignaledEventAttributes" in e]
    inputs = [e["workflowExecutionSignaledEventAttributes"]["input"]["payloads"] for e in signals]
    found = [payload["metadata"]["encoding"] for payloads in inputs for payload in payloads]
    assert found
    return found


async def without_a_worker(run: Any, name: str) -> None:
    """Nobody takes the signal: each is named, with what it waits for."""
    done = await run("roll", name, "--yes", "--wait", "1s")
    assert done.returncode == 1
    assert ("no worker has taken its workflow task" in done.stdout, "3 enrollments inside" in done.stdout) == (True, True)


async def after_a_change(engine: Running, run: Any, name: str, export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer before the activities: a planted change of the order of commands, on the server and in files."""
    pump = Cohort._pump

    def timer_first(self: Cohort) -> None:
        pump(self)
        self.timer = self.timer or asyncio.create_task(self._sleep_until(workflow.now() + timedelta(hours=1)))

    monkeypatch.setattr(Cohort, "_pump", timer_first)
    code, told = await listed(run, name, runs=2)
    inside = [r.id for r in await engine.query("select id from enrollments order by id")]
    assert (1, inside, [True, True]) == (code, told["enrollments"], [b["open"] for b in told["broken"]])
    assert all("Nondeterminism" in b["reason"] for b in told["broken"])
    shown = await run("replay", "--files", str(export))
    assert (1, "2 of 2 runs don't replay" in shown.stdout, "Nondeterminism" in shown.stdout) == (shown.returncode, True, True)


def words(done: Any) -> Sequence[str]:
    """What a command complains of."""
    return [line for line in done.stderr.splitlines() if line]


async def test_replay_refuses_nonsense(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line each: files without a history, options that don't go together, a moment or a wait that is none."""
    monkeypatch.setenv("SOJOURN_TEMPORAL_ADDRESS", "127.0.0.1:1")
    write_project(tmp_path, {"sojourn.yaml": SETTINGS})
    bad = tmp_path / "bad"
    bad.mkdir()
    for arguments, told in (
        (("replay", "--files", str(bad)), "has no *.json"),
        (("replay", "welcome", "--files", str(bad)), "don't go with it"),
        (("replay", "--since", "yesterday"), "--since:"),
        (("roll", "--wait", "soon"), "--wait:"),
        (("roll", "--wait", "2d"), "--wait:"),
    ):
        done = await run(*arguments)
        assert (2, True) == (done.returncode, told in words(done)[0]), done
    (bad / "x.json").write_text('{"workflow_id": "a", "history": {"events": []}}')
    done = await run("replay", "--files", str(bad))
    assert (2, True) == (done.returncode, "x.json holds no history: it has no events" in done.stderr)
    assert (await run("replay", "--files", os.fspath(HISTORIES))).returncode == 0
    gone = await run("replay")
    assert (3, "no Temporal server answers" in gone.stderr) == (gone.returncode, True)
