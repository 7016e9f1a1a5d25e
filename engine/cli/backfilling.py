"""`backfill` and `predict`: what is worked out for everybody, done at once. A worker does both by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from engine.cli.authoring import count
from engine.cli.located import Located, locate
from engine.cli.terminal import HERE, Code, DataOption, Failure, JsonOption, ProjectOption, err, out, print_json

if TYPE_CHECKING:
    from engine.intake.backfill import Progress
    from engine.store.database import Database


def backfill(
    project: ProjectOption = HERE,
    again: Annotated[bool, typer.Option("--again", help="Make everything anew, whatever is there.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill in computed attributes for everybody, after a deploy that changed what they mean.

    Events may come in meanwhile; interrupted, it goes on where it was. A worker does the same by itself every hour.
    Example: [bold]sojourn backfill[/]
    """
    done = _fill_in(locate(project, data, lenient=True), again)
    if as_json:
        print_json({"attributes": done.definitions, "customers": done.customers})
    elif done.definitions == 0:
        out.print("no computed attribute is kept: nothing to fill in", style="dim")
    else:
        out.print(f"{count(done.definitions, 'attribute')} filled in for {count(done.customers, 'customer')}", markup=False)


def _fill_in(located: Located, again: bool) -> Progress:
    from engine.delivery.deployments import Deployments
    from engine.intake.backfill import Backfill

    columns: Any = (TextColumn("filling in"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())

    async def whole(database: Database) -> Progress:
        work = Backfill(database, Deployments())
        if again:
            await work.begin_again()
        with Bar(*columns, console=err, transient=True) as bar:
            task = bar.add_task("filling in", total=1.0)
            while True:
                done = await work.page()
                bar.update(task, completed=done.share)
                if done.done:
                    return done

    return located.on_database(whole)


def predict(
    project: ProjectOption = HERE,
    again: Annotated[bool, typer.Option("--again", help="Fit anew, though the last fit isn't a day old.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the fit that predictions are made with: when, of how many customers, and its parameters. First bring it up to date.

    A worker does that by itself, every day. Exit code 1 where nothing can be predicted, and it says why.
    Example: [bold]sojourn predict --again[/]
    """
    fit = _predict(locate(project, data, lenient=True), again)
    parameters = fit.parameters or {}
    if as_json:
        told = {"fit": fit.id, "at": fit.at.isoformat(), "customers": fit.customers, "parameters": parameters}
        print_json({**told, "written_for": fit.filled, "why_not": fit.why})
    else:
        out.print(f"fit {fit.id} of {fit.at:%Y-%m-%d %H:%M} UTC, {count(fit.customers, 'customer')}", markup=False)
        for model, values in parameters.items():
            out.print(f"  {model}: {', '.join(f'{n} {v:.3f}' for n, v in values.items())}", markup=False, soft_wrap=True)
    if fit.why:
        raise Failure(f"nothing can be predicted: {fit.why}", "tomorrow it is tried again", Code.NO)


def _predict(located: Located, again: bool) -> Any:
    from engine.delivery.deployments import Deployments
    from engine.intake.backfill import Backfill
    from engine.intake.predicting import NoModels, NothingToPredict, Predicting

    async def whole(database: Database) -> Any:
        deployments, anew = Deployments(), again
        work = Predicting(database, deployments, Backfill(database, deployments))
        with err.status("predicting …"):
            before = await work.last()
            while await work.step(again=anew):
                last = await work.last()
                anew = anew and (last.id if last else 0) == (before.id if before else 0)
        found = await work.last()
        assert found is not None
        return found

    try:
        return located.on_database(whole)
    except (NothingToPredict, NoModels) as cant:
        raise Failure(str(cant), "", Code.NO) from None
