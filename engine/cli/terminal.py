"""What all commands share: the two consoles, the exit codes, options that every command has, and `Failure`.

Nothing here imports what is slow to import, so that `--help` answers at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
from rich.table import Table

T = TypeVar("T")


class Telling(Protocol):
    """What an act did, or would do."""

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        ...


Told = TypeVar("Told", bound=Telling)


class Code(IntEnum):
    """Exit codes, as docs/cli.md explains them."""

    FINE = 0
    NO = 1
    USAGE = 2
    UNREACHABLE = 3
    BUG = 70
    INTERRUPTED = 130


class Failure(Exception):
    """A command can't do what it was asked: one line for people, a hint for the next step, and the exit code."""

    def __init__(self, message: str, hint: str = "", code: Code = Code.USAGE) -> None:
        self.message, self.hint, self.code = message, hint, code
        super().__init__(message)


def path_reader(name: str, what: str) -> Callable[[str | Path], Path]:
    """Reads the path that `name` gives: `what` it is, with its article. An empty text (as an unset variable of the shell is one)
    raises Failure: as a path it would be the current folder, which nobody has named."""

    def read(text: str | Path) -> Path:
        if not str(text).strip():
            raise Failure(f"{name} is empty", f"name {what}" + ("; `.` is the one you are in" if "folder" in what else ""))
        return Path(text)

    return read


def path_option(name: str, metavar: str, help: str, **more: Any) -> Any:
    """An option that names a path: a DIR, a FILE, or a PATH, which is either."""
    what = {"DIR": "a folder", "FILE": "a file"}.get(metavar, "a folder or a file")
    return typer.Option(name, metavar=metavar, help=help, parser=path_reader(name, what), **more)


ProjectOption = Annotated[
    Path, path_option("--project", "DIR", "The project's folder: the one with sojourn.yaml.", show_default="here")
]
DataOption = Annotated[
    Path | None,
    path_option("--data", "DIR", "Where `sojourn up` keeps its data.", show_default=".sojourn in the project"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would happen, change nothing.")]
MOST = 10_000_000
"""Rows that one command is asked for at most."""
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=MOST, metavar="N", help="At most this many, the newest first.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Don't ask.")]

HERE = Path()
UNFOLDED = 100_000
"""Columns of something that isn't a terminal."""

out = Console(highlight=False, emoji=False)
"""What was asked for."""
err = Console(highlight=False, emoji=False, stderr=True)
"""What went wrong, and how far long work has come."""


def say(message: str, hint: str = "", *, style: str = "red") -> None:
    """One line about what went wrong, and one about what to do, to standard error."""
    err.print(message, style=style, markup=False, soft_wrap=True)
    if hint:
        err.print(hint, markup=False, soft_wrap=True)


def show_table(*forms: Table) -> None:
    """A table on standard output, in the first of its forms that a terminal has room for. Where it has room for none, and where
    something else reads it, the first form with each row on one line: nothing is folded or cut."""
    unfolded = Console(file=out.file, highlight=False, emoji=False, width=UNFOLDED, height=UNFOLDED)
    for table in forms if out.is_terminal else ():
        if Measurement.get(unfolded, unfolded.options, table).minimum <= out.width:
            out.print(table)
            return
    unfolded.print(forms[0], crop=False)


def print_json(value: Any) -> None:
    """`value` as indented JSON on standard output, nothing else."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def asked(question: str, *, yes: bool) -> bool:
    """Whether to go on: `yes`, or a person at a terminal says so. Raises Failure where nobody can be asked."""
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failure("nobody is here to be asked", "add --yes to go on without asking, or --dry-run to look only")
    return typer.confirm(question)


def bars(*columns: ProgressColumn) -> Progress:
    """Progress bars on standard error that go when the work is done; nothing at all where nobody watches."""
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


def in_batches(items: Sequence[T], size: int, what: str) -> Iterable[Sequence[T]]:
    """`items` in batches, with a progress bar on standard error where there are several."""
    if len(items) <= size:
        if items:
            yield items
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn())
    with bars(*columns) as progress:
        bar = progress.add_task(what, total=len(items))
        for i in range(0, len(items), size):
            batch = items[i : i + size]
            yield batch
            progress.advance(bar, len(batch))


def look_and_act(
    act: Callable[[bool], Told], tell: Callable[[Told, bool], None], question: str, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Show what would happen, ask, do it, say what was done. `act` is told whether to look only, and `tell`, which says to people
    what came of it, whether it was only looked."""

    def run(look: bool) -> None:
        done = act(look)
        if as_json:
            print_json({**done.to_json(), "dry_run": look})
        else:
            tell(done, look)

    if dry_run or not (yes or as_json):
        run(True)
        if dry_run:
            if not as_json:
                out.print("nothing was changed", style="dim")
            return
    if not asked(question, yes=yes):
        raise typer.Exit(Code.NO)
    run(False)


def customer_named(number: int, name: str) -> str:
    """A customer by number, with the name by which somebody has asked for them: no more of theirs than was typed."""
    return f"customer {number} ({name})"


def as_shown(name: str, found: object, shown: object, undone: str) -> None:
    """Raise Failure where `name` leads to somebody else than a moment before, when it was shown what would happen (None: it
    wasn't)."""
    if shown is not None and found != shown:
        raise Failure(f"{name} is another customer now, {found}; {undone}", "look again", Code.NO)


def read_since(text: str | None) -> datetime | None:
    """The moment that --since names, in UTC unless it has an offset. Raises Failure where it names none."""
    from engine.insight.asked import BadMoment, read_moment

    try:
        moment = None if text is None else read_moment(text)
    except BadMoment as bad:
        raise Failure(f"--since: {bad}", "write it as 2026-03-02, or with its offset: 2026-03-02T10:00+01:00") from None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
