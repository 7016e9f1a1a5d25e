"""`deploy`, `enrollments`, `retry`, `stop`, `why` as processes, on a database with people in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.delivery.channel import Receipt, Result
from tests.cli.commands import answer, sojourn
from tests.harness import Running, running, write_project

SETTINGS = "channels: {email: {use: channels.noop}, sms: {use: channels.noop}}\n"
JOURNEY = """
journey: welcome
tier: lifecycle
enter: {event: signed_up, again: never}
steps:
  - send: email
    id: hello
    template: hello
    topic: news
  - wait: 30d
    id: month
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with settings, so that commands find its channels."""
    return write_project(tmp_path, {"sojourn.yaml": SETTINGS, "journeys/welcome.yaml": JOURNEY})


class Commands:
    """Commands on one project and one database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url

    def __call__(self, *arguments: str) -> Any:
        """Run `sojourn`."""
        return sojourn(*arguments, cwd=self.folder, SOJOURN_DATABASE_URL=self.url)


async def at_month(run: Running, n: int) -> None:
    """Wait until `n` people stand in the wait."""

    async def there() -> bool:
        return len(await run.query("select 1 from enrollments where step = 'month' and status = 'live'")) == n

    await run.until(there, 60)


async def parked(run: Running, n: int) -> None:
    """Wait until `n` are parked."""

    async def there() -> bool:
        return len(await run.query("select 1 from enrollments where status = 'parked'")) == n

    await run.until(there, 60)


def test_deploy_asks_and_takes_effect_whole_or_not_at_all(folder: Path, database_url: str) -> None:
    """Without a terminal `deploy` needs --yes; a broken project deploys nothing; the second deploy of the same says so."""
    run = Commands(folder, database_url)
    silent = run("deploy")
    assert (silent.returncode, "add --yes" in silent.stderr) == (2, True)
    first = answer(run("deploy", "--yes", "--json"))
    assert [(c["journey"], c["kind"]) for c in first["changes"]] == [("welcome", "new")]
    path = folder / "journeys/welcome.yaml"
    path.write_text(JOURNEY.replace("template: hello", "template: helo"))
    broken = run("deploy", "--yes")
    assert (broken.returncode, "journeys/welcome.yaml:" in broken.stderr) == (1, True)
    path.write_text(JOURNEY)
    looked = answer(run("deploy", "--dry-run", "--json"))
    assert (looked["deployment"], [c["kind"] for c in looked["changes"]]) == (None, ["same"])
    same = run("deploy")
    assert (0, True) == (same.returncode, same.stdout.endswith("nothing has changed since deployment 1\n")), "nobody is asked"
    assert run("deploy", "--dry-run").stdout.endswith("nothing has changed since deployment 1\n")
    told = answer(run("deploy", "--json"))
    assert (1, False) == (told["deployment"], told["written"])
    assert [1] == [d["number"] for d in answer(run("deployments", "--json"))["deployments"]]
    assert (1, True) == (first["deployment"], first["written"])


def test_deploy_names_what_journeys_share_and_is_other_than_before(folder: Path, database_url: str) -> None:
    """A deploy that changes no journey says which template and which file did change; it holds for those inside too."""
    run = Commands(folder, database_url)
    assert [] == answer(run("deploy", "--yes", "--json"))["shared"]
    hello = folder / "templates/email/hello.txt"
    hello.write_text(hello.read_text().replace("Hi", "Dear"))
    done = run("deploy", "--yes").stdout
    assert "template email/hello changed, for those inside too\n" in done
    assert done.endswith("deployed (number 2); no journey changed, but template email/hello\n")
    policy = folder / "journeys/policy.yaml"
    policy.write_text(policy.read_text().replace("timezone: UTC", "timezone: Europe/Rome"))
    (folder / "templates/sms/hello.txt").unlink()
    (folder / "templates/sms/later.txt").write_text("Later")
    looked = answer(run("deploy", "--dry-run", "--json"))
    shared = [("policy.yaml", "changed"), ("template sms/hello", "gone"), ("template sms/later", "new")]
    assert shared == [(s["name"], s["change"]) for s in looked["shared"]]
    assert "no journey changed, but policy.yaml, template sms/hello, template sms/later\n" in run("deploy", "--yes").stdout
    assert run("deploy", "--strategy", "welcome=drain", "--yes").stdout.endswith("takes nobody in\ndeployed (number 4)\n")


