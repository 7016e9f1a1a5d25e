"""The command `broadcasts`: lists what the calendar and events about things bring in, and lets a broadcast stand, go on or
end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from engine.cli.deploying import actor
from engine.cli.located import Located, locate
from engine.cli.shown import listing, plain, when
from engine.cli.terminal import (
    HERE,
    Code,
    DataOption,
    Failure,
    JsonOption,
    LimitOption,
    ProjectOption,
    out,
    print_json,
    show_table,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Row

    from engine.store.database import Connection

ACTS = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}
STYLES = {"planned": "cyan", "finding": "green", "going out": "green", "waiting": "green", "paused": "yellow", "missed": "red"}


def broadcasts(
    act: Annotated[
        str | None,
        typer.Argument(metavar="[pause|resume|cancel]", help="What to do; without it they are listed.", show_default=False),
    ] = None,
    numbers: Annotated[
        list[str] | None, typer.Argument(metavar="[NUMBER]…", help="Which, by the number in the list.", show_default=False)
    ] = None,
    project: ProjectOption = HERE,
    journey: Annotated[str | None, typer.Option("--journey", metavar="NAME", help="List only those of this journey.")] = None,
    limit: LimitOption = 20,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List broadcasts: planned, on their way, over; or let some stand, go on, or end.

    Whoever is inside a journey already goes on: only nobody more comes in. Exit code 1 where there is none such.
    Example: [bold]sojourn broadcasts pause 12[/]
    """
    located = locate(project, data, lenient=True)
    if act is None:
        from engine.insight.finding import check_journey
        from engine.store import broadcasts as store

        async def listed(c: Connection) -> Sequence[Row[Any]]:
            if journey is not None:
                await check_journey(c, journey)
            return await store.listing(c, journey=journey, limit=limit)

        found = located.in_transaction(listed)
        if as_json:
            print_json([_plain(r) for r in found])
        elif found:
            _show(found)
        else:
            out.print("no broadcasts", style="dim")
        return
    if act not in ACTS:
        raise Failure(f"{act!r} is nothing that can be done to a broadcast", f"one of: {', '.join(ACTS)}")
    ids = [_number(text) for text in numbers or ()]
    if not ids or journey is not None:
        raise Failure("say which by their numbers", "`sojourn broadcasts` lists them")
    done, found = _act(located, act, ids)
    if as_json:
        print_json({ACTS[act]: done, "broadcasts": [_plain(r) for r in found]})
    else:
        for number in ids:
            state = next((_state(r) for r in found if r.id == number), None)
            said = ACTS[act] if number in done else "there is none such" if state is None else f"not {ACTS[act]}: it is {state}"
            out.print(f"{number}: {said}", markup=False)
    raise typer.Exit(Code.FINE if done else Code.NO)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < 2**63):
        raise Failure(f"{text!r} is not the number of a broadcast", "`sojourn broadcasts` lists them")
    return int(text)


def _state(row: Row[Any]) -> str:
    """How far it has come, in a word or two."""
    if row.state != "open":
        return str(row.state)
    if row.began_at is None:
        return "planned"
    if not row.gathered:
        return "finding"
    return "waiting" if row.next is None or row.next > row.now else "going out"


def _show(found: Sequence[Row[Any]]) -> None:
    table = listing("number", "journey", "what", "state", "next (UTC)", "found", "entered", "refused", "too late")
    for r in found:
        state = _state(r)
        what = f"{r.kind} {r.occurrence}" if r.kind == "schedule" else r.kind
        counts = [str(n) for n in (r.found, r.entered, r.refused, r.skipped)]
        table.add_row(str(r.id), r.journey, what, Text(state, STYLES.get(state, "dim")), when(r.next), *counts)
    show_table(table)


def _plain(r: Row[Any]) -> dict[str, Any]:
    return {**plain(r), "stands": _state(r)}


def _act(located: Located, act: str, ids: Sequence[int]) -> tuple[list[int], list[Row[Any]]]:
    """Which it concerned, and how all of them stand now."""
    from engine.intake import operators
    from engine.store import broadcasts as store

    async def whole(c: Connection) -> tuple[list[int], list[Row[Any]]]:
        done = await operators.on_broadcasts(c, act, ids, actor())
        return done, await store.listing(c, ids=ids, limit=len(ids))

    return located.in_transaction(whole)
