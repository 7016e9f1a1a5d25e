"""`sojourn demo`: play real customers through the journeys and show what became of them. Only options, progress and the end's
exit code belong here; `app.demo` plays, `demo_words` and `demo_shown` tell.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from engine.cli.terminal import HERE, Code, Failure, JsonOption, ProjectOption, err, out, print_json

if TYPE_CHECKING:
    from engine.app.demo import Tell

TITLES = {
    "servers": "PostgreSQL and Temporal",
    "migrate": "the database's tables",
    "deploy": "the journeys",
    "import": "six weeks of history",
    "live": "the live days",
    "settle": "what still waits",
}
LOG_LINES = 20


def demo(
    project: ProjectOption = HERE,
    households: Annotated[int, typer.Option(min=1, metavar="N", help="How many customers, spread over the sample.")] = 100,
    days: Annotated[int, typer.Option(min=1, max=14, metavar="N", help="How many days are played live.")] = 14,
    pace: Annotated[float, typer.Option(min=1.0, metavar="SECONDS", help="Real time for one live day.")] = 3.6,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder with letters, logs and data.")] = False,
    json: JsonOption = False,
) -> None:
    """Play two weeks of real customers through the journeys, with real servers and real e-mail, in about a minute.

    Everything happens on this machine and in a temporary folder. Example: [bold]sojourn demo --keep[/]
    """
    from engine.app.demo import DemoError, Options, demo_folder, played
    from engine.app.demo_api import RefusedCall
    from engine.app.demo_mailbox import MailboxError
    from engine.app.demo_sample import SampleError
    from engine.cli.demo_shown import figures, show
    from engine.observe import logs

    began = time.monotonic()
    with demo_folder(keep) as folder:
        log = folder / "log"
        logs.configure({logs.VARIABLE: "console"}, log.open("a"))
        options = Options(project, folder, households, days, pace, os.environ)
        try:
            with _progress() as tell, played(options, tell) as demo:
                pass
        except (SampleError, MailboxError) as cannot:
            raise Failure(str(cannot)) from None
        except (DemoError, RefusedCall) as failed:
            _show_log(log)
            raise Failure(str(failed), code=Code.NO) from failed
        if json:
            print_json(figures(demo))
        else:
            show(out, demo, time.monotonic() - began, keep)
        if not demo.outcome.ok:
            _show_log(log)
            raise Failure("not everything is as it must be: see the checks that failed", code=Code.NO)


@contextlib.contextmanager
def _progress() -> Iterator[Tell]:
    """Bars where somebody watches, a line for each phase where nobody does; on standard error both."""
    if not err.is_terminal:
        yield _Lines().tell
        return
    columns = (
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description}", justify="left"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[told]}", style="dim"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def tell(phase: str, done: float, total: float) -> None:
            if phase not in bars:
                bars[phase] = progress.add_task(TITLES[phase], total=total or 1, told="")
            progress.update(bars[phase], completed=done if total else 1, told=_told(phase, done, total))

        yield tell


class _Lines:
    """Progress for a log: one line when a phase is over."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.over: set[str] = set()

    def tell(self, phase: str, done: float, total: float) -> None:
        began = self.began.setdefault(phase, time.monotonic())
        if done >= total and phase not in self.over:
            self.over.add(phase)
            told = _told(phase, done, total)
            seconds = f"{time.monotonic() - began:.1f} s"
            err.print(f"  {TITLES[phase]:<24} {seconds:>7}  {told}".rstrip(), markup=False)


def _told(phase: str, done: float, total: float) -> str:
    if phase == "import":
        return f"{done:.0f} of {total:.0f} events"
    if phase == "live":
        return f"day {min(int(done) + 1, int(total))} of {total:.0f}"
    return ""


def _show_log(log: Path) -> None:
    """The last that was logged, before the folder goes."""
    for line in log.read_text(errors="replace").splitlines()[-LOG_LINES:]:
        err.print(line, style="dim", markup=False, soft_wrap=True)
