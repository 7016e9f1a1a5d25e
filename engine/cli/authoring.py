"""Commands for people who write journeys: `init`, `validate`, `graph`, `schema`. They read files and touch no server.

What `init` writes stands in `starter/` beside this module, file by file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from engine.cli.located import compile_project, locate
from engine.cli.terminal import HERE, Code, Failure, JsonOption, ProjectOption, err, out, path_option, path_reader, print_json

if TYPE_CHECKING:
    from engine.settings.problems import Problem

STARTER = Path(__file__).parent / "starter"
RENAMED = {"gitignore": ".gitignore"}
"""Files whose real name would mean something already where they stand."""


def init(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Where to make it; the folder may exist, and be empty.", parser=path_reader("DIR", "a folder")
        ),
    ],
) -> None:
    """Make a project that runs: one journey, its policy, templates and tests.

    Example: [bold]sojourn init shop && cd shop && sojourn up[/]
    """
    files = dict(_starter(folder.resolve().name or "project"))
    there = sorted(name for name in files if (folder / name).exists())
    if there:
        raise Failure(f"{folder} holds {there[0]} already", "choose another folder: init replaces nothing")
    try:
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as wrong:
        raise Failure(f"{folder} can't be written: {wrong.strerror}") from None
    for name in sorted(files):
        out.print(f"  {folder / name}", style="dim", markup=False)
    out.print(f"\nA project that runs. Next:\n\n  cd {folder}\n  sojourn up\n", markup=False)
    out.print(
        "and in another terminal there:\n\n  sojourn identify ada email=ada@example.com first_name=Ada\n"
        "  sojourn track ada signed_up\n  sojourn why ada\n",
        markup=False,
    )


def _starter(name: str) -> Iterator[tuple[str, str]]:
    """The starter's files: path in the project, text with the project's name in it."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "project"
    for path in sorted(STARTER.rglob("*")):
        if path.is_file():
            inside = path.relative_to(STARTER).as_posix()
            yield RENAMED.get(inside, inside), path.read_text(encoding="utf-8").replace("PROJECT", plain)


def validate(
    project: ProjectOption = HERE,
    notes: Annotated[bool, typer.Option("--notes", help="Also print which events each exit, goal and wait matches.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every file of a project and print all problems at once.

    Exit code 1 where something is wrong. Example: [bold]sojourn validate --project shop --notes[/]
    """
    from engine.authoring.project import AuthoringError, journey_files
    from engine.settings.problems import errors
    from engine.settings.project import SettingsError

    problems: list[Problem]
    said: list[str] = []
    journeys = len(journey_files(project / "journeys"))
    try:
        compiled = compile_project(locate(project, lenient=True))
        problems, said = list(compiled.problems), compiled.notes
    except (AuthoringError, SettingsError) as wrong:
        problems = wrong.problems
    bad = errors(problems)
    if as_json:
        print_json({"ok": not bad, "journeys": journeys, "problems": [p.to_json() for p in problems], "notes": said})
    else:
        if notes:
            for note in said:
                out.print(f"  {note}", style="dim", markup=False, soft_wrap=not out.is_terminal)
        show_problems(problems)
        if not bad:
            warned = count(len(problems), "warning") if problems else "no problems"
            out.print(f"{count(journeys, 'journey')}: {warned}")
    raise typer.Exit(Code.NO if bad else Code.FINE)


def show_problems(problems: Iterable[Problem]) -> None:
    """Each problem at its place, underlined, then how many there are; to standard error."""
    found = list(problems)
    for problem in found:
        first, *rest = problem.render().split("\n")
        where, level, message = _parts(first, problem)
        err.print(
            Text.assemble((where, "bold"), (level, "red" if problem.level == "error" else "yellow"), message), soft_wrap=True
        )
        for line in rest:
            err.print(Text(line, "red" if set(line.strip()) == {"^"} else "dim"), soft_wrap=True)
        err.print()
    bad = sum(p.level == "error" for p in found)
    if bad:
        more = f", {count(len(found) - bad, 'warning')}" if len(found) > bad else ""
        err.print(f"{count(bad, 'error')}{more}; docs/problems.md explains each code", style="red")


def _parts(line: str, problem: Problem) -> tuple[str, str, str]:
    """A problem's first line in three: where, level and code, message."""
    mark = f"{problem.level} {problem.code}"
    where, _, message = line.partition(mark)
    return where, mark, message


def count(n: int, what: str) -> str:
    """ "1 journey", "3 journeys"."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def graph(
    journey: Annotated[str, typer.Argument(metavar="JOURNEY", help="The journey's name.")], project: ProjectOption = HERE
) -> None:
    """Print a journey as a Mermaid flowchart.

    Example: [bold]sojourn graph welcome > welcome.mmd[/]
    """
    from engine.authoring.graph import mermaid
    from engine.settings.problems import nearest

    plans = compile_project(locate(project, lenient=True)).plans
    if journey not in plans:
        raise Failure(f"there is no journey {journey!r}", nearest(journey, plans))
    typer.echo(mermaid(plans[journey]), nl=False)


def schema(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="journey, policy, calendar, segments, tracking or tests; without it, all."),
    ] = None,
    folder: Annotated[Path | None, path_option("--out", "DIR", "Write NAME.schema.json files there instead of printing.")] = None,
) -> None:
    """Print the JSON Schemas of the language, for editors.

    Example: [bold]sojourn schema --out .schemas[/]
    """
    from engine.authoring.project import schemas
    from engine.settings.problems import nearest

    found = schemas()
    if name is not None and name not in found:
        raise Failure(f"there is no schema {name!r}", nearest(name, found))
    wanted = {n: s for n, s in found.items() if name in (None, n)}
    if folder is None:
        print_json(wanted if name is None else wanted[name])
        return
    import json

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one, body in wanted.items():
            (folder / f"{one}.schema.json").write_text(json.dumps(body, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            out.print(f"  {folder / f'{one}.schema.json'}", style="dim", markup=False)
    except OSError as wrong:
        raise Failure(f"{folder} can't be written: {wrong.strerror}") from None
