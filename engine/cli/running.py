"""Commands that run until they are asked to end: `up`, and its children `worker` and `api`.

`up` is `engine.app.supervise`; here stands only which processes it keeps, and what it does before they start.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from engine.cli.deploying import put_in_force
from engine.cli.located import Located, channel_problems, compile_project, locate, stand_in
from engine.cli.release_shown import unchanged
from engine.cli.terminal import HERE, Code, DataOption, Failure, ProjectOption, err, out

if TYPE_CHECKING:
    from engine.app.supervise import Child, Running

PortOption = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        metavar="N",
        help="Where the API listens; 0: any free port.",
        show_default="api.port in sojourn.yaml",
    ),
]


LaneOption = Annotated[
    Literal["urgent", "bulk"] | None,
    typer.Option("--lane", help="Serve only the tiers that skip caps (urgent), or only the others (bulk).", show_default="both"),
]


def up(
    project: ProjectOption = HERE,
    port: PortOption = None,
    data: DataOption = None,
    deploy: Annotated[bool, typer.Option("--deploy/--no-deploy", help="Deploy the project's journeys at the start.")] = True,
) -> None:
    """Run everything on this machine until Ctrl-C: PostgreSQL, Temporal with its web UI, workers and API.

    Started again it goes on where it was. Example: [bold]sojourn up --port 8700[/]
    """
    from engine.app import supervise
    from engine.app.development import make_keys, wants_keys
    from engine.app.processes import claim_port
    from engine.cli.authoring import show_problems
    from engine.observe import logs
    from engine.settings.project import METRICS_VARIABLE, PUBLIC_VARIABLE
    from engine.temporal.grouping import BOTH

    located = locate(project, data)
    if not any((located.folder / part).exists() for part in ("sojourn.yaml", "journeys")):
        raise Failure(f"there is no project in {located.folder}", "`sojourn init DIR` makes one, --project names one elsewhere")
    settings = located.settings
    if unusable := channel_problems(located):
        show_problems(unusable)
        raise typer.Exit(Code.USAGE)
    keys = make_keys(located.data) if wants_keys(settings) else None
    supervise.sweep(located.data, out)
    listens = claim_port(settings.api.port if port is None else port, "the API")
    url = f"http://{settings.api.host}:{listens}"
    reached = f"http://127.0.0.1:{listens}" if settings.api.host in ("0.0.0.0", "::") else url

    def before(database_url: str) -> None:
        prepare(located, database_url, deploy)

    def children(running: Running) -> Sequence[Child]:
        command = [sys.executable, "-m", "engine.cli"]
        where = ["--project", str(located.folder), "--data", str(located.data)]
        links = {} if settings.api.public_url else {PUBLIC_VARIABLE: reached}
        if out.is_terminal and logs.VARIABLE not in os.environ:
            links[logs.VARIABLE] = "console"  # their logs are shown here
        environ = links | (keys.environ() if keys else {})
        first = settings.metrics.port
        ports = [{METRICS_VARIABLE: str(first + i)} if first else {} for i in range(len(BOTH))]  # a port for each
        return [
            *(
                supervise.Child(f"{lane} worker", [*command, "worker", *where, "--lane", lane], links | port)
                for lane, port in zip(BOTH, ports, strict=True)
            ),
            supervise.Child("api", [*command, "api", *where, "--port", str(listens)], environ, f"{reached}/healthz"),
        ]

    if keys:
        out.print(f"write key  {keys.write_key}\ntoken      {keys.token}", markup=False)
        told = f"for this machine only, as the project names none; kept in {located.data}/keys.json\n"
        out.print(told, style="dim", markup=False, soft_wrap=True)
    code = supervise.up(
        located.data,
        migrate=before,
        children=children,
        console=out,
        database_url=settings.database_url,
        temporal_address=settings.temporal_address,
        api_url=reached,
        exact_timers=settings.time_scale != 1,
    )
    raise typer.Exit(code)


def prepare(located: Located, database_url: str, deploy: bool) -> None:
    """Migrate; then deploy the project if it compiles, and say so either way. What ran before goes on running if it doesn't."""
    from dataclasses import replace

    from pydantic import SecretStr

    from engine.authoring.project import AuthoringError
    from engine.cli.authoring import count, show_problems
    from engine.intake.planning import PastSchedule
    from engine.store.deployments import newest
    from engine.store.schema import migrate

    migrate(database_url)
    if not deploy:
        return
    url = located.settings.database.model_copy(update={"url": SecretStr(database_url)})
    there = replace(located, settings=located.settings.model_copy(update={"database": url}))
    goes_on = "what was deployed before goes on" if there.in_transaction(newest) else "no journey runs until then"
    try:
        compiled = compile_project(located)
    except AuthoringError as wrong:
        show_problems(wrong.problems)
        err.print(f"not deployed: mend this and run `sojourn deploy`; {goes_on}", style="yellow", soft_wrap=True)
        return
    try:
        changes = put_in_force(there, compiled)
    except PastSchedule as over:
        err.print(f"not deployed: {over}; {goes_on}", style="yellow", markup=False, soft_wrap=True)
        return
    if changes.nothing():
        out.print(unchanged(changes), soft_wrap=True)
        return
    done = [f"{c.journey} ({c.kind})" for c in changes.journeys if c.kind != "same"]
    done += [f"{c.journey} (no longer on trial)" for c in changes.journeys if c.kind == "same" and c.was_canary is not None]
    done += [f"{c.journey} (takes people in again)" for c in changes.journeys if c.kind == "same" and c.was_drained]
    done += [f"{name} ({kind})" for name, kind in changes.shared]
    told = ": ".join([f"deployed {count(len(compiled.plans), 'journey')}", *([", ".join(done)] if done else [])])
    out.print(Text(told), soft_wrap=True)


