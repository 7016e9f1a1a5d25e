"""The command `sojourn`: every command is registered here, every error ends here, and so does the process.

Commands live in the modules beside this one, import what they need when they run, and raise; only `main` turns what they
raise into one line and an exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from engine.app.ending import end_process
from engine.cli.asking import why
from engine.cli.auditing import audit
from engine.cli.authoring import graph, init, schema, show_problems, validate
from engine.cli.deploying import deploy, migrate
from engine.cli.operating import enrollments, retry, stop
from engine.cli.running import api, up, worker
from engine.cli.telling import identify, track
from engine.cli.terminal import Code, Failure, err, say

app = typer.Typer(
    name="sojourn",
    help="Lifecycle journeys that obey caps, consent and the message hierarchy.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine · 1 no, or problems found · 2 wrong usage or input · 3 a server can't be reached.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            sys.stdout.write(f"sojourn {version('sojourn')}\n")
        except PackageNotFoundError:
            sys.stdout.write("sojourn, from a folder where it isn't installed\n")
        raise typer.Exit


@app.callback()
def everywhere(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Lifecycle journeys that obey caps, consent and the message hierarchy."""


for _group, _commands in (
    ("Write", (init, validate, graph, schema)),
    ("Run", (up, deploy, migrate, worker, api)),
    ("Ask", (why, enrollments, audit)),
    ("Act", (track, identify, retry, stop)),
):
    for _command in _commands:
        app.command(rich_help_panel=_group)(_command)

if importlib.util.find_spec("engine.cli.demo") is not None:
    app.command(rich_help_panel="Run")(importlib.import_module("engine.cli.demo").demo)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line (without `arguments`: the process's own) and end the process with its exit code."""
    end_process(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code. Errors are told on standard error."""
    try:
        app(prog_name="sojourn", args=list(arguments) if arguments is not None else None)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(Code.FINE if ended.code is None else Code.USAGE)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return Code.INTERRUPTED
    except BrokenPipeError:
        return _pipe_closed()
    except Failure as failure:
        say(failure.message, failure.hint)
        return failure.code
    except Exception as error:  # noqa: BLE001 - the one place where every error becomes a line and an exit code
        return _tell(error)
    return Code.FINE


def _pipe_closed() -> int:
    """Whoever read our output has gone, as in `sojourn … | head`: no reason to complain."""
    with contextlib.suppress(OSError):
        sys.stdout.close()
    return Code.FINE


def _tell(error: Exception) -> int:
    """Say what an error of the floors below means; the exit code."""
    from psycopg import OperationalError as PsycopgError
    from sqlalchemy.exc import InterfaceError, OperationalError
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    from engine.app.processes import ServerError
    from engine.authoring.project import AuthoringError
    from engine.delivery.channel import ChannelError
    from engine.delivery.deployment import NothingDeployed
    from engine.settings.project import SettingsError
    from engine.store.clock import ScaleChanged
    from engine.store.schema import SchemaError
    from engine.store.trouble import in_a_line
    from engine.temporal.client import Unreachable
    from engine.temporal.codec import CodecError

    match error:
        case AuthoringError() | SettingsError():
            show_problems(error.problems)
            return Code.NO if isinstance(error, AuthoringError) else Code.USAGE
        case NothingDeployed():
            say(str(error))
            return Code.NO
        case ChannelError() | ScaleChanged() | CodecError():
            say(str(error))
            return Code.USAGE
        case SchemaError() | ServerError() | Unreachable():
            say(str(error))
            return Code.UNREACHABLE
        case OperationalError() | InterfaceError() | PsycopgError() | PoolTimeout():
            say(f"the database can't be reached: {in_a_line(error)}")
            return Code.UNREACHABLE
    err.print("".join(traceback.format_exception(error)), markup=False, soft_wrap=True)
    say("this is a bug in Sojourn: please report it with the lines above")
    return Code.BUG
