"""`deploy` with strategies, maps and canaries, `deployments`, `rollback` and `reset` on one project with people in it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from engine.cli.located import locate
from engine.cli.releasing import read_wishes
from engine.cli.running import prepare
from engine.cli.terminal import Failure
from tests.cli.commands import answer
from tests.cli.test_operating import JOURNEY, SETTINGS, Commands, at_month
from tests.harness import running, write_project
from tests.people import opened

LATER = JOURNEY.replace("id: month", "id: later").replace("30d", "60d")


async def test_a_release_from_the_preview_to_the_way_back(
    tmp_path: Path, database_url: str, temporal_address: str, task_queue_prefix: str, run: Any
) -> None:
    """Nothing happens while somebody would be stranded; what was shown is done; what was done is listed, and taken back. Each
    command once as a process."""
    folder = write_project(tmp_path, {"sojourn.yaml": SETTINGS, "journeys/welcome.yaml": JOURNEY})
    process = Commands(folder, database_url)
    async with running(folder, database_url, temporal_address, task_queue_prefix) as engine:
        for user in ("ada", "bob"):
            await engine.identify(user)
            await engine.track(user, "signed_up")
        await at_month(engine, 2)
        (folder / "journeys/welcome.yaml").write_text(LATER)
        stuck = await run("deploy", "--strategy", "migrate", "--yes")
        assert (1, True) == (stuck.returncode, "2 at 'month' (enrollment " in stuck.stderr)
        assert "--map welcome.month=STEP" in stuck.stderr
        moved = answer(process("deploy", "--strategy", "welcome=migrate", "--map", "month=later", "--yes", "--json"))
        fates = [(f["step"], f["to"], f["count"]) for f in moved["changes"][0]["fates"]]
        assert (2, 2, [("month", "later", 2)]) == (moved["deployment"], moved["moves"], fates)

        async def there() -> bool:
            return 2 == len(await engine.query("select 1 from enrollments where step = 'later' and wake_at is not null"))

        await engine.until(there)
        second = (await engine.query("select distinct plan from enrollments"))[0].plan
        listed = answer(process("deployments", "--json"))
        first = listed["deployments"][1]
        told = [(d["number"], d["act"], d["changed"]) for d in listed["deployments"]]
        assert [(2, "deploy", {"welcome": "changed"}), (1, "deploy", {"welcome": "new"})] == told
        assert {} == listed["moving"]
        back = process("rollback", first["hash"][:8], "--dry-run", "--strategy", "migrate", "--map", "later=month")
        assert (0, True) == (back.returncode, "2 at later → month" in back.stdout)
        assert "welcome: + month, - later" in back.stdout
        (folder / "journeys/welcome.yaml").write_text(LATER.replace("60d", "61d"))
        tried = json.loads((await run("deploy", "--canary", "10%", "--yes", "--json")).stdout)
        assert (0.1, 0) == (tried["changes"][0]["canary"], tried["moves"])
        promoted = await run("deploy", "--promote", "--yes")
        assert "all new entries get the new plan" in promoted.stdout
        assert "deployed (number 4)" in promoted.stdout
        number = str((await engine.query("select min(id) from enrollments"))[0][0])
        assert "would reset 1; nothing was changed" in (await run("reset", number, "--to", "hello", "--dry-run")).stdout
        assert [int(number)] == answer(process("reset", number, "--to", "hello", "--yes", "--json"))["reset"]
        await engine.message_is("sent", 3)
        assert [("reset", f"enrollment/{number}")] == [
            tuple(r) for r in await engine.query("select act, subject from audit where act = 'reset'")
        ]
        lived = (await run("replay", "--customer", "ada")).stdout
        assert (1, 1) == (lived.count("  reset to hello"), lived.count("  moved to plan ")), lived
        assert (1, 0) == (lived.count("→ about to begin at hello (round 2)\n"), lived.count("parked at")), lived
        assert "as recorded: each step rests on the record" in lived
        played = await run("replay", "--customer", "ada", "--with", str(folder), "--json")
        assert [f"enrollment {number} in welcome was moved {where} on" for where in (f"to plan {second}", "to another step")] == [
            one.rsplit(" ", 2)[0] for one in json.loads(played.stdout)["moves"]
        ]
        assert "left out, the whole life is played" in (await run("replay", "--customer", "ada", "--with", str(folder))).stdout
        wrong = await run("reset", number, "--to", "hallo", "--yes")
        assert (1, True) == (wrong.returncode, "did you mean 'hello'?" in wrong.stderr)


def test_the_preview_says_who_is_tried_and_who_is_not(tmp_path: Path, database_url: str) -> None:
    """Beside a canary, a journey with a strategy of its own gives its new plan to all; for one alone both at once are refused."""
    other = JOURNEY.replace("welcome", "other")
    folder = write_project(tmp_path, {"sojourn.yaml": SETTINGS, "journeys/welcome.yaml": JOURNEY, "journeys/other.yaml": other})
    run = Commands(folder, database_url)
    assert 0 == run("deploy", "--yes").returncode
    (folder / "journeys/welcome.yaml").write_text(LATER)
    refused = run("deploy", "--canary", "10%", "--strategy", "welcome=migrate", "--yes")
    assert (1, True) == (refused.returncode, "--canary would try nothing: welcome changed" in refused.stderr)
    (folder / "journeys/other.yaml").write_text(other.replace("30d", "60d"))
    shown = run("deploy", "--canary", "10%", "--strategy", "other=migrate", "--dry-run").stdout
    told = {line.split()[0]: line.split("changed", 1)[1].strip() for line in shown.splitlines() if " changed " in line}
    assert {"other": "all new entries get the new plan", "welcome": "10% of new entries get the new plan"} == told


async def test_a_trial_is_taken_back_with_those_who_entered_by_it(
    tmp_path: Path, database_url: str, run: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is shown before is what happens: who finishes on the plan that was tried, and whom `--strategy migrate` brings to the
    plan of the others. Neither another rollback nor one by the trial's own hash begins it anew."""
    files = {"sojourn.yaml": SETTINGS, "journeys/welcome.yaml": JOURNEY}
    async with opened(tmp_path, database_url, files=files) as people:

        async def enter(*users: str) -> None:
            for user in users:
                await people.identify(user)
                await people.track(user, "signed_up")

        async def on(plan: str) -> int:
            return int((await people.query("select count(*) as n from enrollments where plan = :plan", plan=plan))[0].n)

        await enter("first")
        (tmp_path / "journeys/welcome.yaml").write_text(LATER)
        tried = answer(await run("deploy", "--canary", "50%", "--yes", "--json"))["changes"][0]
        await enter(*(f"u{i}" for i in range(20)))
        n = await on(tried["new"])
        assert (True, 21 - n) == (0 < n < 20, await on(tried["old"]))
        again = await run("deploy", "--canary", "20%", "--dry-run")
        assert f"{n} at its beginning (on the new plan already); {21 - n} at its beginning (they finish on" in again.stdout
        assert "20% of new entries get the new plan (50% so far)" in again.stdout
        drained = (await run("deploy", "--promote", "--strategy", "drain", "--dry-run")).stdout
        assert (True, False) == ("takes nobody in" in drained, "new entries" in drained), drained
        (tmp_path / "journeys/welcome.yaml").write_text(LATER.replace("60d", "61d"))
        other = (await run("deploy", "--canary", "20%", "--dry-run")).stdout
        assert f"{n} at its beginning (they finish on the plan that was tried)" in other
        assert "20% of new entries get the new plan, and nobody the one that was tried" in other
        await run("pause", "welcome")
        shown = (await run("rollback", "--dry-run")).stdout
        assert shown.startswith("back to deployment 1, of ")
        assert f"{21 - n} at its beginning; {n} at its beginning (they finish on the plan that was tried); all new" in shown
        assert "all new entries get this plan again; paused until `sojourn resume welcome`" in shown
        assert "--strategy migrate brings those along" in shown
        shown = (await run("rollback", "--strategy", "migrate", "--dry-run")).stdout
        assert f"{21 - n} at its beginning, {n} at its beginning → their next step; all new entries" in shown
        assert "brings those along" not in shown
        back = answer(await run("rollback", "--strategy", "migrate", "--yes", "--json"))
        assert (3, n) == (back["deployment"], back["moves"])
        told = await people.query("select distinct reason, count(*) over () as n from inputs where kind = 'move'")
        assert [(tried["old"], n)] == [tuple(r) for r in told]
        second = await run("rollback", "--yes")
        assert (1, True) == (second.returncode, "every earlier deployment is as the one in force (number 3)" in second.stderr)
        listed = answer(await run("deployments", "--json"))["deployments"]
        trial = await run("rollback", listed[1]["hash"], "--yes")
        assert (1, True) == (trial.returncode, "deployment 2 is as the one in force (number 3)" in trial.stderr)
        assert "a trial isn't begun anew by going back" in trial.stderr
        assert 0 == (await run("deploy", "--yes")).returncode
        assert "what was on trial with it (welcome) isn't tried again" in (await run("rollback", "2", "--dry-run")).stdout
        (tmp_path / "journeys/welcome.yaml").write_text(LATER.replace("60d", "62d"))
        assert 0 == (await run("deploy", "--canary", "20%", "--yes")).returncode
        for text, said in (("62d", "nothing has changed since deployment 5"), ("61d", "welcome (no longer on trial)")):
            (tmp_path / "journeys/welcome.yaml").write_text(LATER.replace("60d", text))
            await asyncio.to_thread(prepare, locate(tmp_path), database_url, True)
            assert said in capsys.readouterr().out, "that is what `up` does with the files"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"strategies": ["move"]}, "there is no 'move'"),
        ({"strategies": ["welcome="]}, "there is no ''"),
        ({"canary": "0%"}, "is not a share"),
        ({"canary": "0.1"}, "is not a share"),
        ({"canaries": ["welcome"]}, "--canary with how many"),
        ({"maps": ["a=b"]}, "go on with the new plan"),
        ({"strategies": ["migrate"], "maps": ["later"]}, "doesn't say which step"),
    ],
)
def test_nonsense_is_refused_in_one_line(given: dict[str, Any], said: str) -> None:
    """By the words that were written, with what to write."""
    every = {"strategies": None, "maps": None, "canary": None, "canaries": None, **given}
    with pytest.raises(Failure, match=said) as refused:
        read_wishes(journeys=["welcome"], **every)
    assert (2, True) == (refused.value.code, bool(refused.value.hint))


def test_a_journey_may_stand_before_a_step_whose_id_has_dots() -> None:
    """`wait.3d` is a step where no journey is called `wait`."""
    wishes = read_wishes(["migrate", "other=pin"], ["wait.3d=a", "welcome.wait.3d=b"], ["welcome", "other"], "2.5%")
    assert (("", "wait.3d", "a"), ("welcome", "wait.3d", "b")) == wishes.named
    assert ("migrate", {"other": "pin"}, 0.025) == (wishes.strategy, wishes.journeys, wishes.canary)
