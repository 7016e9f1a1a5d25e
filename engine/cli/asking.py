"""The command `why`. What it tells is found by `engine.insight.why` and drawn by `engine.cli.drawing`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.located import locate
from engine.cli.terminal import HERE, Code, DataOption, Failure, JsonOption, ProjectOption, out, print_json

if TYPE_CHECKING:
    from engine.insight.story import Why
    from engine.store.database import Connection


def why(
    customer: Annotated[
        str, typer.Argument(metavar="CUSTOMER", help="A user id, another identifier, an e-mail address or a phone number.")
    ],
    journey: Annotated[str | None, typer.Option("--journey", metavar="NAME", help="Only this journey.")] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="MOMENT", help="What stood at that moment, by the customer's clock unless it has an offset from UTC."
        ),
    ] = None,
    short: Annotated[bool, typer.Option("--short", help="Only the gates that stand in the way, not those that pass.")] = False,
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell why a customer got a message, or didn't: every decision with every gate, in words, and which one change would have
    let it pass.

    Also why somebody never entered a journey. Exit code 1 where nobody is known by that name, or no journey.
    Example: [bold]sojourn why ada@example.com --journey welcome --at 2026-03-02T10:00[/]
    """
    from engine.cli.drawing import draw

    told = _ask(project, data, customer, journey, at)
    if as_json:
        print_json(told.to_json())
    else:
        out.print(draw(told, short=short))
    if any(a.reason == "no_journey" for a in told.absences):
        raise typer.Exit(Code.NO)


def _ask(project: Path, data: Path | None, customer: str, journey: str | None, at: str | None) -> Why:
    from engine.insight.asked import BadMoment, read_moment
    from engine.insight.finding import find_customer
    from engine.insight.why import why as really

    async def ask(c: Connection) -> Why:
        return await really(c, await find_customer(c, customer), journey, at=moment)

    try:
        moment = None if at is None else read_moment(at)
        return locate(project, data, lenient=True).in_transaction(ask)
    except BadMoment as bad:
        raise Failure(f"--at: {bad}", bad.hint) from None
