"""`quarantine list|show|mend|release|drop`: calls that were put aside, and what operators do with them, through
`engine.api.releasing`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.deploying import actor
from engine.cli.located import Located, locate
from engine.cli.quarantine_shown import show_rows, state
from engine.cli.shown import iso, plain, when
from engine.cli.terminal import (
    HERE,
    Code,
    DataOption,
    DryRunOption,
    Failure,
    JsonOption,
    LimitOption,
    ProjectOption,
    YesOption,
    asked,
    in_batches,
    out,
    path_option,
    print_json,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Row

    from engine.store.database import Database

BATCH = 500
SHOWN = 20
LISTED = "`sojourn quarantine list` lists what waits"

SourceOption = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only what this source sent.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Only what was put aside for this reason.")]
NumberArgument = Annotated[int, typer.Argument(metavar="NUMBER", min=1, max=2**63 - 1, help="As `quarantine list` shows it.")]
NumbersArgument = Annotated[
    list[int] | None,
    typer.Argument(metavar="[NUMBER]…", min=1, max=2**63 - 1, help="As `quarantine list` shows them.", show_default=False),
]

quarantine = typer.Typer(
    no_args_is_help=True,
    help="Calls that couldn't be taken as they were: list, mend, release or drop them.\n\n"
    "Example: [bold]sojourn quarantine list[/]",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


@quarantine.command("list")
def listed(
    project: ProjectOption = HERE,
    source: SourceOption = None,
    reason: ReasonOption = None,
    everything: Annotated[bool, typer.Option("--all", help="What was released or dropped too.")] = False,
    limit: LimitOption = 50,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was put aside and waits, with the reason.

    Example: [bold]sojourn quarantine list --source website[/]
    """
    found = _listing(locate(project, data, lenient=True), source=source, reason=reason, everything=everything, limit=limit)
    if as_json:
        print_json([plain(r) for r in found])
    elif not found:
        out.print("nothing that waits fits" if source or reason else "nothing waits", style="dim")
    else:
        show_rows(found)
        if len(found) == limit:
            out.print(f"the newest {limit}; --limit shows more", style="dim")