def worker(project: ProjectOption = HERE, data: DataOption = None, lane: LaneOption = None) -> None:
    """Run one worker until SIGTERM or Ctrl-C. Any number may run; `python worker.py` is the same.

    Where some workers serve one lane only, others must serve the other one: else nobody brings its enrollments, and a message of
    it parks after ten minutes.

    It uses SOJOURN_DATABASE_URL and SOJOURN_TEMPORAL_ADDRESS, else what sojourn.yaml names, else the servers of `sojourn up`.
    Example: [bold]SOJOURN_DATABASE_URL=postgresql://… SOJOURN_TEMPORAL_ADDRESS=temporal:7233 sojourn worker[/]
    """
    from engine.app.working import work
    from engine.temporal.grouping import BOTH

    _say_all()
    located = locate(project, data)
    _stand_in(located.folder)
    with _traced("sojourn-worker"):
        work(located.settings, located.database_url, located.temporal_address, _log, BOTH if lane is None else (lane,))


def api(project: ProjectOption = HERE, port: PortOption = None, data: DataOption = None) -> None:
    """Run one API process until SIGTERM or Ctrl-C. Any number may run.

    It finds its servers as `worker` does. Example: [bold]sojourn api --port 8700[/]
    """
    import uvloop

    from engine.app.development import with_keys
    from engine.app.serving import serve

    _say_all()
    located = locate(project, data)
    _stand_in(located.folder)
    settings = with_keys(located.settings, os.environ)
    url, temporal = located.database_url, located.temporal_address
    try:
        with _traced("sojourn-api"):
            uvloop.run(serve(settings, url, temporal, port=port, started=lambda n: _log(f"the API listens on port {n}")))
    except OSError as taken:
        where = f"{settings.api.host}:{settings.api.port if port is None else port}"
        hint = "--port names another, 0 a free one"
        raise Failure(f"the API can't listen on {where}: {taken.strerror}", hint, Code.UNREACHABLE) from None


def _stand_in(folder: Path) -> None:
    """Relative paths in sojourn.yaml count from the project, and adapters of its own are found there, after everything else."""
    os.chdir(folder)
    stand_in(folder)


def _say_all() -> None:
    """Let this process's log go to its standard output. Raises Failure where SOJOURN_LOG is nonsense."""
    from engine.observe import logs

    try:
        logs.configure(os.environ)
    except ValueError as wrong:
        raise Failure(str(wrong)) from None


@contextlib.contextmanager
def _traced(service: str) -> Iterator[None]:
    """Traces, where the environment wants them, while the block runs; what wasn't sent yet is sent at its end."""
    from engine.observe import tracing

    tracing.start(os.environ, service)
    try:
        yield
    finally:
        tracing.finish()


def _log(line: str) -> None:
    logging.getLogger("sojourn.process").info("%s", line)
