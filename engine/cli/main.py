"""The command `sojourn`: every command is registered here, every error ends here, and so does the process.

Commands live in the modules beside this one, import what they need when they run, and raise; only `main` turns what they
raise into one line and an exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
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
from engine.cli.backfilling import backfill, predict
from engine.cli.broadcasting import broadcasts
from engine.cli.channels import channels
from engine.cli.deploying import deploy, migrate
from engine.cli.differing import diff
from engine.cli.doctor import doctor
from engine.cli.enrolled import enrollments
from engine.cli.failing import failures
from engine.cli.forecasting import simulate
from engine.cli.importing import imports
from engine.cli.merging import merge, unmerge
from engine.cli.operating import retry, skip, stop
from engine.cli.pausing import pause, resume
from engine.cli.previewing import preview, send_test
from engine.cli.privacy import erase, export, objection, restrict
from engine.cli.quarantine import quarantine
from engine.cli.recording import log
from engine.cli.releasing import deployments, rollback
from engine.cli.replaying import replay
from engine.cli.resetting import reset
from engine.cli.retention import retention
from engine.cli.rolling import roll
from engine.cli.running import api, up, worker
from engine.cli.showing import show
from engine.cli.sources import sources
from engine.cli.telling import identify, track
from engine.cli.terminal import Code, Failure, err, say
from engine.cli.testing import test
from engine.cli.tokens import token

app = typer.Typer(
    name="sojourn",
    help="Lifecycle journeys that obey caps, consent and the message hierarchy.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 fine · 1 no, or problems found · 2 wrong usage or input · 3 a server can't be reached.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from engine.app.version import version as installed

        found = installed()
        sys.stdout.write(f"sojourn {found}\n" if found else "sojourn, from a folder where it isn't installed\n")
        raise typer.Exit


@app.callback()
def everywhere(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Lifecycle journeys that obey caps, consent and the message hierarchy."""


for _group, _commands in (
    ("Write", (init, validate, test, simulate, diff, graph, schema, preview, send_test)),
    ("Run", (up, deploy, rollback, migrate, worker, api, roll)),
    ("Ask", (why, enrollments, show, failures, deployments, audit, sources, log, replay, doctor)),
    ("Act", (track, identify, retry, skip, pause, resume, stop, reset, broadcasts, channels, merge, unmerge, backfill, predict)),
    ("Privacy", (export, erase, restrict, objection, retention)),
):
    for _command in _commands:
        app.command(rich_help_panel=_group)(_command)

app.add_typer(quarantine, name="quarantine", rich_help_panel="Act")
app.add_typer(token, name="token", rich_help_panel="Privacy")
app.add_typer(imports, name="import", rich_help_panel="Act")

if importlib.util.find_spec("engine.cli.demo") is not None:
    app.command(rich_help_panel="Run")(importlib.import_module("engine.cli.demo").demo)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line (without `arguments`: the process's own) and end the process with its exit code."""
    end_process(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code. Errors are told on standard error."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if (odd := next((text for text in given if not text.isprintable() and _is_no_text(text)), None)) is not None:
            raise Failure(f"the argument {odd!r} is not UTF-8 text")
        app(prog_name="sojourn", args=given)
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


def _is_no_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return True
    return False


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
    from engine.app.release import Refused
    from engine.authoring.project import AuthoringError
    from engine.delivery.channel import ChannelError
    from engine.delivery.deployment import NothingDeployed
    from engine.insight.finding import SeveralCustomers, UnknownCustomer, UnknownJourney, UnknownStep, Unnamed
    from engine.intake.commanded import CantMerge
    from engine.intake.erasing import CantErase
    from engine.intake.moving import NoSuchStep, OnItsWay
    from engine.intake.planning import PastSchedule
    from engine.observe.words import in_a_line
    from engine.settings.project import SettingsError
    from engine.store.clock import ScaleChanged
    from engine.store.schema import SchemaError
    from engine.temporal.client import Unreachable
    from engine.temporal.codec import CodecError

    match error:
        case OSError(errno=errno.ENAMETOOLONG):
            say(f"{str(error.filename)[:60]}… is too long for the name of a file")
            return Code.USAGE
        case AuthoringError() | SettingsError():
            show_problems(error.problems)
            return Code.NO if isinstance(error, AuthoringError) else Code.USAGE
        case UnknownCustomer() | SeveralCustomers() | UnknownJourney() | UnknownStep() | CantMerge() | Refused():
            say(str(error), error.hint)
            return Code.NO
        case NoSuchStep() | OnItsWay():
            say(str(error), error.hint)
            return Code.NO
        case NothingDeployed() | PastSchedule() | CantErase():
            say(str(error))
            return Code.NO
        case ChannelError() | ScaleChanged() | CodecError() | Unnamed():
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
