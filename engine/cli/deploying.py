"""Commands that change what runs: `deploy` and `migrate`. What a deploy means is `engine.app.deploying`'s business."""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table
from rich.text import Text

from engine.cli.authoring import count, show_problems
from engine.cli.located import Located, compile_project, locate
from engine.cli.terminal import (
    HERE,
    Code,
    DataOption,
    DryRunOption,
    JsonOption,
    ProjectOption,
    YesOption,
    asked,
    out,
    print_json,
    show_table,
)

if TYPE_CHECKING:
    from engine.app.deploying import Changes
    from engine.authoring.project import Compiled

KINDS = {"new": "green", "changed": "yellow", "same": "dim", "gone": "red"}


def actor() -> str:
    """Who acts, for the audit log and the list of deployments."""
    try:
        return f"cli/{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def deploy(
    project: ProjectOption = HERE,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a deploy would change, ask, and make the project the one that runs.

    All of it takes effect or none; those inside a journey finish on the plan they started with. Exit code 1 where the project
    doesn't compile, or somebody said no. Example: [bold]sojourn deploy --yes[/]
    """
    located = locate(project, data, lenient=True)
    compiled = compile_project(located)
    show_problems(compiled.problems)
    changes = asyncio.run(_preview(located.database_url, compiled))
    if not as_json:
        show_changes(changes)
    if dry_run or not asked(f"Deploy {count(len(compiled.plans), 'journey')}?", yes=yes):
        if as_json:
            print_json({"deployment": None, **_plain(changes)})
        raise typer.Exit(Code.FINE if dry_run else Code.NO)
    number, changes = asyncio.run(_deploy(located, compiled))
    if as_json:
        print_json({"deployment": number, **_plain(changes)})
        return
    out.print(f"deployed (number {number}){_summary(changes)}", markup=False, soft_wrap=True)


def _summary(changes: Changes) -> str:
    """What to add where nobody finds a change in the table."""
    if any(c.kind != "same" for c in changes.journeys):
        return ""
    return "; no journey changed" + (f", but {', '.join(name for name, _ in changes.shared)}" if changes.shared else "")


def show_changes(changes: Changes) -> None:
    """A table: each journey, what happens to it, and who is inside; then what journeys share."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name in ("journey", "change", "inside now"):
        table.add_column(name, header_style="dim")
    for change in changes.journeys:
        inside = ", ".join(f"{n} at {step}" for step, n in change.inside)
        if change.kind == "changed" and inside:
            inside += " (they finish on the old plan)"
        if change.kind == "gone":
            inside = f"{inside or 'nobody'} (enrolls nobody any more)"
        table.add_row(change.journey, f"[{KINDS[change.kind]}]{change.kind}[/]", inside)
    show_table(table)
    for name, kind in changes.shared:
        out.print(Text.assemble(f"{name} ", (kind, KINDS[kind]), ", for those inside too"), soft_wrap=True)


def _plain(changes: Changes) -> dict[str, Any]:
    return {
        "changes": [{**asdict(c), "inside": dict(c.inside)} for c in changes.journeys],
        "shared": [{"name": name, "change": kind} for name, kind in changes.shared],
    }


async def _preview(url: str, compiled: Compiled) -> Changes:
    from engine.app.deploying import preview
    from engine.store.database import connect, transaction

    database = connect(url, pool=1)
    try:
        async with transaction(database) as c:
            return await preview(c, compiled)
    finally:
        await database.dispose()


async def _deploy(located: Located, compiled: Compiled) -> tuple[int, Changes]:
    from engine.app.deploying import deploy as really
    from engine.store.database import connect

    database = connect(located.database_url, pool=1)
    try:
        return await really(database, compiled, actor())
    finally:
        await database.dispose()


def migrate(project: ProjectOption = HERE, data: DataOption = None) -> None:
    """Bring the database to this version's schema. Safe to run again, and from several places at once.

    Example: [bold]SOJOURN_DATABASE_URL=postgresql://… sojourn migrate[/]
    """
    from engine.store.schema import migrate as really

    located = locate(project, data, lenient=True)
    really(located.database_url)
    out.print("the database is at this version's schema")
