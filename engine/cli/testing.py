"""The command `test`: the project's own tests, on the simulator or on the real engine. `app.testing` plays them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.text import Text

from engine.cli.authoring import count
from engine.cli.located import compile_project, locate
from engine.cli.terminal import (
    HERE,
    Code,
    Failure,
    JsonOption,
    ProjectOption,
    bars,
    out,
    path_option,
    path_reader,
    print_json,
    say,
)

if TYPE_CHECKING:
    from engine.app.testing.covering import Cover
    from engine.app.testing.playing import Result
    from engine.authoring.project import Compiled


class Engine(StrEnum):
    """What plays the tests."""

    SIMULATOR = "simulator"
    TEMPORAL = "temporal"


def _named(text: str) -> str:
    """What is to be run, as typed. Raises Failure for an empty text."""
    path_reader("PATH", "a test file, a folder of them or a journey")(text)
    return text


def test(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH|JOURNEY",
            help="Test files, folders of them, or journeys; without any, all.",
            parser=_named,
            show_default=False,
        ),
    ] = None,
    text: Annotated[str, typer.Option("-k", "--title", metavar="TEXT", help="Only tests whose title has this in it.")] = "",
    engine: Annotated[
        Engine, typer.Option("--engine", help="The simulator, or real servers whose time is moved.")
    ] = Engine.SIMULATOR,
    first: Annotated[bool, typer.Option("-x", "--first", help="Stop at the first test that fails.")] = False,
    cover: Annotated[bool, typer.Option("--cover", help="Also name the steps and ways that no test passes.")] = False,
    at_least: Annotated[
        str | None,
        typer.Option("--at-least", metavar="PERCENT", help="As --cover; 1 where less than this is passed.", show_default=False),
    ] = None,
    report: Annotated[Path | None, path_option("--junit", "FILE", "Also write JUnit XML there, for CI.")] = None,
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Run the tests that stand next to the journeys, in journeys/tests/.

    Exit code 1 where one fails, or too little is covered. Example: [bold]sojourn test welcome -k nudged --cover[/]
    """
    from engine.app.offline import addresses_of
    from engine.app.testing.chosen import NoSuchTest, choose
    from engine.app.testing.playing import play

    least = _percent(at_least)
    if (cover or least is not None) and engine is not Engine.SIMULATOR:
        raise Failure("what tests cover is seen on the simulator only", "leave --engine temporal out, or --cover")

    located = locate(project, lenient=True)
    compiled = compile_project(located)
    try:
        chosen = choose(compiled, located.folder, names or (), text)
    except NoSuchTest as nothing:
        raise Failure(nothing.message, nothing.hint) from None
    results: list[Result] = []
    began = time.monotonic()
    if engine is Engine.SIMULATOR:
        on_engine = play
    else:
        from engine.app.testing.for_real import play_for_real as on_engine
    with (
        bars(TextColumn("tests"), BarColumn(), MofNCompleteColumn()) as progress,
        closing(on_engine(compiled, chosen, addresses_of(located.settings))) as coming,
    ):
        bar = progress.add_task("tests", total=len(chosen))
        for result in coming:
            results.append(result)
            progress.advance(bar)
            if not as_json:
                _show(result)
            if first and not result.passed:
                break
    seconds = time.monotonic() - began
    if report is not None:
        _write(report, results)
    covers = _covers(compiled, results) if cover or least is not None else []
    if as_json:
        told = {"engine": engine.value, "seconds": round(seconds, 3), "not_run": len(chosen) - len(results), **_told(results)}
        print_json({**told, "cover": _told_cover(covers)} if cover or least is not None else told)
    else:
        for result in results:
            if not result.passed:
                _show_failure(result)
        _show_counts(results, len(chosen) - len(results), f"in {seconds:.1f} s ({engine.value})")
        if covers:
            _show_cover(covers)
    short = least is not None and 100 * _share(covers) < least
    if short:
        say(f"the tests pass {_shown(_share(covers))} of what can happen, and {at_least} was asked for")
    raise typer.Exit(Code.FINE if all(r.passed for r in results) and not short else Code.NO)