@quarantine.command()
def show(number: NumberArgument, project: ProjectOption = HERE, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show one call whole: as it came, as it was mended, and what is wrong with it.

    Example: [bold]sojourn quarantine show 12[/]
    """
    from engine.store import quarantine as store

    found = locate(project, data, lenient=True).in_transaction(lambda c: store.whole(c, [number]))
    if not found:
        raise Failure(f"there is no call {number} in the quarantine", LISTED, Code.NO)
    r = found[0]
    calls = {name: None if text is None else json.loads(text) for name, text in (("call", r.call), ("mended", r.mended))}
    if as_json:
        moments = {"at": r.at, "released_at": r.released_at, "dropped_at": r.dropped_at}
        kept = {"id": r.id, "source": r.source, "reason": r.reason, "message_id": r.message_id}
        print_json({**kept, **{k: iso(v) for k, v in moments.items()}, **calls})
        return
    out.print(f"{r.id} from {r.source}, {when(r.at)} UTC ({state(r)})", markup=False)
    out.print(r.reason, style="yellow", markup=False, soft_wrap=True)
    for name, call in calls.items():
        if call is not None:
            out.print(f"{'as it came' if name == 'call' else 'mended'}:", style="dim")
            out.print(json.dumps(call, ensure_ascii=False, indent=2), markup=False, soft_wrap=True)


@quarantine.command()
def mend(
    number: NumberArgument,
    json_file: Annotated[Path, path_option("--json-file", "FILE", "The whole call, corrected, as JSON; - reads the input.")],
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give the corrected form of a call. What came is kept beside it; `release` lets it in.

    Exit code 1 where nothing waits under this number. Example: [bold]sojourn quarantine mend 12 --json-file call.json[/]
    """
    from engine.api.errors import Refusal
    from engine.api.releasing import mend as mended
    from engine.delivery.deployments import Deployments

    located = locate(project, data, lenient=True)
    try:
        text = typer.get_binary_stream("stdin").read() if str(json_file) == "-" else json_file.read_bytes()
        wrong = located.on_database(lambda database: mended(database, Deployments(), number, text, actor()))
    except OSError as unreadable:
        if unreadable.filename != str(json_file):
            raise
        raise Failure(f"{json_file} can't be read: {unreadable.strerror}") from None
    except Refusal as refusal:
        raise Failure(f"{refusal.message}; nothing was changed", refusal.hint) from None
    except LookupError:
        raise Failure(f"no call waits under {number}", LISTED, Code.NO) from None
    if as_json:
        print_json({"mended": number, "still": wrong or None})
    else:
        out.print(f"mended {number}: `sojourn quarantine release {number}` lets it in", markup=False)
        if wrong:
            out.print(f"  as things are it would stay: {wrong}", style="yellow", markup=False, soft_wrap=True)


@quarantine.command()
def release(
    numbers: NumbersArgument = None,
    project: ProjectOption = HERE,
    source: SourceOption = None,
    reason: ReasonOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let calls in through the door, mended or because what they need is declared now. Releasing twice changes nothing.

    What still can't be taken stays, with the reason. Exit code 1 where something stays, or nothing waits.
    Example: [bold]sojourn quarantine release 12[/]
    """
    from engine.api.releasing import Released
    from engine.api.releasing import release as let_in
    from engine.delivery.deployments import Deployments

    located = locate(project, data, lenient=True)
    ids = _chosen(located, numbers, source, reason, "release", dry_run=dry_run, yes=yes, as_json=as_json)
    whole = Released()
    if not dry_run:
        deployments, who = Deployments(), actor()

        async def act(database: Database) -> None:
            for batch in in_batches(ids, BATCH, "releasing"):
                part = await let_in(database, deployments, batch, who)
                whole.taken += part.taken
                whole.known += part.known
                whole.still |= part.still

        if ids:
            located.on_database(act)
        _tell_released(whole, as_json=as_json)
    elif as_json:
        print_json({"released": ids, "dry_run": True})
    raise typer.Exit(Code.FINE if ids and not whole.still else Code.NO)


def _tell_released(whole: Any, *, as_json: bool) -> None:
    if as_json:
        still = [{"id": i, "reason": why} for i, why in sorted(whole.still.items())]
        print_json({"released": whole.taken, "known": whole.known, "still": still, "dry_run": False})
        return
    if whole.taken or whole.known:
        before = f", {len(whole.known)} of them taken in before" if whole.known else ""
        out.print(f"released {len(whole.taken) + len(whole.known)}{before}", markup=False)
    for number, why in sorted(whole.still.items())[:SHOWN]:
        out.print(f"{number} stays: {why}", style="yellow", markup=False, soft_wrap=True)
    if len(whole.still) > SHOWN:
        out.print(f"… and {len(whole.still) - SHOWN} more stay", style="dim")


@quarantine.command()
def drop(
    numbers: NumbersArgument = None,
    project: ProjectOption = HERE,
    source: SourceOption = None,
    reason: ReasonOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Throw calls away for good, with what they hold.

    Exit code 1 where nothing waits. Example: [bold]sojourn quarantine drop --source website --reason "userId" --yes[/]
    """
    from engine.api.releasing import drop as throw_away

    located = locate(project, data, lenient=True)
    ids = _chosen(located, numbers, source, reason, "drop", dry_run=dry_run, yes=yes, as_json=as_json)
    if ids and not dry_run:
        who = actor()

        async def act(database: Database) -> list[int]:
            return [i for batch in in_batches(ids, BATCH, "dropping") for i in await throw_away(database, batch, who)]

        ids = located.on_database(act)
        if not as_json:
            out.print(f"dropped {len(ids)}", markup=False)
    if as_json:
        print_json({"dropped": ids, "dry_run": dry_run})
    raise typer.Exit(Code.FINE if ids else Code.NO)


def _chosen(
    located: Located,
    numbers: Sequence[int] | None,
    source: str | None,
    reason: str | None,
    verb: str,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> list[int]:
    """The numbers of what waits and is meant, in the order in which it came; a choice is shown and asked about."""
    if bool(numbers) == bool(source or reason):
        raise Failure("say which: numbers, or --source and --reason", LISTED)
    found = _listing(located, source=source, reason=reason, ids=numbers)
    ids = sorted(r.id for r in found)
    if not as_json:
        if not ids:
            out.print("nothing of it waits", style="dim")
        elif not numbers or dry_run:
            show_rows(found[:SHOWN])
            if len(found) > SHOWN:
                out.print(f"… and {len(found) - SHOWN} more", style="dim")
        if dry_run and ids:
            out.print(f"would {verb} {len(ids)}; nothing was changed", markup=False)
    if ids and not dry_run and not asked(f"{verb.capitalize()} {len(ids)}?", yes=yes or bool(numbers)):
        raise typer.Exit(Code.NO)
    return ids


def _listing(located: Located, **wanted: Any) -> Sequence[Row[Any]]:
    """Rows of `store.quarantine.listing`."""
    from engine.store import quarantine as store

    return located.in_transaction(lambda c: store.listing(c, **wanted))
