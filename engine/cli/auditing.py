"""The command `audit`. What it finds is found by `engine.insight.audit`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from engine.cli.located import locate
from engine.cli.terminal import HERE, Code, DataOption, Failure, JsonOption, ProjectOption, err, out, print_json, show_table

if TYPE_CHECKING:
    from engine.insight.audit import Difference, Tally


def audit(
    customer: Annotated[
        str | None, typer.Option("--customer", metavar="USER", help="Only decisions about this customer.")
    ] = None,
    journey: Annotated[str | None, typer.Option("--journey", metavar="NAME", help="Only this journey's messages.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="MOMENT", help="Only decisions made then or later; UTC unless it has an offset."),
    ] = None,
    sample: Annotated[int | None, typer.Option("--sample", metavar="N", min=1, help="Only N of them, chosen by chance.")] = None,
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make recorded decisions again, from the facts that each one looked at, and show which don't come out again.

    Reads only. Exit code 1 where one differs, or nobody is known by that name. Example: [bold]sojourn audit --since 2026-03-01[/]
    """
    tally = asyncio.run(_audit(project, data, customer, journey, since, sample))
    if as_json:
        print_json(tally.to_json())
    else:
        show(tally)
    if tally.different:
        raise typer.Exit(Code.NO)


async def _audit(
    project: Path, data: Path | None, customer: str | None, journey: str | None, since: str | None, sample: int | None
) -> Tally:
    from engine.insight.asked import BadMoment, read_moment
    from engine.insight.audit import Tally
    from engine.insight.audit import audit as really
    from engine.insight.finding import UnknownCustomer, find_customer
    from engine.store.database import connect, transaction
    from engine.store.recorded import Chosen

    database = connect(locate(project, data, lenient=True).database_url, pool=1)
    whole = Tally()
    try:
        moment = None if since is None else _utc(read_moment(since))
        async with transaction(database) as c:
            known = None if customer is None else await find_customer(c, customer)
        with Progress(TextColumn("decisions"), BarColumn(), MofNCompleteColumn(), console=err, transient=True) as progress:
            bar = progress.add_task("decisions", total=None)
            async for total, part in really(database, Chosen(known, journey, moment), sample):
                whole.add(part)
                progress.update(bar, total=total, completed=whole.looked_at)
    except BadMoment as bad:
        raise Failure(f"--since: {bad}", "write it as 2026-03-02, or 2026-03-02T10:00+01:00") from None
    except UnknownCustomer as unknown:
        raise Failure(str(unknown), unknown.hint, Code.NO) from None
    finally:
        await database.dispose()
    return whole


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def show(tally: Tally) -> None:
    """The figures, then the differences."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("decisions", header_style="dim")
    table.add_column("", justify="right")
    words = f" ({tally.only_words} of them in their words only)" if tally.only_words else ""
    table.add_row("checked", str(tally.same + tally.different))
    table.add_row("the same again", str(tally.same))
    table.add_row(f"different{words}", str(tally.different))
    for reason, n in sorted(tally.unchecked.items()):
        table.add_row(f"not checkable: {reason}", str(n))
    show_table(table)
    if tally.differences:
        out.print()
        if tally.different > len(tally.differences):
            out.print(f"The first {len(tally.differences)} that differ:", style="dim", markup=False)
        show_table(_differences(tally.differences))


def _differences(found: list[Difference]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name in ("decision", "customer", "message", "at (UTC)", "what", "recorded", "comes out as"):
        table.add_column(name, header_style="dim", overflow="fold")
    for each in found:
        for i, d in enumerate(each.differing):
            about = (str(each.decision), str(each.customer), each.key, f"{each.at:%Y-%m-%d %H:%M:%S}") if i == 0 else ("",) * 4
            table.add_row(*about, d.field, d.recorded, d.again)
    return table