async def test_deploy_counts_a_step_once_however_many_plans_have_it(
    folder: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """Those who stand in the same step on an old and on the new plan are one number."""
    async with running(folder, database_url, temporal_address, task_queue_prefix) as engine:
        await engine.identify("ada")
        await engine.identify("bob")
        await engine.track("ada", "signed_up")
        await at_month(engine, 1)
        (folder / "journeys/welcome.yaml").write_text(f"summary: new\n{JOURNEY.lstrip()}")
        await engine.deploy()
        await engine.track("bob", "signed_up")
        await at_month(engine, 2)
        run = Commands(folder, database_url)
        assert "2 at month" in run("deploy", "--dry-run").stdout
        assert [{"month": 2}] == [c["inside"] for c in answer(run("deploy", "--dry-run", "--json"))["changes"]]


def test_migrate_makes_an_empty_database_usable(tmp_path: Path, database_url: str) -> None:
    """`migrate` is safe to run on a database that is at the schema already."""
    done = sojourn("migrate", cwd=tmp_path, SOJOURN_DATABASE_URL=database_url)
    assert (done.returncode, done.stderr) == (0, "")


async def test_parked_people_go_on_after_a_retry(
    folder: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """`retry` names who would go on, lets them, and leaves a row in the audit log; again it answers no."""
    async with running(folder, database_url, temporal_address, task_queue_prefix) as engine:
        engine.email.answer = lambda m: RuntimeError("the adapter is broken")
        ada = await engine.identify("ada")
        await engine.track("ada", "signed_up")
        await parked(engine, 1)
        run = Commands(folder, database_url)
        shown = run("why", "ada", "--journey", "welcome")
        assert ("the adapter is broken" in shown.stdout, "sojourn retry" in shown.stdout) == (True, True)
        assert answer(run("retry", "--journey", "welcome", "--reason", "ADAPTER", "--dry-run", "--json"))["retried"] != []
        assert run("retry", "--journey", "welcome").returncode == 2
        engine.email.answer = lambda m: Receipt(Result.ACCEPTED)
        done = run("retry", "--journey", "welcome", "--yes")
        assert (done.returncode, "retried 1" in done.stdout) == (0, True)
        await at_month(engine, 1)
        assert [m.step for m in engine.email.to(ada)] == ["hello", "hello"]
        assert run("retry", "--journey", "welcome", "--yes").returncode == 1
        noted = await engine.query("select act, subject from audit where act <> 'deploy'")
        assert [(r.act, r.subject.partition("/")[0]) for r in noted] == [("retry", "enrollment")]


async def test_stop_ends_people_in_the_middle_of_a_wait(
    folder: Path, database_url: str, temporal_address: str, task_queue_prefix: str
) -> None:
    """One by number, one by customer; the cohort learns of it, and both are listed as stopped."""
    async with running(folder, database_url, temporal_address, task_queue_prefix) as engine:
        for user in ("ada", "bob", "eve"):
            await engine.identify(user)
        first = (await engine.track("ada", "signed_up")).enrollments[0]
        await engine.track("bob", "signed_up")
        await engine.track("eve", "signed_up")
        await at_month(engine, 3)
        run = Commands(folder, database_url)
        assert answer(run("stop", str(first), "--json"))["stopped"] == [first]
        assert run("stop", "--customer", "bob@example.com", "--yes").returncode == 0
        assert run("stop", str(first)).returncode == 1
        listed = answer(run("enrollments", "--json"))
        assert [(r["user"], r["status"], r["reason"]) for r in listed] == [
            ("eve", "live", ""),
            ("bob", "ended", "stopped"),
            ("ada", "ended", "stopped"),
        ]
        assert "eve" in run("enrollments", "--status", "live", "--customer", "eve").stdout

        async def relayed() -> bool:
            return not await engine.query("select 1 from inputs where relayed_at is null")

        await engine.until(relayed)


@pytest.mark.parametrize("command", ["retry", "stop"])
def test_a_number_that_no_enrollment_has_is_told_in_words(folder: Path, database_url: str, command: str) -> None:
    """A number of nobody is answered with 1 like any name of nobody, and what is no number at all with 2."""
    run = Commands(folder, database_url)
    for number in ("999", "0", "9" * 40):
        done = run(command, number)
        assert (1, f"there is no enrollment {number}\n`sojourn enrollments` lists them\n") == (done.returncode, done.stderr)
    for word in ("abc", "²", "1.5"):
        done = run(command, word)
        told = f"{word!r} is not the number of an enrollment\n`sojourn enrollments` lists them\n"
        assert (2, told) == (done.returncode, done.stderr)


async def test_why_knows_near_names(folder: Path, database_url: str, temporal_address: str, task_queue_prefix: str) -> None:
    """A customer nobody knows, or a journey: exit code 1 and the names that look like it."""
    async with running(folder, database_url, temporal_address, task_queue_prefix) as engine:
        await engine.identify("ada.lovelace")
    commands = Commands(folder, database_url)
    done = commands("why", "ada.lovlace")
    assert (done.returncode, "similar: ada.lovelace" in done.stderr) == (1, True)
    done = commands("why", "ada.lovelace", "--journey", "welcom")
    assert (done.returncode, "No journey called welcom is deployed; did you mean" in done.stdout) == (1, True)
