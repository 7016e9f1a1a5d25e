"""What people get wrong on the command line is told in one clear line, before anything happens."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import engine.cli
from engine.cli.__main__ import main
from engine.cli.located import locate
from engine.cli.main import run
from engine.cli.running import prepare
from engine.cli.terminal import Code
from tests.cli.commands import answer
from tests.harness import write_project
from tests.people import opened

SETTINGS = "project: shop\nchannels: {email: {use: channels.file, folder: letters}}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["log", "--limit", "99999999999999999999"], "less than or equal to"),
        (["enrollments", "--limit", "99999999999999999999"], "less than or equal to"),
        (["audit", "--sample", "99999999999999999999"], "less than or equal to"),
        (["up", "--port", "99999"], "less than or equal to 65535"),
        (["api", "--port", "-1"], "greater than or equal to 0"),
        (["why", "ada", "--data", "sojourn.yaml"], "sojourn.yaml is a file"),
        (["up", "--data", "sojourn.yaml/x"], "sojourn.yaml is a file"),
        (["why", "\udcff"], "is not UTF-8 text"),
        (["why", "ada", "--project", "a" * 300], "too long for the name of a file"),
        (["track", "ada", "paid", "x:=NaN"], "'NaN' of 'x' is not JSON"),
        (["track", "ada", "paid", "x:=-1e999"], "'-1e999' of 'x' is not JSON"),
        (["track", "ada", "paid", "x:=" + "[" * 5000 + "]" * 5000], "of 'x' is not JSON"),
        (["track", "ada", "paid", "--url", "http://[::1", "--write-key", "k"], "is no address of an API"),
        (["track", "ada", "paid", "--url", "http://a:99999", "--write-key", "k"], "is no address of an API"),
        (["track", "ada", "paid", "--url", "ftp://a", "--write-key", "k"], "is no address of an API"),
        (["send-test", "hello", "--to", " "], "--to is empty"),
    ],
)
def test_nonsense_is_refused_in_a_line(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, without a traceback."""
    (tmp_path / "sojourn.yaml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    assert Code.USAGE == run(arguments)
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert told in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["validate", "--project", ""], ["--project is empty", "name a folder; `.` is the one you are in"]),
        (["deploy", "--yes", "--project="], ["--project is empty", "name a folder; `.` is the one you are in"]),
        (["why", "ada", "--data", " "], ["--data is empty", "name a folder; `.` is the one you are in"]),
        (["token", "list", "--project", ""], ["--project is empty", "name a folder; `.` is the one you are in"]),
        (["export", "ada", "--out", ""], ["--out is empty", "name a file"]),
        (["import", "events", ""], ["FILE is empty", "name a file"]),
        (["test", ""], ["PATH is empty", "name a test file, a folder of them or a journey; `.` is the one you are in"]),
        (
            ["test", "welcome", " "],
            ["PATH is empty", "name a test file, a folder of them or a journey; `.` is the one you are in"],
        ),
        (["replay", "--customer", "ada", "--with", ""], ["--with is empty", "name a folder or a file"]),
        (
            ["diff", "", "deployed"],
            ["the name of a version is empty", "name a folder, `deployed` or a git revision; `.` is this"],
        ),
    ],
)
def test_an_empty_text_is_no_path(
    arguments: list[str], told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would be the current folder, which nobody has named; what to write stands in a second line."""
    write_project(tmp_path, {"sojourn.yaml": SETTINGS})
    monkeypatch.chdir(tmp_path)
    assert Code.USAGE == run(arguments)
    said = capsys.readouterr().err.splitlines()
    assert [True] * len(told) == [line.startswith(part) for line, part in zip(said, told, strict=True)]


def test_every_option_and_argument_that_names_a_path_is_one_of_those() -> None:
    """Where one were read otherwise, an empty text would be the current folder again: by its type, or by what help calls it."""
    written = "\n".join(file.read_text() for file in Path(engine.cli.__file__).parent.glob("*.py"))
    assert re.findall(r"Annotated\[\s*Path\b", written)
    made = r"typer\.(?:Option|Argument)\(((?:[^()]|\([^()]*\))*)\)"
    typed = re.findall(rf"Annotated\[\s*(?:list\[)?Path\b[^,]*,\s*{made}", written)
    called = [d for d in re.findall(made, written) if re.search(r'metavar="[^"]*\b(PATH|FILE|DIR)\b', d)]
    assert called
    assert typed
    assert [] == [d for d in called + typed if "parser=" not in d]


def test_an_address_of_the_database_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what is wrong with it, and without the password that stands in it."""
    (tmp_path / "sojourn.yaml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOJOURN_DATABASE_URL", "postgresql://x:secret@127.0.0.1:abc/z")
    assert Code.USAGE == run(["why", "ada"])
    said = capsys.readouterr().err
    assert "SOJOURN_DATABASE_URL in the environment is wrong: this URL can't be read" in said
    assert "secret" not in said


async def test_a_filter_that_names_nothing_is_told_so(tmp_path: Path, database_url: str, run: Any) -> None:
    """A journey that was never deployed, a step that the journey doesn't have: exit code 1 and the nearest names. A step of an
    older plan in which somebody stood is none of those."""
    async with opened(tmp_path, database_url) as people:
        await people.identify("ada")
        await people.track("ada", "signed_up", order_id="7")
        for arguments, said in (
            (("enrollments", "--journey", "oncee"), ["no journey called 'oncee' was ever deployed", "did you mean 'once'?"]),
            (("stop", "--journey", "ordr", "--yes"), ["no journey called 'ordr' was ever deployed", "did you mean 'order'?"]),
            (
                ("pause", "--journey", "x", "--yes"),
                ["no journey called 'x' was ever deployed", "known here: italian, many, once"],
            ),
            (("enrollments", "--journey", "once", "--step", "nope"), ["once has no step 'nope'", "known here: month"]),
            (("enrollments", "--journey", "order", "--step", "month"), ["order has no step 'month'", "known here: confirming"]),
            (("enrollments", "--step", "confirmin"), ["no journey has a step 'confirmin'", "did you mean 'confirming'?"]),
            (
                ("enrollments", "--by", "step", "--step", "nope"),
                ["no journey has a step 'nope'", "known here: confirming, month"],
            ),
        ):
            done = await run(*arguments)
            found = [whole.startswith(part) for whole, part in zip(done.stderr.splitlines(), said, strict=True)]
            assert (1, [True, True]) == (done.returncode, found), done.stderr
        await people.query("update enrollments set step = 'before' where journey = 'once' returning 1")
        for step, n in (("before", 1), ("month", 0), ("", 0)):
            assert n == len(answer(await run("enrollments", "--journey", "once", "--step", step, "--json")))


async def test_a_customer_without_a_name_is_refused(tmp_path: Path, database_url: str, run: Any) -> None:
    """An empty variable of the shell means nobody, and suggests nobody: one line, and 2."""
    async with opened(tmp_path, database_url) as people:
        await people.identify("ada")
        for arguments in (("why", ""), ("erase", "", "--yes"), ("enrollments", "--customer", " "), ("export", "")):
            done = await run(*arguments)
            assert (2, "the customer's name is empty\n") == (done.returncode, done.stderr)


async def test_a_new_project_that_does_not_compile_has_nothing_that_goes_on(
    tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`up` says so; later, what was deployed before goes on."""
    folder = write_project(tmp_path, {"sojourn.yaml": SETTINGS, "journeys/broken.yaml": "journey: broken\n"})
    await asyncio.to_thread(prepare, locate(folder), database_url, True)
    assert "run `sojourn deploy`; no journey runs until then\n" in capsys.readouterr().err
    (folder / "journeys/broken.yaml").unlink()
    await asyncio.to_thread(prepare, locate(folder), database_url, True)
    assert "deployed 0 journeys\n" == capsys.readouterr().out
    (folder / "journeys/broken.yaml").write_text("journey: broken\n")
    await asyncio.to_thread(prepare, locate(folder), database_url, True)
    assert "run `sojourn deploy`; what was deployed before goes on\n" in capsys.readouterr().err


class _Interrupted:
    """An import during which somebody presses Ctrl-C."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "engine.cli.main":
            raise KeyboardInterrupt


def test_ctrl_c_while_it_loads_ends_it_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 130, without a traceback."""
    monkeypatch.delitem(sys.modules, "engine.cli.main")
    monkeypatch.delattr(engine.cli, "main")
    monkeypatch.setattr(sys, "meta_path", [_Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert Code.INTERRUPTED == ended.value.code
