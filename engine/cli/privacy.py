"""Commands about what people may ask of those who hold their data: `export`, `erase`, `restrict`, `objection`. Each leaves a row
in the audit log; what they do is `engine.insight.export`, `engine.intake.erasing` and `engine.intake.standing`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

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
    as_shown,
    customer_named,
    look_and_act,
    out,
    path_option,
    print_json,
)

if TYPE_CHECKING:
    from engine.intake.door import Intake
    from engine.intake.erasing import Erased
    from engine.store.database import Connection, Database

    Find = Callable[[Connection], Awaitable[int]]
    """Finds the customer within a transaction."""

T = TypeVar("T")

CustomerArgument = Annotated[
    str, typer.Argument(metavar="CUSTOMER", help="A user id, another identifier, an e-mail address or a phone number.")
]
LiftOption = Annotated[bool, typer.Option("--lift", help="Take it back.")]


def export(
    customer: CustomerArgument,
    to: Annotated[Path | None, path_option("--out", "FILE", "Write it there instead; nothing is replaced.")] = None,
    project: ProjectOption = HERE,
    data: DataOption = None,
) -> None:
    """Print everything that is held about a customer as one JSON document.

    Exit code 1 where nobody is known by that name. Example: [bold]sojourn export ada@example.com --out ada.json[/]
    """

    async def act(intake: Intake, find: Find) -> dict[str, Any]:
        from engine.insight.export import export as document
        from engine.store.database import snapshot

        async with snapshot(intake.database) as c:
            return await document(c, intake.deployments, await find(c), actor())

    if to is not None and to.exists():
        raise Failure(f"{to} is there already", "name a file that isn't; an export replaces nothing")
    found = _about(locate(project, data, lenient=True), customer, act)
    if to is None:
        print_json(found)
        return
    try:
        with to.open("x", encoding="utf-8") as file:
            to.chmod(0o600)
            file.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
    except OSError as failed:
        raise Failure(f"{to} can't be written: {failed.strerror}") from None
    out.print(f"{customer_named(found['customer'], customer)} in {to}", markup=False, soft_wrap=True)


def erase(
    customer: CustomerArgument,
    project: ProjectOption = HERE,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase a customer, with everybody who was merged into them: identifiers, attributes, event properties and content go, their
    journeys end, and no import brings them back. Nothing undoes it.

    What counts stays, without content. Exit code 1 where nobody is known by that name, or somebody said no.
    Example: [bold]sojourn erase ada@example.com --dry-run[/]
    """

    located = locate(project, data, lenient=True)
    shown: int | None = None

    async def act(intake: Intake, find: Find, *, look: bool) -> Erased:
        from engine.intake.commanded import meant
        from engine.intake.erasing import erase as really

        async def same(c: Connection) -> int:
            found = await find(c)
            as_shown(customer, await meant(c, found), shown, "nothing was erased")
            return found

        return await really(intake, same, actor(), dry_run=look)

    def run(look: bool) -> Erased:
        nonlocal shown
        done = _about(located, customer, partial(act, look=look))
        shown = done.customer
        return done

    look_and_act(run, partial(_tell, customer), f"Erase {customer} for good?", dry_run=dry_run, yes=yes, as_json=as_json)


def _tell(name: str, done: Erased, look: bool) -> None:
    who = customer_named(done.customer, name)
    out.print(f"{'would erase' if look else 'erased'}: {who}", markup=False, soft_wrap=True)
    if done.merged:
        out.print(f"  with {', '.join(f'customer {i}' for i in done.merged)}, merged into them", markup=False, soft_wrap=True)
    rows = ", ".join(f"{n} in {table.replace('_', ' ')}" for table, n in done.rows.items())
    out.print(f"  rows emptied or removed: {rows}", markup=False, soft_wrap=True)
    for enrollment, journey in done.ended:
        out.print(f"  ends enrollment {enrollment} in {journey}", markup=False)
    out.print(f"  no import brings back {done.marked} identifiers and addresses", markup=False)


def restrict(
    customer: CustomerArgument,
    lift: LiftOption = False,
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restrict a customer: nothing is sent to them, whatever journeys say, until it is lifted.

    Exit code 1 where nobody is known by that name, or it changes nothing. Example: [bold]sojourn restrict ada[/]
    """
    words = ("restricted: nothing is sent", "was restricted already", "no longer restricted", "isn't restricted")
    _stand(locate(project, data, lenient=True), "restricted", customer, lift, as_json, words)


def objection(
    customer: CustomerArgument,
    lift: LiftOption = False,
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Note that a customer objects to profiling: computed attributes have their defaults, they are in no segment and no stage.

    Exit code 1 where nobody is known by that name, or it changes nothing. Example: [bold]sojourn objection ada --lift[/]
    """
    words = ("no longer profiled", "objected already", "profiled again", "hasn't objected")
    _stand(locate(project, data, lenient=True), "objected", customer, lift, as_json, words)


def _stand(located: Located, field: str, customer: str, lift: bool, as_json: bool, words: tuple[str, str, str, str]) -> None:
    """`words`: what to say where it was set, was so before, was lifted, wasn't so."""

    async def act(intake: Intake, find: Find) -> Any:
        from engine.intake.standing import stand

        return await stand(intake, find, {field: not lift}, actor())

    now_is = _about(located, customer, act)
    if as_json:
        print_json(now_is.to_json())
    else:
        said = words[2 * lift + (not now_is.changed)]
        out.print(f"{customer_named(now_is.customer, customer)}: {said}", markup=False, soft_wrap=True)
    raise typer.Exit(Code.FINE if now_is.changed else Code.NO)


def _about(located: Located, customer: str, act: Callable[[Intake, Find], Awaitable[T]]) -> T:
    """What `act` gives, which is told how to find the customer of that name. Raises UnknownCustomer, SeveralCustomers."""
    from engine.delivery.deployments import Deployments
    from engine.insight.finding import find_only_customer
    from engine.intake.door import Intake

    async def whole(database: Database) -> T:
        return await act(Intake(database, Deployments()), partial(find_only_customer, text=customer))

    return located.on_database(whole, pool=2)
