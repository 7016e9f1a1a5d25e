"""docs/cli.md explains every command and every option."""

from __future__ import annotations

import re

import pytest
import typer.main

from engine.cli.main import app, run
from tests.cli.commands import ROOT

PAGE = (ROOT / "docs/cli.md").read_text()
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group, which typer's type doesn't say
EACH = [
    (name, one)
    for name, command in COMMANDS.items()
    if name != "demo"
    for one in getattr(command, "commands", {"": command}).values()
]
"""Every command under the first word of its name: those of a group stand in one section."""


def sections() -> dict[str, str]:
    """Command → the text under its heading."""
    parts = re.split(r"^### sojourn ([\w-]+).*$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_has_a_section() -> None:
    """A command that the page doesn't explain fails the build, and so does a section about none."""
    assert set(sections()) | {"demo"} == set(COMMANDS) | {"demo"}


def test_every_option_is_explained() -> None:
    """Each option stands in its command's section, or among those that many commands have."""
    common, by_command = PAGE.partition("## Write")[0], sections()
    twins = {"identify": "track"}
    missing = [
        f"{name} {option}"
        for name, command in EACH
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--") and option != "--help"
        if f"`{option}" not in common + by_command[name] + by_command.get(twins.get(name, ""), "")
    ]
    assert [] == missing


def test_every_command_shows_an_example() -> None:
    """Help without an example is half a help."""
    assert [] == [(name, c.name) for name, c in EACH if "Example: " not in (c.help or "")]


def test_every_command_of_a_group_is_named_in_its_section() -> None:
    """Each with its own words."""
    assert [] == [(name, c.name) for name, c in EACH if c.name != name and f"`{c.name}" not in sections()[name]]


def test_every_command_that_the_code_names_can_be_run() -> None:
    """A hint that says `sojourn quarantine` leads to a list of commands, not to calls."""
    said = {
        tuple(found.split()[:2])
        for path in (ROOT / "engine").rglob("*.py")
        for found in re.findall(r"`sojourn ([a-z][^`]*)`", path.read_text())
    }
    assert len(said) > 20
    groups = {name: set(command.commands) for name, command in COMMANDS.items() if hasattr(command, "commands")}
    lost = [words for words in said if words[0] not in COMMANDS or {*words[1:]} - groups.get(words[0], {*words[1:]})]
    lost += [words for words in said if words[0] in groups and len(words) == 1]
    assert [] == lost


def test_every_exit_code_is_explained() -> None:
    """The table of exit codes is the enumeration's."""
    from engine.cli.terminal import Code

    assert {int(c) for c in Code} == {int(n) for n in re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_completes_in_the_shell(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own name from all but its last letter, as bash asks for it."""
    monkeypatch.setenv("_SOJOURN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"sojourn {name[:-1]}")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert 0 == run([])
    assert name in capsys.readouterr().out.split()
