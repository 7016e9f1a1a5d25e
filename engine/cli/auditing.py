"""The command `audit`. What it finds is found by `engine.insight.audit`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.table import Table

from engine.cli.located import Located, locate
from engine.cli.shown import listing
from engine.cli.terminal import (
    HERE,
    MOST,
    Code,
    DataOption,
    JsonOption,
    ProjectOption,
    bars,
    out,
    print_json,
    read_since,
    show_table,
)

if TYPE_CHECKING:
    from engine.insight.audit import Difference, Tally
    from engine.store.database import Database


def audit(
    customer: Annotated[
        str | None, typer.Option("--customer", metavar="USER", help="Only decisions about this customer.")
    ] = None,
    journey: Annotated[str | None, typer.Option("--journey", metavar="NAME", help="Only this journey's messages.")] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="MOMENT", help="Only decisions made then or later; UTC unless it has an offset."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", metavar="N", min=1, max=MOST, help="Only N, chosen by chance.")
    ] = None,
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make recorded decisions again, from the facts that each one looked at, and show which don't come out again.

    Reads only. Exit code 1 where one differs, or a name is unknown. Example: [bold]sojourn audit --since 2026-03-01[/]
    """
    tally = _audit(locate(project, data, lenient=True), customer, journey, read_since(since), sample)
    if as_json:
        print_json(tally.to_json())
    else:
        show(tally)
    if tally.different:
        raise typer.Exit(Code.NO)


def _audit(located: Located, customer: str | None, journey: str | None, since: datetime | None, sample: int | None) -> Tally:
    from engine.insight.audit import Tally
    from engine.insight.audit import audit as really
    from engine.insight.finding import check_journey, find_customer
    from engine.store.database import transaction
    from engine.store.recorded import Chosen

    async def whole(database: Database) -> Tally:
        found = Tally()
        async with transaction(database) as c:
            known = None if customer is None else await find_customer(c, customer)
            if journey is not None:
                await check_journey(c, journey)
        with bars(TextColumn("decisions"), BarColumn(), MofNCompleteColumn()) as progress:
            bar = progress.add_task("decisions", total=None)
            async for total, part in really(database, Chosen(known, journey, since), sample):
                found.add(part)
                progress.update(bar, total=total, completed=found.looked_at)
        return found

    return located.on_database(whole)


def show(tally: Tally) -> None:
    """The figures, then the differences."""
    table = listing("decisions", "", folds=("decisions",), right=("",))
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
    names = ("decision", "customer", "message", "at (UTC)", "what", "recorded", "comes out as")
    table = listing(*names, folds=names)
    for each in found:
        for i, d in enumerate(each.differing):
            about = (str(each.decision), str(each.customer), each.key, f"{each.at:%Y-%m-%d %H:%M:%S}") if i == 0 else ("",) * 4
            table.add_row(*about, d.field, d.recorded, d.again)
    return table
