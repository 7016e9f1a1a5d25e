"""The command `replay`: Temporal's histories against today's code, or one customer's own history through a plan. Reads only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from engine.cli.located import Located, locate
from engine.cli.retracing import replay_customer
from engine.cli.shown import listing
from engine.cli.terminal import (
    HERE,
    Code,
    DataOption,
    Failure,
    JsonOption,
    ProjectOption,
    err,
    out,
    path_option,
    print_json,
    read_since,
    show_table,
)

if TYPE_CHECKING:
    from engine.app.replaying import Report

SHOWN = 20
"""Runs, and enrollments of a run, that are listed."""


def replay(
    journey: Annotated[
        str | None, typer.Argument(metavar="[JOURNEY]", help="Only this journey's cohorts.", show_default="all journeys")
    ] = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only cohorts that still run.")] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="MOMENT", help="Only runs that began then or later; UTC unless it has an offset."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="At most this many cohorts' runs, the newest first.")
    ] = 1000,
    files: Annotated[Path | None, path_option("--files", "DIR", "Replay the histories in this folder instead.")] = None,
    export: Annotated[Path | None, path_option("--export", "DIR", "Write each history into this folder, too.")] = None,
    customer: Annotated[
        str | None,
        typer.Option("--customer", metavar="USER", help="This customer's own history instead: a user id, identifier or address."),
    ] = None,
    only: Annotated[str | None, typer.Option("--journey", metavar="NAME", help="With --customer: only this journey.")] = None,
    through: Annotated[
        Path | None,
        path_option("--with", "PATH", "With --customer: through this project or journey file, simulated."),
    ] = None,
    step: Annotated[bool, typer.Option("--step", help="With --customer: stop after each step and ask what to show.")] = False,
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay what cohorts, broadcasts and chores did in Temporal against today's code: before a worker is upgraded, run the new
    version's `replay`. With --customer: what one customer lived through, step by step, from what is recorded of them.

    Each run that doesn't replay is named with the reason, and with the enrollments that the new worker would break. Exit code 1
    where there is one, or where a customer's replay ends otherwise than is recorded.
    Example: [bold]sojourn replay welcome --open[/], [bold]sojourn replay --customer ada --step[/]
    """
    moment = read_since(since)
    located = locate(project, data, lenient=True)
    if customer is not None:
        if journey or open_only or since or files or export:
            raise Failure("--customer goes with --journey, --with and --step, not with what chooses runs of cohorts")
        replay_customer(located, customer, only, through, step=step, as_json=as_json)
        return
    if only or through or step:
        raise Failure(
            "--journey, --with and --step are for --customer", "name a journey without an option: sojourn replay welcome"
        )
    if files is not None:
        if journey or open_only or since or export:
            raise Failure("--files replays what is in the folder: JOURNEY, --open, --since and --export don't go with it")
        report = _files(located, files)
    else:
        report = _stored(located, journey, export, open_only=open_only, since=moment, limit=limit)
    if as_json:
        print_json(report.to_json())
    else:
        _show(report)
    raise typer.Exit(Code.NO if report.broken else Code.FINE)


def _files(located: Located, folder: Path) -> Report:
    from engine.app.replaying import read_files, replay_files
    from engine.temporal.histories import BadHistory

    try:
        kept = read_files(folder)
    except BadHistory as bad:
        raise Failure(str(bad)) from None
    with bar("replaying") as (begin, step):
        begin(len(kept))
        return asyncio.run(replay_files(located.settings, kept, step=lambda: step(1)))


def _stored(located: Located, journey: str | None, export: Path | None, **wanted: Any) -> Report:
    from engine.app.replaying import replay_stored
    from engine.insight.finding import check_journey
    from engine.store.database import Database, transaction

    address = located.temporal_address
    if export is not None:
        try:
            export.mkdir(parents=True, exist_ok=True)
        except OSError as wrong:
            raise Failure(f"{export} can't be written to: {wrong.strerror}") from None

    async def act(database: Database) -> Report:
        if journey is not None:
            async with transaction(database) as c:
                await check_journey(c, journey)
        with bar("replaying") as (begin, step):
            return await replay_stored(
                located.settings, database, address, journey=journey, export=export, begin=begin, step=lambda: step(1), **wanted
            )

    return located.on_database(act)


@contextmanager
def bar(what: str) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """A progress bar on standard error: what says how many there are, and what says that so many more are done."""
    with Progress(
        TextColumn(what), BarColumn(), MofNCompleteColumn(), console=err, transient=True, disable=not err.is_terminal
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda total: progress.update(task, total=total), lambda n: progress.advance(task, n)


def _show(report: Report) -> None:
    """For people."""
    from engine.app.replaying import BESIDE

    total = report.fits + len(report.broken)
    if report.broken:
        table = listing("journey", "what", "run", "", "carries", "reason", folds=("reason",))
        for b in report.broken[:SHOWN]:
            journey, state = b.run.journey if b.run.kind == "cohort" else "", "open" if b.run.open else "closed"
            what = f"{b.run.kind} {b.run.name}"
            table.add_row(*(Text(t) for t in (journey, what, b.run.short, state, _carried(b.enrollments), b.reason)))
        show_table(table)
        if len(report.broken) > SHOWN:
            out.print(f"… and {len(report.broken) - SHOWN} more (--json has all)", style="dim")
        out.print(f"{len(report.broken)} of {total} runs don't replay", style="red")
        if report.enrollments:
            out.print(
                f"this worker would break {len(report.enrollments)} enrollments: {_carried(report.enrollments)}", style="red"
            )
        if beside := [f"{b.run.kind} {b.run.name}" for b in report.broken if b.run.open and b.run.kind != "cohort"]:
            out.print(f"this worker would stop {_named(beside)}", style="red")
        if not (report.enrollments or beside):
            out.print("none of them carries anybody any more", style="dim")
    elif total:
        out.print(f"all {total} runs replay ({report.events} events)", style="green")
    else:
        out.print("no runs: Temporal has none such (any more)", style="dim")
    if report.gone:
        out.print(f"{report.gone} were removed by Temporal meanwhile", style="dim")
    if report.written:
        out.print(f"written: {len(report.written)} files in {report.written[0].parent}", markup=False, soft_wrap=True)
    for kind, newest in report.cut:
        more = "; --limit replays more" if kind == "cohort" or newest < BESIDE else ""
        out.print(f"of {kind}s only the newest {newest} run{'s' if newest > 1 else ''}{more}", style="dim")


def _named(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _carried(enrollments: tuple[int, ...]) -> str:
    """Numbers of enrollments, some of them where there are many."""
    return _named([str(e) for e in enrollments])
