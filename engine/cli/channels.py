"""The command `channels`: lists how senders stand, and ends the rest of a channel that too many complained about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.deploying import actor
from engine.cli.located import Located, locate
from engine.cli.shown import listing, plain, when
from engine.cli.terminal import HERE, Code, DataOption, Failure, JsonOption, ProjectOption, out, print_json, show_table

if TYPE_CHECKING:
    from sqlalchemy.engine import Row

    from engine.store.database import Connection

LIFT = "lift"


def channels(
    act: Annotated[
        str | None, typer.Argument(metavar="[lift]", help="What to do; without it they are listed.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Which channel.", show_default=False)] = None,
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List channels with their complaints and warm-up, or end the rest of one.

    A channel rests when there are more complaints than sojourn.yaml allows: what needs consent waits. Look into it first. Exit
    code 1 where it doesn't rest or there is no such channel.
    Example: [bold]sojourn channels lift email[/]
    """
    if act is None:
        found = locate(project, data, lenient=True).in_transaction(_list)
        if as_json:
            print_json([plain(r) for r in found])
        elif found:
            _show(found)
        else:
            out.print("no channels yet: a worker makes them known when it starts", style="dim")
        return
    if act != LIFT:
        raise Failure(f"{act!r} is nothing that can be done to a channel", f"one of: {LIFT}")
    if name is None:
        raise Failure("say which channel", "`sojourn channels` lists them")
    lifted = _lift(locate(project, data, lenient=True), name)
    if as_json:
        print_json({"lifted": [name] if lifted else []})
    else:
        out.print(f"{name}: {'rests no longer; counting begins anew' if lifted else 'does not rest'}", markup=False)
    raise typer.Exit(Code.FINE if lifted else Code.NO)


async def _list(c: Connection) -> list[Row[Any]]:
    from engine.store import senders

    return await senders.listing(c)


def _lift(located: Located, name: str) -> bool:
    """Whether it rested. Raises Failure where neither sojourn.yaml nor a worker knows such a channel."""
    from engine.intake import resting
    from engine.settings.problems import nearest

    known = {*located.settings.channels, *(r.name for r in located.in_transaction(_list))}
    if name not in known:
        raise Failure(f"there is no channel {name!r}", nearest(name, known), Code.NO)
    return located.on_database(lambda database: resting.lift(database, name, actor()))


def _show(found: list[Row[Any]]) -> None:
    table = listing("channel", "sends to", "complaints", "limit", "rests since (UTC)", "warm-up")
    for r in found:
        limit = r.complaints
        told = f"{r.complained} of {r.sent}" if limit else ""
        allowed = f"{limit['above']:.4g} of {limit['at_least']} or more in {limit['days']} d" if limit else ""
        warm = "" if r.day is None else f"day {r.day}: {r.used} of {r.quota}"
        table.add_row(r.name, r.address or "the customer's id", told, allowed, when(r.since), warm)
    show_table(table)
