"""`import customers|events FILE`: a file's rows through the door. What becomes of them is `engine.app.importing`'s business."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from engine.cli.authoring import count, show_problems
from engine.cli.deploying import actor
from engine.cli.located import Located, locate
from engine.cli.terminal import (
    HERE,
    Code,
    DataOption,
    DryRunOption,
    Failure,
    JsonOption,
    ProjectOption,
    bars,
    out,
    path_option,
    path_reader,
    print_json,
    say,
)

if TYPE_CHECKING:
    from engine.app.importing import Done, Order, Tell
    from engine.authoring.mapping import Kind
    from engine.store.database import Database

FileArgument = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A .csv, .tsv, .jsonl, .ndjson or .parquet file.", parser=path_reader("FILE", "a file")),
]
MappingOption = Annotated[
    Path | None,
    path_option("--mapping", "FILE", "YAML that says what the columns mean.", show_default="by their names"),
]
LiveOption = Annotated[
    bool, typer.Option("--live", help="Let it count as happening now: journeys begin and go on. Without it, it is history.")
]
AgainOption = Annotated[
    bool, typer.Option("--again", help="Read the file from its first row, also where it was imported before.")
]
ReportOption = Annotated[Path | None, path_option("--report", "FILE", "Where bad rows are told.", show_default="beside the file")]

imports = typer.Typer(
    no_args_is_help=True,
    help="Bring customers and events in from files.\n\nExample: [bold]sojourn import customers customers.csv[/]",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


HELP: dict[Kind, str] = {
    "customers": """Bring in who people are, one to a row: ids, attributes, and what they agreed to.

    Exit code 1 where rows are bad; the others are in, and a report beside the file says what is wrong with each.
    Example: [bold]sojourn import customers customers.csv --mapping customers.yaml --dry-run[/]
    """,
    "events": """Bring in what people did, one event to a row, as history: it counts, and enrolls and wakes nobody.

    Exit code 1 where rows are bad; the others are in, and a report beside the file says what is wrong with each.
    Example: [bold]sojourn import events orders.parquet --mapping orders.yaml[/]
    """,
}


def _command(kind: Kind) -> None:
    """One command for each kind of rows: they take the same."""

    @imports.command(kind, help=HELP[kind])
    def take(
        file: FileArgument,
        project: ProjectOption = HERE,
        mapping: MappingOption = None,
        live: LiveOption = False,
        again: AgainOption = False,
        report: ReportOption = None,
        dry_run: DryRunOption = False,
        data: DataOption = None,
        as_json: JsonOption = False,
    ) -> None:
        from engine.app.importing import Order

        located = locate(project, data, lenient=True)
        told = file.with_name(f"{file.name}.bad.csv") if report is None else report
        order = Order(kind, file, told, frozenset(located.settings.channels), actor(), mapping, live, again)
        try:
            with progress(f"importing {file.name}") as tell:
                done = _run(located, order, tell, dry_run=dry_run)
        except KeyboardInterrupt:
            if not dry_run:
                say("stopped; what was read so far is in, and the same command goes on from there", style="yellow")
            raise
        if as_json:
            print_json(_plain(done, order, dry_run=dry_run))
        else:
            _tell(done, order, dry_run=dry_run)
        raise typer.Exit(Code.NO if done.bad else Code.FINE)


for _kind in HELP:
    _command(_kind)


def _run(located: Located, order: Order, tell: Tell, *, dry_run: bool) -> Done:
    """Everything that a file can be unfit for is a Failure with what to do."""
    from engine.app.import_file import Unreadable
    from engine.app.importing import Busy, Import
    from engine.authoring.layout import Unmapped

    async def whole(database: Database) -> Done:
        prepared = await Import.prepared(database, order)
        show_problems(prepared.warnings)
        return prepared.look(tell) if dry_run else await prepared.take(tell)

    try:
        return located.on_database(whole, pool=3)
    except (Unreadable, Unmapped) as wrong:
        raise Failure(wrong.message, wrong.hint) from None
    except Busy:
        raise Failure(f"{order.path.name} is being imported by another process", "wait for its end", Code.NO) from None
    except OSError as cannot:
        if cannot.filename is None:
            raise
        hint = "--report names another place for bad rows" if cannot.filename == str(order.report) else ""
        raise Failure(f"{cannot.filename} can't be used: {cannot.strerror}", hint) from None


@contextmanager
def progress(what: str) -> Iterator[Tell]:
    """A progress bar on standard error."""
    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with bars(*columns) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda position, size: progress.update(bar, completed=position, total=size)


def _tell(done: Done, order: Order, *, dry_run: bool) -> None:
    name = order.path.name
    if dry_run:
        for what, column in done.told():
            out.print(f"  {what} ← {column}", style="dim", markup=False)
        rows = count(done.taken, "row")
        out.print(f"{rows} of {name} can be taken; nothing was changed", markup=False)
    elif done.before:
        out.print(f"{name} was imported before, all of it; --again reads it once more", markup=False)
    else:
        again = f", {done.known} known before" if done.known else ""
        went_on = f" (an earlier run had read {count(done.resumed, 'row')})" if done.resumed else ""
        out.print(f"imported {count(done.taken, 'row')} of {name}{again}{went_on}", markup=False, soft_wrap=True)
    if done.unheeded:
        words = "don't count: they must be confirmed, or were taken back since, which no import undoes"
        out.print(f"{count(done.unheeded, 'consent')} {words}", style="yellow", markup=False, soft_wrap=True)
    if done.erased:
        words = "people who were erased: nothing of them was kept"
        out.print(f"{count(done.erased, 'row')} about {words}", style="yellow", markup=False, soft_wrap=True)
    for number, bad in done.first if dry_run else ():
        where = f", {bad.column}" if bad.column else ""
        out.print(f"row {number}{where}: {bad.problem}; {bad.mend}", style="yellow", markup=False, soft_wrap=True)
    if done.bad:
        verb = "is" if done.bad == 1 else "are"
        where = "" if dry_run else f": {order.report} says what is wrong with each"
        out.print(f"{count(done.bad, 'row')} {verb} bad{where}", style="yellow", markup=False, soft_wrap=True)


def _plain(done: Done, order: Order, *, dry_run: bool) -> dict[str, Any]:
    return {
        "taken": done.taken,
        "known": done.known,
        "bad": done.bad,
        "erased": done.erased,
        "resumed": done.resumed,
        "before": done.before,
        "unheeded": done.unheeded,
        "report": str(order.report) if done.bad and not dry_run else None,
        "first": [{"row": n, "column": bad.column, "problem": bad.problem, "mend": bad.mend} for n, bad in done.first],
        "columns": [{"what": what, "column": column} for what, column in done.told()],
        "dry_run": dry_run,
    }
