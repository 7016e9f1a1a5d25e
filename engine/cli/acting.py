"""What commands that act on enrollments share: show them, ask, and go through them batch by batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import typer

from engine.cli import choosing, enrolled
from engine.cli.choosing import Wanted
from engine.cli.deploying import actor
from engine.cli.located import Located
from engine.cli.terminal import Code, asked, in_batches, out, print_json, say

if TYPE_CHECKING:
    from engine.store.database import Connection, Database

BATCH = 500
"""Enrollments that one transaction acts on."""

INSIDE = ("live", "parked")
DOING = {
    "retry": "retrying",
    "stop": "stopping",
    "skip": "skipping",
    "pause": "pausing",
    "resume": "resuming",
    "reset": "resetting",
}

Act = Callable[["Connection", Sequence[int], str], Awaitable[list[int]]]
"""Does something to a batch as somebody: those that it concerned."""


def on_chosen(
    located: Located,
    wanted: Wanted,
    states: Sequence[str],
    act: Act,
    words: tuple[str, str, str],
    dry_run: bool,
    yes: bool,
    as_json: bool,
    *,
    rate: float | None = None,
    paused: bool = False,
) -> None:
    """Show them, ask, act in batches, say how many it concerned. `words`: what they must be, the verb, what they are after.
    `rate`: at most so many a second. `paused`: only those that are, by themselves."""
    state, verb, done = words
    ids, shown = choosing.find(located, wanted, states, paused=paused)
    if shown and not as_json:
        enrolled.show(shown)
        if len(ids) > len(shown):
            out.print(f"… and {len(ids) - len(shown)} more", style="dim")
    if not ids and not as_json:
        out.print(f"none of them is {state}", style="dim")
    if ids and not dry_run:
        if not asked(f"{verb.capitalize()} {len(ids)}?", yes=yes or bool(wanted.numbers)):
            raise typer.Exit(Code.NO)
        ids = through(located, ids, act, DOING[verb], rate)
        if not as_json:
            out.print(f"{done} {len(ids)}")
    elif dry_run and not as_json:
        out.print(f"would {verb} {len(ids)}; nothing was changed")
    if as_json:
        print_json({done: ids, "dry_run": dry_run})
    raise typer.Exit(Code.FINE if ids else Code.NO)


def through(located: Located, ids: Sequence[int], act: Act, what: str, rate: float | None = None) -> list[int]:
    """Those of `ids` that it concerned, each batch in a transaction of its own; with a `rate`, so many a second at the most."""
    from engine.store.database import transaction

    size = BATCH if rate is None else max(1, min(BATCH, int(rate)))
    done: list[int] = []
    seen = 0

    async def whole(database: Database) -> None:
        nonlocal seen
        began = time.monotonic()
        for batch in in_batches(ids, size, what):
            if rate is not None and seen:
                await asyncio.sleep(max(0.0, began + seen / rate - time.monotonic()))
            async with transaction(database) as c:
                done.extend(await act(c, batch, actor()))
            seen += len(batch)

    try:
        located.on_database(whole)
    except KeyboardInterrupt:
        say(f"cut off after {seen} of {len(ids)}", "what was done stays done; the same command goes on with the others")
        raise
    return done
