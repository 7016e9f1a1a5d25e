"""`init`, `validate`, `graph`, `schema`: files in, words out, no server."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.cli.commands import ROOT, answer, sojourn


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project fresh from `init`."""
    made = sojourn("init", tmp_path / "shop")
    assert made.returncode == 0, made.stderr
    return tmp_path / "shop"


def test_a_new_project_has_no_problems(shop: Path) -> None:
    """What `init` writes validates without an error or a warning, and its name is the folder's."""
    done = sojourn("validate", "--json", cwd=shop)
    assert (done.returncode, answer(done)["problems"], answer(done)["journeys"]) == (0, [], 1)
    assert "project: shop\n" in (shop / "sojourn.yaml").read_text()


def test_init_replaces_nothing(shop: Path) -> None:
    """A file that is there already ends `init` before it writes anything."""
    (shop / "sojourn.yaml").write_text("project: mine\n")
    done = sojourn("init", shop)
    assert (done.returncode, "holds" in done.stderr) == (2, True)
    assert (shop / "sojourn.yaml").read_text() == "project: mine\n"


def test_init_into_an_empty_name_is_refused(tmp_path: Path) -> None:
    """An empty variable of the shell doesn't mean the current folder."""
    for empty in ("", " "):
        done = sojourn("init", empty, cwd=tmp_path)
        assert (2, "DIR is empty") == (done.returncode, done.stderr.splitlines()[0])
    assert [] == list(tmp_path.iterdir())


def test_the_project_that_ships_validates() -> None:
    """The repository's own journeys have no error."""
    done = sojourn("validate", "--project", ROOT, "--json")
    assert (done.returncode, answer(done)["ok"]) == (0, True)


def test_all_problems_come_out_at_once(shop: Path) -> None:
    """Two files with a mistake each: both are told with their places, exit code 1, and JSON says the same."""
    journey, policy = shop / "journeys/welcome.yaml", shop / "journeys/policy.yaml"
    journey.write_text(journey.read_text().replace("wait_for: project_created", "wait_for: projekt_created"))
    policy.write_text(policy.read_text().replace("limit: 2", "limit: many"))
    done = sojourn("validate", cwd=shop)
    assert (done.returncode, done.stdout) == (1, "")
    assert "journeys/policy.yaml:8:" in done.stderr
    assert "did you mean 'project_created'?" in done.stderr
    machine = sojourn("validate", "--json", cwd=shop)
    files = {p["file"] for p in answer(machine)["problems"]}
    assert (machine.returncode, files) == (1, {"journeys/welcome.yaml", "journeys/policy.yaml"})
    (shop / "journeys/other.yaml").write_text("journey: other\n")
    assert 2 == answer(sojourn("validate", "--json", cwd=shop))["journeys"]


def test_a_misspelt_adapter_is_told_by_validate_and_stops_up(shop: Path) -> None:
    """An adapter that isn't there is a problem of the project, and `sojourn up` says so instead of starting it for ever."""
    settings = shop / "sojourn.yaml"
    settings.write_text(settings.read_text().replace("channels.file", "channels.flie"))
    done = sojourn("validate", cwd=shop)
    assert (1, True) == (done.returncode, "there is no module channels.flie" in done.stderr)
    started = sojourn("up", "--port", "0", cwd=shop)
    assert (2, True) == (started.returncode, "SJ453" in started.stderr)


def test_up_without_a_project_says_so_before_anything_else(tmp_path: Path) -> None:
    """A taken port is of no interest to who stands in the wrong folder; nothing is written there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = sojourn("up", "--port", str(taken.getsockname()[1]), cwd=tmp_path)
    assert (2, f"there is no project in {tmp_path}") == (done.returncode, done.stderr.splitlines()[0])
    assert "sojourn init" in done.stderr
    assert [] == list(tmp_path.iterdir())


def test_settings_are_named_like_every_other_file(shop: Path) -> None:
    """A problem of sojourn.yaml has the file's path in the project, wherever the project lies."""
    settings = shop / "sojourn.yaml"
    settings.write_text("proyect: shop\n" + settings.read_text().partition("\n")[2])
    done = sojourn("validate", "--project", str(shop))
    assert "sojourn.yaml:1:1: error SJ110" == done.stderr.splitlines()[0].rpartition(":")[0]
    assert {"sojourn.yaml"} == {p["file"] for p in answer(sojourn("validate", "--json", cwd=shop))["problems"]}


def test_a_secret_that_is_not_set_is_a_warning_for_validate(shop: Path) -> None:
    """Who checks journeys needs no production secrets; the variable is named."""
    settings = shop / "sojourn.yaml"
    settings.write_text(settings.read_text() + 'write_keys: {web: "${SHOP_WEB_KEY}"}\n')
    done = sojourn("validate", "--json", cwd=shop)
    found = [(p["level"], p["code"]) for p in answer(done)["problems"]]
    assert (done.returncode, found) == (0, [("warning", "SJ250")])


def test_notes_tell_what_events_match(shop: Path) -> None:
    """`--notes` prints a line for each exit, goal and wait, however narrow: in a pipe nothing is folded."""
    done = sojourn("validate", "--notes", cwd=shop, COLUMNS="30")
    assert 3 == sum("matches" in line for line in done.stdout.splitlines())
    assert 4 == len(done.stdout.splitlines())


def test_graph_draws_a_journey_and_knows_near_names(shop: Path) -> None:
    """Mermaid on standard output; an unknown journey suggests the nearest."""
    assert sojourn("graph", "welcome", cwd=shop).stdout.startswith("flowchart TD\n")
    done = sojourn("graph", "welcom", cwd=shop)
    assert (done.returncode, "did you mean 'welcome'?" in done.stderr) == (2, True)


def test_schemas_are_printed_and_written(tmp_path: Path) -> None:
    """One schema is itself, all of them go to files with their names."""
    assert "properties" in answer(sojourn("schema", "journey"))
    done = sojourn("schema", "--out", tmp_path)
    assert done.returncode == 0
    written = {p.name: json.loads(p.read_text())["$schema"] for p in tmp_path.glob("*.json")}
    assert len(written) == 6


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["validate", "--project", "nowhere"], 2),
        (["validate", "--colour"], 2),
        (["no-such"], 2),
        (["why", "ada"], 3),
        (["worker"], 3),
    ],
)
def test_errors_are_short_and_have_their_code(tmp_path: Path, arguments: list[str], code: int) -> None:
    """Wrong usage ends with 2, missing servers with 3, each without a traceback."""
    done = sojourn(*arguments, cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr, done.stderr != "") == (code, False, True)
