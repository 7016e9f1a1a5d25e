"""docs/cli.md explains every command and every option."""

from __future__ import annotations

import re

import typer.main

from engine.cli.main import app
from tests.cli.commands import ROOT

PAGE = (ROOT / "docs/cli.md").read_text()
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group, which typer's type doesn't say


def sections() -> dict[str, str]:
    """Command → the text under its heading."""
    parts = re.split(r"^### sojourn (\w+).*$", PAGE, flags=re.MULTILINE)
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
        for name, command in COMMANDS.items()
        if name != "demo"
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--") and option != "--help"
        if f"`{option}" not in common + by_command[name] + by_command.get(twins.get(name, ""), "")
    ]
    assert [] == missing


def test_every_command_shows_an_example() -> None:
    """Help without an example is half a help."""
    assert [] == [name for name, c in COMMANDS.items() if name != "demo" and "Example: " not in (c.help or "")]


def test_every_exit_code_is_explained() -> None:
    """The table of exit codes is the enumeration's."""
    from engine.cli.terminal import Code

    assert {int(c) for c in Code} == {int(n) for n in re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)}
