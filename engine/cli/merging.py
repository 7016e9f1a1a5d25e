"""Commands about who is who: `merge` makes one of two customers, `unmerge` two again. Both through the one door's own acts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.deploying import actor
from engine.cli.located import Located, locate
from engine.cli.terminal import (
    HERE,
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
)

if TYPE_CHECKING:
    from engine.intake.door import Intake
    from engine.intake.merging import Merged

NAMED = "A user id, another identifier, an e-mail address or a phone number."

TABLES = {
    "identifiers": "identifiers",
    "events": "events",
    "consents": "consent statements",
    "enrollments": "enrollments",
    "holds": "holds",
    "refusals": "refused entries",
}
"""What people call what goes along."""


def merge(
    kept: Annotated[str, typer.Argument(metavar="CUSTOMER", help=f"Who stays. {NAMED}")],
    gone: Annotated[str, typer.Argument(metavar="OTHER", help="Who becomes part of them, named likewise.")],
    project: ProjectOption = HERE,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make one customer of two: everything of OTHER is CUSTOMER's from now on. `unmerge` undoes it within 30 days.

    Of two live enrollments of one journey and key the older stays. Exit code 1 where nobody is known by a name, or it can't be
    done.
    Example: [bold]sojourn merge ada ada.lovelace@example.com --dry-run[/]
    """

    shown: dict[str, int] = {}

    async def act(intake: Intake, *, look: bool) -> Merged:
        from engine.insight.finding import find_only_customer
        from engine.store.database import transaction

        async with transaction(intake.database) as c:
            found = {name: await find_only_customer(c, name) for name in (kept, gone)}
        for name, customer in found.items():
            as_shown(name, customer, shown.setdefault(name, customer), "nothing was merged")
        return await intake.merge(found[kept], found[gone], actor(), dry_run=look)

    def tell(done: Merged, look: bool) -> None:
        number = "" if look else f" (merge {done.id})"
        both = f"{customer_named(done.kept, kept)} and {customer_named(done.gone, gone)}"
        _tell(done, f"{'would merge' if look else 'merged'}: {both}{number}", "along")
        if not look:
            out.print(f"  `sojourn unmerge {done.id}` undoes it within 30 days", style="dim", markup=False)

    run = _through_the_door(locate(project, data, lenient=True), act)
    look_and_act(run, tell, f"Make {gone} part of {kept}?", dry_run=dry_run, yes=yes, as_json=as_json)


def unmerge(
    number: Annotated[str, typer.Argument(metavar="MERGE", help="The merge's number, as `merge` and `why` tell it.")],
    project: ProjectOption = HERE,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a merge back, within 30 days: each has again what it had, and what was withdrawn since then holds for both.

    What the merge ended goes on, and the two are not merged by a rule again. Exit code 1 where there is no such merge, or it
    can't be undone.
    Example: [bold]sojourn unmerge 12[/]
    """
    if not (number.isascii() and number.isdigit()) or len(number) > 18:
        raise Failure(f"{number!r} is not the number of a merge", "`sojourn why` names the merges of a customer")

    async def act(intake: Intake, *, look: bool) -> Merged:
        return await intake.unmerge(int(number), actor(), dry_run=look)

    def tell(done: Merged, look: bool) -> None:
        both = f"customer {done.kept} and customer {done.gone}"
        _tell(done, f"{'would take apart' if look else 'taken apart'}: {both} (merge {done.id})", "back")

    run = _through_the_door(locate(project, data, lenient=True), act)
    look_and_act(run, tell, f"Undo merge {number}?", dry_run=dry_run, yes=yes, as_json=as_json)


def _through_the_door(located: Located, act: Callable[..., Awaitable[Merged]]) -> Callable[[bool], Merged]:
    """`act` on the project's door, told whether it only looks."""
    from engine.delivery.deployments import Deployments
    from engine.intake.door import Intake

    return lambda look: located.on_database(lambda database: act(Intake(database, Deployments()), look=look))


def _tell(done: Merged, what: str, whither: str) -> None:
    """`what` happened, or would; and what goes `whither` ("along" or "back")."""
    out.print(what, markup=False, soft_wrap=True)
    counts = [f"{n} {TABLES.get(table, table)}" for table, n in done.moved.items() if n]
    if counts:
        out.print(f"  {whither}: {', '.join(counts)}", markup=False, soft_wrap=True)
    if done.attributes:
        out.print(f"  another value: {', '.join(done.attributes)}", markup=False, soft_wrap=True)
    for channel, topic in done.withdrawn:
        about = "every channel" if channel == "*" else channel
        out.print(f"  stays withdrawn: {about}{f' about {topic}' if topic else ''}", markup=False)
    for enrollment, journey in done.ended:
        out.print(f"  ends enrollment {enrollment} in {journey}: the older one stays", markup=False)
    for enrollment, journey in done.revived:
        out.print(f"  goes on: enrollment {enrollment} in {journey}", markup=False)
