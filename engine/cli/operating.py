"""Commands of operators: `enrollments` looks, `retry` and `stop` act, in batches, through `engine.intake.operators`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from engine.cli.deploying import actor
from engine.cli.located import locate
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
    in_batches,
    out,
    print_json,
    show_table,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Row

    from engine.store.database import Connection

BATCH = 500
SHOWN = 20
LISTED = "`sojourn enrollments` lists them"
STATUSES = ("live", "parked", "ended")
REASON = 30
"""Columns that a reason needs at least."""
STYLES = {"live": "green", "parked": "yellow", "ended": "dim"}

JourneyOption = Annotated[str | None, typer.Option("--journey", metavar="NAME", help="Only those in this journey.")]
CustomerOption = Annotated[
    str | None,
    typer.Option("--customer", metavar="USER", help="Only this customer's: a user id, other identifier or address."),
]
EnrollmentsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ENROLLMENT]…", help="Numbers, as `enrollments` lists them.", show_default=False),
]


def enrollments(
    project: ProjectOption = HERE,
    journey: JourneyOption = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help="Only those that are live, parked or ended.")
    ] = None,
    customer: CustomerOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most this many, the newest first.")] = 50,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who is in which journey, and where.

    Example: [bold]sojourn enrollments --journey welcome --status parked[/]
    """
    if status is not None and status not in STATUSES:
        raise Failure(f"there is no status {status!r}", f"one of: {', '.join(STATUSES)}")
    found = asyncio.run(_list(project, data, journey=journey, status=status, customer=customer, limit=limit))
    if as_json:
        print_json([_plain(r) for r in found])
    elif not found:
        out.print("no enrollments", style="dim")
    else:
        show(found)
        if len(found) == limit:
            out.print(f"the newest {limit}; --limit shows more", style="dim")


def show(found: Sequence[Row[Any]]) -> None:
    """A table of enrollments, rows of `store.history.listing`. Moments are UTC. Names and numbers stay whole, to be copied; where
    a terminal is narrow, the day stands above the time."""
    show_table(_table(found, " "), _table(found, "\n"))


def _table(found: Sequence[Row[Any]], between: str) -> Table:
    """`between`: what stands between day and time."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    names = ("number", "customer", "journey", "status", "step", f"entered{between}(UTC)", f"next{between}(UTC)")
    rows = [_whole(r, between) for r in found]
    for name, *column in zip(names, *rows, strict=True):
        table.add_column(
            name, no_wrap=True, min_width=max(cell_len(line) for text in (name, *column) for line in text.split("\n"))
        )
    reasons = [" ".join(r.reason.split()) for r in found]
    table.add_column("reason", overflow="fold", min_width=min(REASON, max(map(cell_len, reasons))))
    for r, row, reason in zip(found, rows, reasons, strict=True):
        cells = [Text(text, STYLES[r.status] if text == r.status else "") for text in row]
        table.add_row(*cells, Text(reason, "dim"))
    return table


def _whole(r: Row[Any], between: str) -> tuple[str, ...]:
    """What is never folded: who is where, and since when."""
    where = "" if r.status == "ended" else r.step or "at its beginning"
    journey = f"{r.journey} {r.key}" if r.key else r.journey
    moments = (_when(m).replace(" ", between) for m in (r.entered_at, r.wake_at))
    return (str(r.id), r.user or str(r.customer_id), journey, r.status, where, *moments)


def _when(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def _plain(r: Row[Any]) -> dict[str, Any]:
    body = dict(r._mapping)
    return {k: v.astimezone(UTC).isoformat() if isinstance(v, datetime) else v for k, v in body.items()}


def retry(
    numbers: EnrollmentsArgument = None,
    project: ProjectOption = HERE,
    journey: JourneyOption = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Only those whose reason contains this.")] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let parked enrollments go on with what failed, after it was mended.

    Every gate is asked again before anything leaves. Exit code 1 where there is none such, or none of them is parked.
    Example: [bold]sojourn retry --journey welcome --reason template[/]
    """
    from engine.intake import operators

    if bool(numbers) == bool(journey or reason):
        raise Failure("say which: numbers, or --journey and --reason", "`sojourn enrollments --status parked` lists them")
    found = asyncio.run(_list(project, data, journey=journey, reason=reason, ids=_numbers(numbers)))
    parked = [r for r in found if r.status == "parked"]
    _act(parked, operators.retry, ("parked", "retry", "retried"), project, data, dry_run, yes or bool(numbers), as_json)


