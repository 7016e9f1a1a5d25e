"""`reset`: enrollments go on at another step of the plan that they are on. The act is `engine.intake.moving`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.acting import INSIDE, on_chosen
from engine.cli.choosing import LISTED, Wanted, find, read_numbers
from engine.cli.deploying import actor
from engine.cli.located import locate
from engine.cli.terminal import HERE, DataOption, DryRunOption, Failure, JsonOption, ProjectOption, YesOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.store.database import Connection, Database


def reset(
    numbers: Annotated[
        list[str], typer.Argument(metavar="ENROLLMENT…", help="Numbers, as `enrollments` lists them.", show_default=False)
    ],
    to: Annotated[str, typer.Option("--to", metavar="STEP", help="The id of the step to go on at.", show_default=False)],
    project: ProjectOption = HERE,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have enrollments go on at another step of their plan, as if they had just come there; what they pass again is sent again.

    What is under way is finished first; a message that waits is dropped. Exit code 1 where there is none such, none of them is
    inside any more, or their plan has no such step. Example: [bold]sojourn reset 4711 --to hello --yes[/]
    """
    from engine.delivery.deployments import Deployments
    from engine.intake import moving
    from engine.store.database import collision_free

    if not to:
        raise Failure("--to names no step", LISTED)
    located = locate(project, data, lenient=True)
    wanted = Wanted(numbers=read_numbers(numbers))
    inside, _ = find(located, wanted, INSIDE)
    known = Deployments()

    async def act(c: Connection, ids: Sequence[int], who: str) -> list[int]:
        return await moving.reset(c, known, ids, to, who)

    async def tried(database: Database) -> list[int]:
        return await collision_free(database, lambda c: act(c, inside, actor()), dry_run=True)

    located.on_database(tried)  # a step that one of them doesn't have stops all of it
    on_chosen(located, wanted, INSIDE, act, ("inside", "reset", "reset"), dry_run, yes, as_json)