def _show_counts(results: list[Result], left: int, how: str) -> None:
    """How many passed and failed."""
    failed = sum(not r.passed for r in results)
    parts = [f"{count(len(results) - failed, 'test')} passed"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{left} not run"] if left else []
    out.print(f"{', '.join(parts)} {how}", style="red" if failed else "green", markup=False)


def _percent(text: str | None) -> float | None:
    """What --at-least says. Raises Failure."""
    if text is None:
        return None
    try:
        found = float(text.removesuffix("%"))
    except ValueError:
        found = -1.0
    if not 0 <= found <= 100:
        raise Failure(f"--at-least: {text!r} is no percentage", "write it as 80%")
    return found


def _covers(compiled: Compiled, results: list[Result]) -> list[Cover]:
    """Of the journeys that the tests run."""
    from engine.app.testing.covering import covered

    names = sorted({name for r in results for name in r.chosen.journeys})
    return covered({name: compiled.plans[name] for name in names}, [t for r in results for t in r.told])


def _show_cover(covers: list[Cover]) -> None:
    """A line for each journey, and below it what of it no test passes."""
    out.print(f"\nThe tests pass {_shown(_share(covers))} of what can happen:", markup=False)
    for one in covers:
        style = "yellow" if one.missed else "dim"
        out.print(f"  {_shown(one.share):>4}  {one.journey}", style=style, markup=False)
        for step, ways in one.by_step().items():
            for way in ways or ["no test gets here"]:
                out.print(f"          {step}: {way}", style="dim", markup=False, soft_wrap=True)


def _share(covers: list[Cover]) -> float:
    from engine.app.testing.covering import share

    return share(covers)


def _shown(part: float) -> str:
    """A share in whole percent; never 100% where something is missing."""
    return f"{int(100 * part)}%"


def _told_cover(covers: list[Cover]) -> dict[str, Any]:
    """For machines."""
    return {
        "share": round(_share(covers), 4),
        "journeys": {
            c.journey: {
                "share": round(c.share, 4),
                "missed": [{"step": way.step, "way": way.words or "no test gets here"} for way in c.missed],
            }
            for c in covers
        },
    }


def _show(result: Result) -> None:
    """One line for a test."""
    mark, style = ("✓", "green") if result.passed else ("✗", "red")
    c = result.chosen
    where = f"{c.file}:{c.line}"
    out.print(
        Text.assemble((mark, style), f" {c.test.test}  ", (where, "dim"), (f"  {result.seconds:.2f} s", "dim")), soft_wrap=True
    )


def _show_failure(result: Result) -> None:
    """What was expected beside what happened."""
    from engine.app.testing.showing import WIDTH, shown, summary

    c = result.chosen
    out.print(Text.assemble(("\n✗ ", "red"), (c.test.test, "bold"), f"  {c.file}:{c.line}"), soft_wrap=True)
    if not result.wrong:
        out.print(f"  {summary(result)}", style="red", markup=False)
    for mark, line in shown(result, out.width if out.is_terminal else WIDTH):
        out.print(Text(line, "red" if mark.strip() else ""), soft_wrap=True)
    out.print()


def _write(report: Path, results: list[Result]) -> None:
    from engine.app.testing.junit import junit

    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        junit(results, datetime.now(UTC)).write(report, encoding="utf-8", xml_declaration=True)
    except OSError as wrong:
        raise Failure(f"{report} can't be written: {wrong.strerror}") from None


def _told(results: list[Result]) -> dict[str, Any]:
    """For machines."""
    passed = sum(r.passed for r in results)
    return {
        "passed": passed,
        "failed": len(results) - passed,
        "tests": [
            {
                "file": r.chosen.file,
                "line": r.chosen.line,
                "test": r.chosen.test.test,
                "journeys": list(r.chosen.journeys),
                "passed": r.passed,
                "seconds": round(r.seconds, 3),
                "wrong": r.wrong,
                "rows": [{"says": row.says, "expected": row.expected, "happened": _plain(row.happened)} for row in r.rows],
            }
            for r in results
        ],
    }


def _plain(line: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A line as JSON has it: moments in UTC."""
    if line is None:
        return None
    return {k: v.astimezone(UTC).isoformat() if isinstance(v, datetime) else v for k, v in line.items()}
