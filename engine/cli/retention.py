"""The command `retention`: how long what is kept, what would go now, and when the next. Reads only; a chore does the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from engine.cli.located import locate
from engine.cli.shown import iso, listing, when
from engine.cli.terminal import HERE, DataOption, JsonOption, ProjectOption, out, print_json, show_table

if TYPE_CHECKING:
    from engine.intake.expiring import Due


def retention(project: ProjectOption = HERE, data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the periods of sojourn.yaml and tracking.yaml: what would go now, and when the next.

    Example: [bold]sojourn retention[/]
    """
    from engine.delivery.deployments import Deployments
    from engine.intake.expiring import Expiring

    located = locate(project, data, lenient=True)
    periods = located.settings.retention.periods()
    due = located.on_database(lambda database: Expiring(database, Deployments(), periods).due())
    found = [_plain(one) for one in due]
    if as_json:
        print_json(found)
    elif not found:
        out.print("no periods are set: everything is kept", style="dim")
    else:
        show_table(_table(found))


def _plain(one: Due) -> dict[str, Any]:
    from engine.core.clock import format_duration

    return {
        "kind": one.walk.kind,
        "table": one.walk.rule.table,
        "kept": format_duration(one.walk.kept),
        "rows": one.rows,
        "next_at": iso(one.next_at),
    }


def _table(found: Sequence[dict[str, Any]]) -> Table:
    table = listing("kind", "of", "kept", "due now", "next (UTC)", right=("due now",))
    for one in found:
        cells = (one["kind"], one["table"], one["kept"], str(one["rows"]), when(one["next_at"]))
        table.add_row(*(Text(text) for text in cells))
    return table
