"""The command `show`: one enrollment, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from engine.cli.choosing import LISTED, read_numbers
from engine.cli.located import locate
from engine.cli.shown import listing
from engine.cli.terminal import HERE, Code, DataOption, Failure, JsonOption, ProjectOption, out, print_json, show_table

if TYPE_CHECKING:
    from engine.insight.timeline import Timeline

STYLES = {
    "allow": "green",
    "sent": "green",
    "defer": "yellow",
    "paused": "yellow",
    "drop": "red",
    "parked": "red",
    "wakes": "cyan",
}


def show(
    number: Annotated[str, typer.Argument(metavar="ENROLLMENT", help="Its number, as `enrollments` lists it.")],
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one enrollment from its beginning: what came in, every verdict, every message and what became of it, its next waking.

    Times are the customer's and UTC. Exit code 1 where there is none such.
    Example: [bold]sojourn show 12[/]
    """
    from engine.insight.timeline import UnknownEnrollment, timeline

    (wanted,) = read_numbers([number]) or [0]
    try:
        told = locate(project, data, lenient=True).in_transaction(lambda c: timeline(c, wanted))
    except UnknownEnrollment as none:
        raise Failure(str(none), LISTED, Code.NO) from None
    if as_json:
        print_json(told.to_json())
    else:
        _draw(told)


def _draw(told: Timeline) -> None:
    """A head, and a row for each line."""
    from engine.cli.drawing import when
    from engine.core.clock import zone as zone_named

    zone, utc, p = zone_named(told.zone), zone_named("UTC"), told.passage
    out.print(
        Text.assemble(
            (told.journey, "bold"),
            f" {p.key}" if p.key else "",
            f"  {p.status}",
            (f"  enrollment {told.enrollment} of {told.user or 'customer'} (customer {told.customer})", "dim"),
        )
    )
    out.print(p.now, markup=False, soft_wrap=True)
    carried = f"cohort {told.cohort}" if told.cohort is not None else "no cohort yet"
    kept = ", kept back by a pause" if told.kept_back else ""
    waiting = f", {told.pending} inputs not relayed yet" if told.pending else ""
    out.print(
        f"plan {told.plan}, {carried}{waiting}{kept}; times are {told.zone} and UTC", style="dim", markup=False, soft_wrap=True
    )
    table = listing(f"time ({told.zone})", "UTC", "what", "step", "told", folds=("told",))
    for line in told.lines:
        there, here = when(line.at, zone), when(line.at, utc, day=False)
        table.add_row(there, Text(here, "dim"), Text(line.kind, STYLES.get(line.kind, "")), line.step, Text(line.text))
    show_table(table)
