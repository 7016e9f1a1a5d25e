"""How a release is wished for and shown, and the commands that look back and go back: `deployments`, `rollback`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from engine.cli.authoring import count
from engine.cli.located import Located, locate
from engine.cli.release_shown import plain, show_changes, show_release, summary, unchanged
from engine.cli.shown import iso, listing, when
from engine.cli.terminal import (
    HERE,
    Code,
    DataOption,
    DryRunOption,
    Failure,
    JsonOption,
    ProjectOption,
    YesOption,
    asked,
    err,
    out,
    print_json,
    show_table,
)

if TYPE_CHECKING:
    from engine.app.release import Changes, Release, Wishes
    from engine.store.database import Connection, Database

StrategyOption = Annotated[
    list[str] | None,
    typer.Option("--strategy", metavar="[JOURNEY=]HOW", help="Those inside: pin, migrate or drain.", show_default="pin"),
]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="[JOURNEY.]OLD=NEW", help="With migrate: what a step is called now.", show_default=False),
]


def read_wishes(
    strategies: Sequence[str] | None,
    maps: Sequence[str] | None,
    journeys: Iterable[str],
    canary: str | None = None,
    canaries: Sequence[str] | None = None,
) -> Wishes:
    """What the options say. Raises Failure where one can't be read."""
    from engine.app.release import STRATEGIES, Wishes

    usual, by_journey = "pin", {}
    for text in strategies or ():
        journey, _, how = text.rpartition("=")
        if how not in STRATEGIES:
            raise Failure(f"--strategy: there is no {how!r}", f"one of {', '.join(STRATEGIES)}, also as JOURNEY=HOW")
        if journey:
            by_journey[journey] = how
        else:
            usual = how
    named = []
    for text in maps or ():
        old, _, new = text.partition("=")
        if not (old and new):
            raise Failure(f"--map: {text!r} doesn't say which step becomes which", "write OLD=NEW, or JOURNEY.OLD=NEW")
        journey, _, step = old.partition(".")
        named.append((journey, step, new) if step and journey in set(journeys) else ("", old, new))
    if named and "migrate" not in (usual, *by_journey.values()):
        raise Failure("--map is for those who go on with the new plan", "add --strategy migrate")
    share = None if canary is None else read_share(canary)
    if canaries and share is None:
        raise Failure("--canary-journey says which journeys are tried, and --canary with how many", "add --canary 10%")
    return Wishes(usual, by_journey, tuple(named), share, tuple(canaries or ()))


def read_share(text: str) -> float:
    """A share of new entries, over 0% and under 100%. Raises Failure."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)%", text)
    share = float(found[1]) / 100 if found else 0.0
    if not 0 < share < 1:
        raise Failure(f"--canary: {text!r} is not a share of those who enter", "write 10%, more than 0% and less than 100%")
    return share


def carried_out(
    located: Located,
    look: Callable[[Connection], Any],
    wishes: Wishes,
    question: str,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Show what a release (that `look` finds) does, ask, put it in force, ask those who are moved; then say so."""
    from engine.app.deploying import Stranded, put_in_force
    from engine.app.release import looked_at
    from engine.delivery.deployments import Deployments

    async def first(c: Connection) -> tuple[Release, Changes]:
        release = await look(c)
        return release, await looked_at(c, Deployments(), release, wishes)

    from engine.cli.deploying import actor

    release, seen = located.in_transaction(first)
    if not as_json:
        show_release(release)
        show_changes(seen)
    if seen.stranded():
        raise Stranded(seen)
    nothing = seen.nothing()
    if dry_run or not (nothing or asked(question, yes=yes)):
        if as_json:
            print_json({"deployment": None, "written": False, **plain(seen)})
        elif nothing:
            out.print(unchanged(seen), soft_wrap=True)
        raise typer.Exit(Code.FINE if dry_run else Code.NO)
    number, done = located.on_database(lambda database: put_in_force(database, release, actor(), wishes, seen))
    moved = sum(c.moves() for c in done.journeys)
    if moved:
        located.on_database(lambda database: _ask_all(database, moved))
    written = number != done.since
    if as_json:
        print_json({"deployment": number, "written": written, **plain(done)})
        return
    if done != seen:
        out.print("people went on since you were asked; this is what was done:", style="yellow")
        show_changes(done)
    if not written:
        out.print(unchanged(done), soft_wrap=True)
        return
    out.print(f"deployed (number {number}){summary(done)}", markup=False, soft_wrap=True)
    if moved:
        told = f"{count(moved, 'enrollment')} {'goes' if moved == 1 else 'go'} on with a new plan as workers take them"
        out.print(f"{told}: `sojourn deployments` says how many are left", style="dim", soft_wrap=True)


async def _ask_all(database: Database, expected: int) -> None:
    """Ask everybody who is to be moved. A worker does the same: whoever comes first."""
    from engine.delivery.deployments import Deployments
    from engine.intake.moving import BATCH, Moving

    moving = Moving(database, Deployments())
    columns = (TextColumn("moving"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, transient=True, disable=expected <= BATCH) as progress:
        bar = progress.add_task("moving", total=expected)
        while (asked_now := await moving.batch()) is not None:
            progress.advance(bar, asked_now)


def rollback(
    to: Annotated[
        str | None,
        typer.Argument(
            metavar="[NUMBER|HASH]", help="A deployment, as `deployments` lists them.", show_default="the newest that was other"
        ),
    ] = None,
    project: ProjectOption = HERE,
    strategy: StrategyOption = None,
    maps: MapOption = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put in force what was in force before: journeys, policy, segments, types and templates of an earlier deployment.

    Shows what that changes and asks, as `deploy` does. Those who have entered since finish on their plan, unless
    `--strategy migrate` brings them back too. Exit code 1 where that changes nothing, or there is no
    such deployment. Example: [bold]sojourn rollback 12[/]
    """
    from engine.app.deploying import earlier

    located = locate(project, data, lenient=True)
    release = located.in_transaction(lambda c: earlier(c, to))
    wishes = read_wishes(strategy, maps, release.plans)

    async def again(c: Connection) -> Release:
        return release

    question = f"{release.act.capitalize()}?"
    carried_out(located, again, wishes, question, dry_run=dry_run, yes=yes, as_json=as_json)


def deployments(
    project: ProjectOption = HERE,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most this many, the newest first.")] = 20,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List deployments, the one in force first: number, when, who, what, hash, what they changed; and who is still on the way.

    Example: [bold]sojourn deployments --limit 5[/]
    """
    from engine.app.deploying import Deployed, history
    from engine.store import moves

    async def find(c: Connection) -> tuple[list[Deployed], dict[str, int]]:
        return await history(c, limit), await moves.on_their_way(c)

    found, moving = locate(project, data, lenient=True).in_transaction(find)
    if as_json:
        rows = [{**asdict(d), "at": iso(d.at), "changed": dict(d.changed)} for d in found]
        print_json({"deployments": rows, "moving": moving})
        return
    if not found:
        out.print("nothing is deployed yet", style="dim")
        return
    table = listing("number", "when (UTC)", "who", "what", "hash", "changed", folds=("changed",))
    for d in found:
        changed = ", ".join(f"{name} ({kind})" for name, kind in d.changed)
        table.add_row(str(d.number), when(d.at), Text(d.actor), d.act, d.hash, Text(changed))
    show_table(table)
    for journey, n in sorted(moving.items()):
        out.print(f"{journey}: {count(n, 'enrollment')} on the way to another plan or step", soft_wrap=True)
