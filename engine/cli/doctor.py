"""The command `doctor`: what is wrong here, and what to do about it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from engine.cli.located import Located, locate, stand_in
from engine.cli.terminal import HERE, Code, DataOption, Failure, JsonOption, ProjectOption, err, out, print_json

if TYPE_CHECKING:
    from engine.app.doctor.finding import Finding, Patient

STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    channel: Annotated[str | None, typer.Option("--channel", metavar="NAME", help="Look at one channel only.")] = None,
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check the database, Temporal, workers, chores, channels and their senders' DNS, and say what to do.

    Changes nothing and sends nothing. Exit code 1 where a check fails; a warning is none.
    Example: [bold]sojourn doctor --channel email[/]
    """
    located = locate(project, data, lenient=True)
    stand_in(located.folder)
    named = located.settings.channels
    if channel is not None and channel not in named:
        raise Failure(f"sojourn.yaml has no channel {channel!r}", f"it has {', '.join(sorted(named)) or 'none'}")
    found = asyncio.run(_all(_patient(located), channel, as_json))
    if as_json:
        print_json({"ok": all(f.status != "fail" for f in found), "checks": [asdict(f) for f in found]})
    else:
        counts = {status: sum(f.status == status for f in found) for status in STYLES}
        out.print(f"{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failures", style="dim")
    raise typer.Exit(Code.NO if any(f.status == "fail" for f in found) else Code.FINE)


async def _all(patient: Patient, channel: str | None, as_json: bool) -> list[Finding]:
    from engine.app.doctor.visit import visit

    found = []
    with err.status("looking …"):  # a spinner, where somebody watches
        async for one in visit(patient, channel):
            found.append(one)
            if not as_json:
                _show(one)
    return found


def _show(one: Finding) -> None:
    line = Text.assemble((f"{one.status:<4}", STYLES[one.status]), "  ", (one.check, "bold"), f"  {one.says}")
    out.print(line, soft_wrap=True)
    if one.do:
        out.print(Text(f"      {one.do}"), soft_wrap=True)


def _patient(located: Located) -> Patient:
    from engine.app.doctor.finding import Patient
    from engine.app.doctor.mail import Resolver

    settings, running = located.settings, located.running
    embedded = running is not None and settings.database_url is None
    return Patient(
        settings,
        located.folder,
        located.data,
        settings.database_url or (running.database_url if running else None),
        settings.temporal_address or (running.temporal_address if running else None),
        Resolver(),
        located.problems,
        embedded,
    )
