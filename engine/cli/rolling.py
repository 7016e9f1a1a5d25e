"""The command `roll`: open cohorts continue as new, so that their histories begin afresh with the workers that run now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from engine.cli.authoring import count
from engine.cli.deploying import actor
from engine.cli.located import Located, locate
from engine.cli.replaying import SHOWN, bar
from engine.cli.shown import listing
from engine.cli.terminal import (
    HERE,
    Code,
    DataOption,
    DryRunOption,
    Failure,
    JsonOption,
    ProjectOption,
    YesOption,
    asked,
    out,
    print_json,
    show_table,
)

if TYPE_CHECKING:
    from engine.app.rolling import Rolled
    from engine.store.database import Database
    from engine.temporal.histories import Run


def roll(
    journey: Annotated[
        str | None, typer.Argument(metavar="[JOURNEY]", help="Only this journey's cohorts.", show_default="all journeys")
    ] = None,
    wait: Annotated[str, typer.Option("--wait", metavar="DURATION", help="Wait so long for them, such as 30s or 10m.")] = "2m",
    project: ProjectOption = HERE,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have every open cohort continue as new, so that its history begins afresh with the workers that run now.

    Nobody inside notices: where they stand goes along. Those that have not in time are named, with what they wait for. Exit code
    1 where there is one, or somebody said no. Example: [bold]sojourn roll --yes[/]
    """
    from engine.app.rolling import Rolled, open_cohorts
    from engine.insight.finding import check_journey

    seconds = _seconds(wait)
    located = locate(project, data, lenient=True)
    address = located.temporal_address
    if journey is not None:
        named = journey
        located.in_transaction(lambda c: check_journey(c, named))
    runs = asyncio.run(open_cohorts(located.settings, address, journey))
    if not runs or dry_run:
        if as_json:
            print_json({**Rolled(()).to_json(), "open": [r.cohort for r in runs], "dry_run": dry_run})
        else:
            would = f"would roll {count(len(runs), 'open cohort')}; nothing was changed"
            out.print(would if runs else "no cohort is open", style="dim")
        return
    if not asked(f"Roll {count(len(runs), 'open cohort')}?", yes=yes):
        raise typer.Exit(Code.NO)
    done = _roll(located, address, runs, seconds)
    if as_json:
        print_json({**done.to_json(), "open": [r.cohort for r in runs], "dry_run": False})
    else:
        _show(done)
    raise typer.Exit(Code.NO if done.behind else Code.FINE)


def _seconds(text: str) -> float:
    """How long --wait says. Raises Failure."""
    from engine.core.clock import parse_duration

    try:
        duration = parse_duration(text)
    except ValueError as wrong:
        raise Failure(f"--wait: {wrong}") from None
    if duration.seconds <= 0 or duration.days or duration.months:
        raise Failure(f"--wait: {text!r} is not between a second and a few hours", "write it as 30s, 10m or 1h")
    return float(duration.seconds)


def _roll(located: Located, address: str, runs: list[Run], seconds: float) -> Rolled:
    from engine.app.rolling import roll as really

    async def act(database: Database) -> Rolled:
        with bar("rolling") as (begin, step):
            begin(len(runs))
            before = 0

            def came(done: int) -> None:
                nonlocal before
                step(done - before)
                before = done

            return await really(located.settings, database, address, runs, actor(), seconds=seconds, step=came)

    return located.on_database(act)


def _show(done: Rolled) -> None:
    """For people."""
    if not done.behind:
        out.print(f"{count(len(done.runs), 'cohort')} continued as new", style="green")
        return
    table = listing("journey", "cohort", "why not", folds=("why not",))
    for b in done.behind[:SHOWN]:
        table.add_row(*(Text(t) for t in (b.run.journey, str(b.run.cohort), b.reason)))
    show_table(table)
    if len(done.behind) > SHOWN:
        out.print(f"… and {len(done.behind) - SHOWN} more (--json has all)", style="dim")
    out.print(
        f"{len(done.behind)} of {count(len(done.runs), 'cohort')} have not continued as new, with "
        f"{count(done.enrollments, 'enrollment')} inside; they do as soon as they can",
        style="red",
        soft_wrap=True,
    )
