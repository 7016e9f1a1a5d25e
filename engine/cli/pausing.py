"""The commands `pause` and `resume`, of journeys and of single enrollments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from engine.cli import choosing
from engine.cli.acting import INSIDE, on_chosen, through
from engine.cli.choosing import NOTHING, Wanted, filtered, read_numbers
from engine.cli.deploying import actor
from engine.cli.located import Located, locate
from engine.cli.terminal import (
    HERE,
    Code,
    DataOption,
    DryRunOption,
    Failure,
    JsonOption,
    ProjectOption,
    YesOption,
    out,
    print_json,
)

if TYPE_CHECKING:
    from engine.store.database import Connection

TargetsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[JOURNEY|NUMBER]…", help="A journey, or numbers as `enrollments` lists them.", show_default=False),
]
RateOption = Annotated[
    str, typer.Option("--rate", metavar="RATE", help="How fast those who were kept back are let go, as 100/s or 600/m.")
]


@filtered
def pause(
    targets: TargetsArgument = None,
    project: ProjectOption = HERE,
    because: Annotated[str, typer.Option("--because", metavar="TEXT", help="Why, for `why`; with a journey only.")] = "",
    wanted: Wanted = NOTHING,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pause a journey, or single enrollments: nothing is sent, no task is made and nothing called until they are resumed.

    People still come in, waits run on, and every event is kept. Exit code 1 where it is paused already, or there is none such.
    Example: [bold]sojourn pause welcome --because "the offer is wrong"[/]
    """
    from engine.intake import operators

    located = locate(project, data, lenient=True)
    if name := _journey(targets, wanted):
        _pause_journey(located, name, because, dry_run, as_json)
    if because:
        raise Failure("--because is for a journey", "the audit log has who paused single enrollments, and when")
    wanted = replace(wanted, numbers=read_numbers(targets))
    on_chosen(located, wanted, INSIDE, operators.pause, ("inside", "pause", "paused"), dry_run, yes, as_json)


@filtered
def resume(
    targets: TargetsArgument = None,
    project: ProjectOption = HERE,
    rate: RateOption = "100/s",
    wanted: Wanted = NOTHING,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a paused journey or single enrollments go on. What was kept back is decided afresh, a few at a time.

    Cut off, the same command lets the others go. Enrollments that were paused by themselves stay so when their journey is
    resumed. Exit code 1 where nothing was paused.
    Example: [bold]sojourn resume welcome --rate 50/s[/]
    """
    from engine.intake import operators

    a_second = _rate(rate)
    located = locate(project, data, lenient=True)
    if name := _journey(targets, wanted):
        _resume_journey(located, name, a_second, dry_run, as_json)
    wanted = replace(wanted, numbers=read_numbers(targets))
    words = ("paused", "resume", "resumed")
    on_chosen(located, wanted, INSIDE, operators.resume, words, dry_run, yes, as_json, rate=a_second, paused=True)


def _journey(targets: Sequence[str] | None, wanted: Wanted) -> str | None:
    """The journey that is meant, None where enrollments are. Raises Failure where both are, or several."""
    names = [text for text in targets or () if not choosing.is_number(text)]
    if not names:
        return None
    if len(targets or ()) > 1 or wanted.filters:
        raise Failure("one journey at a time, or enrollments by their numbers or by filters", choosing.LISTED)
    return names[0]


def _rate(written: str) -> float:
    """Enrollments a second. Raises Failure."""
    from pydantic import TypeAdapter, ValidationError

    from engine.settings.project import Rate

    try:
        found: float = TypeAdapter(Rate).validate_python(written)
    except ValidationError:
        raise Failure(f"--rate: {written!r} is no rate", "write it as 100/s, 600/m or 5000/h") from None
    return found


def _pause_journey(located: Located, name: str, because: str, dry_run: bool, as_json: bool) -> NoReturn:
    from engine.insight.finding import check_journey
    from engine.intake import operators
    from engine.store import chosen, pauses

    async def ask(c: Connection) -> tuple[bool, int]:
        await check_journey(c, name)
        inside = sum(r.n for r in await chosen.counts(c, chosen.Chosen(journey=name, states=INSIDE), ["journey"]))
        if dry_run:
            return (await pauses.journey(c, name)).paused_at is None, inside
        return await operators.pause_journey(c, name, because, actor()), inside

    fresh, inside = located.in_transaction(ask)
    if fresh and not dry_run:
        others = located.in_transaction(partial(pauses.behind, journey=name))
        through(located, others, _making_room, "making room")
    if as_json:
        print_json({"paused": [name] if fresh else [], "inside": inside, "dry_run": dry_run})
    elif not fresh:
        out.print(f"{name} is paused already", markup=False)
    elif dry_run:
        out.print(f"would pause {name}, with {inside} inside; nothing was changed", markup=False)
    else:
        out.print(f"paused {name}, with {inside} inside; `sojourn resume {name}` lets it go on", markup=False, soft_wrap=True)
    raise typer.Exit(Code.FINE if fresh else Code.NO)


async def _making_room(c: Connection, ids: Sequence[int], _: str) -> list[int]:
    from engine.intake import operators

    await operators.make_room(c, ids)
    return list(ids)


def _resume_journey(located: Located, name: str, rate: float, dry_run: bool, as_json: bool) -> NoReturn:
    from engine.insight.finding import check_journey
    from engine.intake import operators
    from engine.store import pauses

    async def ask(c: Connection) -> tuple[bool, int]:
        await check_journey(c, name)
        stands = await pauses.journey(c, name)
        if not dry_run:
            await operators.resume_journey(c, name, actor())
        return stands.paused_at is not None, stands.kept_back

    paused, going = located.in_transaction(ask)
    if not dry_run:
        kept = located.in_transaction(partial(pauses.kept_back, journey=name))
        going = len(through(located, kept, _letting_go, "letting go", rate))
    if as_json:
        print_json({"resumed": [name] if paused else [], "let_go": going, "dry_run": dry_run})
    elif not (paused or going):
        out.print(f"{name} is not paused", markup=False)
    elif dry_run:
        out.print(f"would resume {name} and let {going} go that are kept back; nothing was changed", markup=False)
    else:
        out.print(f"{'resumed' if paused else 'went on with'} {name}: {going} that were kept back go on", markup=False)
    raise typer.Exit(Code.FINE if paused or going else Code.NO)


async def _letting_go(c: Connection, ids: Sequence[int], _: str) -> list[int]:
    from engine.intake import operators

    await operators.let_go(c, ids)
    return list(ids)
