"""The command `log`: the audit log, who did what. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from engine.cli.located import locate
from engine.cli.shown import listing, plain, when
from engine.cli.terminal import HERE, DataOption, JsonOption, LimitOption, ProjectOption, out, print_json, read_since, show_table

if TYPE_CHECKING:
    from sqlalchemy.engine import Row


def log(
    project: ProjectOption = HERE,
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="NAME", help="Only what they did: cli/ACCOUNT or token/NAME.")
    ] = None,
    act: Annotated[str | None, typer.Option("--act", metavar="ACT", help="Only this: erase, deploy, stop …")] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", metavar="WHAT", help="Only about this: customer/7, or any customer.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="MOMENT", help="Only from then on; UTC unless it has an offset.")
    ] = None,
    limit: LimitOption = 50,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who did what: deploys, stops, merges, exports, erasures and all other acts of people and tokens. Ids only.

    Example: [bold]sojourn log --act erase --since 2026-03-01[/]
    """
    from engine.store import audit

    wanted: dict[str, Any] = {"actor": actor, "act": act, "subject": subject, "since": read_since(since), "limit": limit}
    found = locate(project, data, lenient=True).in_transaction(lambda c: audit.listing(c, **wanted))
    if as_json:
        print_json([plain(r) for r in found])
    elif not found:
        narrowed = actor or act or subject or since
        out.print("nothing that was done fits" if narrowed else "nothing was done", style="dim")
    else:
        show_table(_table(found))
        if len(found) == limit:
            out.print(f"the newest {limit}; --limit shows more", style="dim")


def _table(found: Sequence[Row[Any]]) -> Table:
    table = listing("number", "at (UTC)", "who", "did", "to what", "with", folds=("with",))
    for r in found:
        told = ", ".join(f"{k} {v}" for k, v in sorted(r.detail.items()))
        table.add_row(*(Text(text) for text in (str(r.id), when(r.at), r.actor, r.act, r.subject)), Text(told, "dim"))
    return table
