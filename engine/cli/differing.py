"""The command `diff`: what differs between two versions of a project, in words and in the messages that people would get."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.cli.authoring import count, show_problems
from engine.cli.forecasting import EventsOption, StoreOption, play_file, play_store
from engine.cli.importing import progress
from engine.cli.located import Located, locate
from engine.cli.terminal import HERE, Code, DataOption, Failure, JsonOption, ProjectOption, out, print_json

if TYPE_CHECKING:
    from engine.app.comparing import Change
    from engine.app.differing import ProjectChanges
    from engine.app.simulating import Span
    from engine.app.versions import Stranded
    from engine.authoring.project import Compiled

DEPLOYED = "deployed"
NAMED = 1000
"""Of those who would be stranded."""


@dataclass(frozen=True, slots=True)
class Messages:
    """What was played to both, and the messages that differ; `same`: how many don't, by (journey, step)."""

    span: Span
    changes: list[Change]
    same: Counter[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Diff:
    """Everything that was found. `messages` None: nothing was played; `stranded` None: it wasn't looked who is inside."""

    old: str
    new: str
    project: ProjectChanges
    messages: Messages | None
    stranded: Stranded | None

    def __bool__(self) -> bool:
        return bool(self.project or (self.messages and self.messages.changes))

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        from engine.app.comparing import by_customer, totals

        messages = None
        if self.messages is not None:
            changes = self.messages.changes
            messages = {
                "played": self.messages.span.to_json(),
                "totals": totals(changes, self.messages.same),
                "customers": by_customer(changes),
                "changes": [c.to_json() for c in changes],
            }
        inside = None if self.stranded is None else self.stranded.to_json()
        return {"old": self.old, "new": self.new, **self.project.to_json(), "messages": messages, "stranded": inside}


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A project's folder, a git revision (git:main), or deployed.")],
    new: Annotated[
        str | None, typer.Argument(metavar="[NEW]", help="The same; without it, the project's folder as it is now.")
    ] = None,
    project: ProjectOption = HERE,
    events: EventsOption = None,
    from_store: StoreOption = None,
    inside: Annotated[
        bool | None,
        typer.Option(
            "--inside/--no-inside",
            help="Whether to look in the database who would be stranded.",
            show_default="where there is a database",
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a comment for a pull request.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what changes between two versions: steps, policy, templates, every message added, lost or moved, who is stranded.

    Exit code 1 where something differs. Example: [bold]sojourn diff git:main --from-store 90d --markdown > comment.md[/]
    """
    from engine.app.differing import project_changes
    from engine.cli.diff_shown import draw, write_markdown

    if events is not None and from_store is not None:
        raise Failure(
            "--events and --from-store exclude each other", "one says what happened, the other takes it from the database"
        )
    if markdown and as_json:
        raise Failure("--markdown and --json exclude each other", "choose one")
    located = locate(project, data, lenient=True)
    names = (old, str(project) if new is None else new)
    versions = _version(located, names[0]), _version(located, names[1])
    messages = _messages(located, versions, events, from_store)
    found = Diff(*names, project_changes(*versions), messages, _stranded(located, versions[1], wanted=inside))
    if as_json:
        print_json(found.to_json())
    elif markdown:
        typer.echo(write_markdown(found), nl=False)
    else:
        out.print(draw(found), soft_wrap=True)
    raise typer.Exit(Code.NO if found else Code.FINE)


def _version(located: Located, name: str) -> Compiled:
    """The version that is called so. Raises Failure."""
    from engine.app.versions import GIT, NoVersion, deployed, of_revision
    from engine.authoring.project import AuthoringError
    from engine.settings.problems import errors

    if not name.strip():
        raise Failure("the name of a version is empty", "name a folder, `deployed` or a git revision; `.` is this folder")
    try:
        if name == DEPLOYED:
            return located.in_transaction(deployed)
        if Path(name).is_dir():
            return _read(Path(name))
        return of_revision(located.folder, name.removeprefix(GIT), _read)
    except NoVersion as none:
        raise Failure(f"{name}: {none.message}", none.hint) from None
    except AuthoringError as wrong:
        show_problems(wrong.problems)
        raise Failure(f"{name} doesn't compile: {count(len(errors(wrong.problems)), 'error')}", "mend it first") from None


def _read(folder: Path) -> Compiled:
    """Raises AuthoringError, SettingsError."""
    from engine.authoring.project import load_project

    return load_project(folder, locate(folder, lenient=True).settings.channels)


def _messages(
    located: Located, versions: tuple[Compiled, Compiled], events: Path | None, from_store: str | None
) -> Messages | None:
    """Of both played to the same events, where there are some."""
    if events is None and from_store is None:
        return None
    from engine.app.comparing import Compared
    from engine.app.offline import addresses_of
    from engine.app.simulating import Part

    compared = Compared()
    where = addresses_of(located.settings)
    parts = [Part(version, None, compared.tell(side), where) for side, version in enumerate(versions)]
    with progress("comparing") as tell:
        span = play_file(events, parts, tell) if events is not None else play_store(located, str(from_store), parts, tell)
    return Messages(span, compared.changes(), compared.same)


def _stranded(located: Located, new: Compiled, *, wanted: bool | None) -> Stranded | None:
    """Who would be stranded; None where nobody asks, or there is no database to ask."""
    from engine.app.versions import stranded

    there = located.settings.database_url is not None or located.running is not None
    if not (there if wanted is None else wanted):
        return None
    return located.in_transaction(lambda c: stranded(c, new.plans, NAMED))
