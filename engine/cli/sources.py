"""`sources`: what each source has sent, and what became of it. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from engine.cli.located import Located, locate
from engine.cli.shown import iso, listing, when
from engine.cli.terminal import HERE, DataOption, JsonOption, ProjectOption, out, print_json, show_table

if TYPE_CHECKING:
    from sqlalchemy.engine import Row

    from engine.store.database import Connection

COUNTED = ("accepted", "duplicate", "quarantined", "refused")


def sources(
    project: ProjectOption = HERE,
    days: Annotated[int, typer.Option("--days", min=1, max=3650, metavar="N", help="Count this many days, today included.")] = 7,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the sources: what they sent, and what of it waits in the quarantine.

    Example: [bold]sojourn sources --days 30[/]
    """
    found = _found(locate(project, data, lenient=True), days)
    if as_json:
        print_json(found)
    elif not found:
        out.print("no source has a write key, and none has sent anything", style="dim")
    else:
        show_table(_table(found))
        waiting = sum(one["waiting"] for one in found)
        if waiting:
            out.print(f"{waiting} put aside: `sojourn quarantine list` says why", style="yellow", markup=False)


def _table(found: list[dict[str, Any]]) -> Table:
    numbers = (*COUNTED, "waiting", "rate")
    table = listing("source", *numbers, "last (UTC)", right=numbers)
    for one in found:
        rate = "" if one["rate"] is None else f"{one['rate']:g}/s"
        cells = [Text(f"{one[word]}") for word in (*COUNTED, "waiting")]
        table.add_row(Text(one["source"]), *cells, Text(rate), Text(when(one["last_at"])))
    return table


def _found(located: Located, days: int) -> list[dict[str, Any]]:
    """Every source that has a write key, has sent anything or waits, by name."""
    from engine.store import quarantine
    from engine.store import sources as store

    async def look(c: Connection) -> tuple[dict[str, Row[Any]], dict[str, int]]:
        return {r.source: r for r in await store.counted(c, days)}, await quarantine.waiting(c)

    counted, waiting = located.in_transaction(look)
    settings = located.settings
    found = []
    for name in sorted({*settings.write_keys, *counted, *waiting}):
        r = counted.get(name)
        one = settings.sources.get(name)
        found.append(
            {
                "source": name,
                **{word: 0 if r is None else getattr(r, word) for word in COUNTED},
                "waiting": waiting.get(name, 0),
                "rate": None if one is None else one.rate,
                "last_at": None if r is None else iso(r.last_at),
            }
        )
    return found
