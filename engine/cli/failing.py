"""The command `failures`: what needs a person, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from engine.cli.located import locate
from engine.cli.shown import listing, when
from engine.cli.terminal import HERE, Code, DataOption, JsonOption, ProjectOption, out, print_json, say, show_table

if TYPE_CHECKING:
    from engine.app.failing import Found
    from engine.store.database import Database


def failures(
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what needs a person: parked enrollments by cause with the command that retries them, what lies before relay and
    quarantine, stuck workflow tasks, task queues that nobody serves.

    Exit code 1 where there is something, 3 where Temporal can't be asked.
    Example: [bold]sojourn failures --json[/]
    """
    from engine.app.failing import find

    located = locate(project, data, lenient=True)
    address = located.temporal_address

    async def ask(database: Database) -> Found:
        return await find(located.settings, database, address)

    found = located.on_database(ask)
    if as_json:
        print_json(found.to_json())
    else:
        _draw(found)
    if found.unreachable:
        if not as_json:
            say(found.unreachable)
        raise typer.Exit(Code.UNREACHABLE)
    raise typer.Exit(Code.NO if found.any else Code.FINE)


def _draw(found: Found) -> None:
    """A paragraph for each kind of trouble, each with what to do."""
    told = found.store
    for cause in told.parked:
        step = f" at {cause.step}" if cause.step else ""
        since = f", the newest since {when(cause.parked_at)} UTC" if cause.parked_at else ""
        _say(f"{cause.n} parked in {cause.journey}{step}{since}", "red")
        _say(f"  {' '.join(cause.reason.split())}", "dim")
        _say(f"  look: sojourn show {cause.newest}\n  then: {cause.retry}")
    calls = ((q.source, str(q.n), when(q.oldest)) for q in told.quarantine)
    _rows("calls in the quarantine: `sojourn quarantine list` shows them", ("source", "calls", "oldest (UTC)"), calls)
    inputs = ((b.lane, str(b.n), f"{b.seconds:.1f}") for b in told.relay)
    _rows("inputs that no cohort has been told: does a worker run?", ("lane", "inputs", "oldest (s)"), inputs)
    for kept in told.kept_back:
        _say(f"{kept.n} in {kept.journey} are kept back by a pause that is over", "red")
        _say(f"  then: {kept.resume}")
    _rows(
        "workflows whose task fails again and again: the worker's log says why",
        ("workflow", "journey", "attempts", "since (UTC)"),
        ((s.workflow, s.journey, str(s.attempts), when(s.since)) for s in found.stuck),
    )
    _rows(
        "task queues in which something waits and that no worker serves: start one that has this channel and lane",
        ("queue", "kind", "tasks", "oldest (s)"),
        ((q.name, q.kind, str(q.backlog), f"{q.waited:.1f}") for q in found.dead),
    )
    if not (found.any or found.unreachable):
        out.print("nothing needs a person", style="dim")


def _say(text: str, style: str = "") -> None:
    out.print(Text(text, style), soft_wrap=True)


def _rows(what: str, names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    found = list(rows)
    if found:
        _say(what, "red")
        table = listing(*names)
        for row in found:
            table.add_row(*map(Text, row))
        show_table(table)
