"""The command `enrollments`: who is in which journey, and where; or how many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from engine.cli.choosing import NOTHING, Wanted, filtered
from engine.cli.located import locate
from engine.cli.shown import listing, plain, when
from engine.cli.terminal import HERE, DataOption, Failure, JsonOption, LimitOption, ProjectOption, out, print_json, show_table

if TYPE_CHECKING:
    from sqlalchemy.engine import Row

    from engine.store.database import Connection

REASON = 30
"""Columns that a reason needs at least."""
STYLES = {"live": "green", "parked": "yellow", "paused": "yellow", "ended": "dim"}


@filtered
def enrollments(
    project: ProjectOption = HERE,
    wanted: Wanted = NOTHING,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by", metavar="WHAT", help="Count them by journey, step, status, reason or plan instead; may be said again."
        ),
    ] = None,
    limit: LimitOption = 50,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who is in which journey, and where; or count them.

    Example: [bold]sojourn enrollments --journey welcome --status parked --older 3d --by step[/]
    """
    from engine.store import chosen as store

    groups = list(dict.fromkeys(by or ()))
    if strange := [name for name in groups if name not in store.GROUPS]:
        raise Failure(f"they can't be counted by {strange[0]!r}", f"one of: {', '.join(store.GROUPS)}")

    async def ask(c: Connection) -> list[Row[Any]]:
        chosen = await wanted.read(c)
        return await store.counts(c, chosen, groups) if groups else await store.listing(c, chosen, limit)

    found = locate(project, data, lenient=True).in_transaction(ask)
    if as_json:
        print_json([plain(r) for r in found])
    elif not found:
        out.print("no enrollments", style="dim")
    elif groups:
        _show_counts(found, groups)
    else:
        show(found)
        if len(found) == limit:
            out.print(f"the newest {limit}; --limit shows more", style="dim")


def _show_counts(found: Sequence[Row[Any]], groups: Sequence[str]) -> None:
    table = listing(*groups, "enrollments", folds=("reason",), right=("enrollments",))
    for r in found:
        table.add_row(*(Text(getattr(r, name) or "–") for name in groups), str(r.n))
    show_table(table)


def show(found: Sequence[Row[Any]]) -> None:
    """A table of enrollments, rows of `store.chosen.listing`. Moments are UTC. Names and numbers stay whole, to be copied; where
    a terminal is narrow, the day stands above the time."""
    show_table(_table(found, " "), _table(found, "\n"))


def _table(found: Sequence[Row[Any]], between: str) -> Table:
    """`between`: what stands between day and time."""
    table = listing()
    names = ("number", "customer", "journey", "status", "step", f"entered{between}(UTC)", f"next{between}(UTC)")
    rows = [_whole(r, between) for r in found]
    for name, *column in zip(names, *rows, strict=True):
        table.add_column(
            name, no_wrap=True, min_width=max(cell_len(line) for text in (name, *column) for line in text.split("\n"))
        )
    reasons = [" ".join(r.reason.split()) for r in found]
    table.add_column("reason", overflow="fold", min_width=min(REASON, max(map(cell_len, reasons))))
    for row, reason in zip(rows, reasons, strict=True):
        status = row[3].partition(",")[0]
        cells = [Text(text, STYLES[status] if i == 3 else "") for i, text in enumerate(row)]
        table.add_row(*cells, Text(reason, "dim"))
    return table


def _whole(r: Row[Any], between: str) -> tuple[str, ...]:
    """What is never folded: who is where, and since when."""
    where = "" if r.status == "ended" else r.step or "at its beginning"
    journey = f"{r.journey} {r.key}" if r.key else r.journey
    status = f"{r.status}, paused" if r.paused else r.status
    moments = (when(m).replace(" ", between) for m in (r.entered_at, r.wake_at))
    return (str(r.id), r.user or str(r.customer_id), journey, status, where, *moments)
