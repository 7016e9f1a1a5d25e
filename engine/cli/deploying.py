"""Commands that change what runs: `deploy` and `migrate`. What a deploy means is `engine.app.deploying`'s business."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli.authoring import count, show_problems
from engine.cli.located import Located, compile_project, locate
from engine.cli.releasing import MapOption, StrategyOption, carried_out, read_wishes
from engine.cli.terminal import HERE, DataOption, DryRunOption, Failure, JsonOption, ProjectOption, YesOption, out

if TYPE_CHECKING:
    from engine.app.deploying import Changes
    from engine.authoring.project import Compiled
    from engine.store.database import Connection


def actor() -> str:
    """Who acts, for the audit log and the list of deployments."""
    try:
        return f"cli/{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def deploy(
    project: ProjectOption = HERE,
    strategy: StrategyOption = None,
    maps: MapOption = None,
    canary: Annotated[
        str | None, typer.Option("--canary", metavar="SHARE", help="Only this share of new entries gets changed plans.")
    ] = None,
    canary_journey: Annotated[
        list[str] | None, typer.Option("--canary-journey", metavar="NAME", help="Of this journey only.", show_default=False)
    ] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Give all new entries what --canary gave some.")] = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a deploy would change and what becomes of those inside, ask, and make the project the one that runs.

    All of it takes effect or none. Those inside a journey finish on the plan they started with (pin), go on with the new one
    (migrate), or finish while nobody enters (drain). Exit code 1 where the project doesn't compile, somebody would be stranded,
    or somebody said no. Example: [bold]sojourn deploy --strategy welcome=migrate --map nudge=reminder[/]
    """
    located = locate(project, data, lenient=True)
    ways: dict[str, bool] = {"dry_run": dry_run, "yes": yes, "as_json": as_json}
    if promote:
        from engine.app.deploying import promotion

        if canary or canary_journey:
            raise Failure("--promote ends what --canary began", "give one of them")
        wishes = read_wishes(strategy, maps, located.in_transaction(promotion).plans)
        carried_out(located, promotion, wishes, "Promote what is on trial?", **ways)
        return
    from engine.app.deploying import Release, release_of

    compiled = compile_project(located)
    show_problems(compiled.problems)
    wishes = read_wishes(strategy, maps, compiled.plans, canary, canary_journey)

    async def files(c: Connection) -> Release:
        return release_of(compiled)

    carried_out(located, files, wishes, f"Deploy {count(len(compiled.plans), 'journey')}?", **ways)


def put_in_force(located: Located, compiled: Compiled) -> Changes:
    """Deploy `compiled` where it is other than what is in force: what changed. Raises PastSchedule."""
    from engine.app.deploying import deploy_if_other

    return located.on_database(lambda database: deploy_if_other(database, compiled, actor()))


def migrate(project: ProjectOption = HERE, data: DataOption = None) -> None:
    """Bring the database to this version's schema. Safe to run again, and from several places at once.

    Example: [bold]SOJOURN_DATABASE_URL=postgresql://… sojourn migrate[/]
    """
    from engine.store import audit
    from engine.store.schema import head
    from engine.store.schema import migrate as really

    located = locate(project, data, lenient=True)
    really(located.database_url)
    located.in_transaction(lambda c: audit.note(c, actor(), "migrate", [f"schema/{head()}"], {}))
    out.print("the database is at this version's schema")