def stop(
    numbers: EnrollmentsArgument = None,
    project: ProjectOption = HERE,
    customer: CustomerOption = None,
    journey: JourneyOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """End enrollments at once, in the middle of a wait too. What was handed over stays sent.

    Exit code 1 where there is none such, or none of them is inside any more.
    Example: [bold]sojourn stop --customer ada --journey welcome[/]
    """
    from engine.intake import operators

    if bool(numbers) == bool(journey or customer):
        raise Failure("say which: numbers, or --customer and --journey", LISTED)
    found = asyncio.run(_list(project, data, journey=journey, customer=customer, ids=_numbers(numbers)))
    inside = [r for r in found if r.status != "ended"]
    _act(inside, operators.stop, ("inside", "stop", "stopped"), project, data, dry_run, yes or bool(numbers), as_json)


def _numbers(written: Sequence[str] | None) -> list[int] | None:
    """Numbers of enrollments as they are written. Raises Failure that names the one that is none."""
    for text in written or ():
        if not (text.isascii() and text.isdigit()):
            raise Failure(f"{text!r} is not the number of an enrollment", LISTED)
        if not 0 < int(text[:20]) < 2**63:
            raise Failure(f"there is no enrollment {text}", LISTED, Code.NO)
    return [int(text) for text in written] if written else None


def _act(
    found: Sequence[Row[Any]],
    act: Callable[[Connection, Sequence[int], str], Awaitable[list[int]]],
    words: tuple[str, str, str],
    project: Path,
    data: Path | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Show them, ask, act in batches, say how many it concerned. `words`: what they must be, the verb, what they are after."""
    state, verb, done = words
    if found and not as_json:
        show(found[:SHOWN])
        if len(found) > SHOWN:
            out.print(f"… and {len(found) - SHOWN} more", style="dim")
    ids = sorted(r.id for r in found)
    if not ids and not as_json:
        out.print(f"none of them is {state}", style="dim")
    if ids and not dry_run:
        if not asked(f"{verb.capitalize()} {len(ids)}?", yes=yes):
            raise typer.Exit(Code.NO)
        ids = asyncio.run(_in_batches(ids, act, f"{verb}ing" if verb != "stop" else "stopping", project, data))
        if not as_json:
            out.print(f"{done} {len(ids)}")
    elif dry_run and not as_json:
        out.print(f"would {verb} {len(ids)}; nothing was changed")
    if as_json:
        print_json({done: ids, "dry_run": dry_run})
    raise typer.Exit(Code.FINE if ids else Code.NO)


async def _in_batches(
    ids: Sequence[int],
    act: Callable[[Connection, Sequence[int], str], Awaitable[list[int]]],
    what: str,
    project: Path,
    data: Path | None,
) -> list[int]:
    from engine.store.database import connect, transaction

    database = connect(locate(project, data, lenient=True).database_url, pool=1)
    done: list[int] = []
    try:
        for batch in in_batches(ids, BATCH, what):
            async with transaction(database) as c:
                done += await act(c, batch, actor())
    finally:
        await database.dispose()
    return done


async def _list(
    project: Path, data: Path | None, *, customer: str | None = None, ids: Sequence[int] | None = None, **wanted: Any
) -> Sequence[Row[Any]]:
    """Rows of `store.history.listing`. Raises Failure where the customer isn't known, or there is no enrollment of a number."""
    from engine.insight.finding import UnknownCustomer, find_customer
    from engine.store.database import connect, transaction
    from engine.store.history import listing

    database = connect(locate(project, data, lenient=True).database_url, pool=1)
    try:
        async with transaction(database) as c:
            person = None if customer is None else await find_customer(c, customer)
            found = await listing(c, customer=person, ids=ids, **wanted)
    except UnknownCustomer as unknown:
        raise Failure(str(unknown), unknown.hint, Code.NO) from None
    finally:
        await database.dispose()
    if missing := set(ids or ()) - {r.id for r in found}:
        raise Failure(f"there is no enrollment {', '.join(map(str, sorted(missing)))}", LISTED, Code.NO)
    return found
