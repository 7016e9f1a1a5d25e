"""Which project, which servers: a command's folder, its settings, the running system whose servers it may use, and work on its
database.

Settings and the environment win; where they say "embedded", the servers are those of `sojourn up` on the same data.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from engine.cli.terminal import Code, Failure

if TYPE_CHECKING:
    from engine.app.supervise import Running
    from engine.authoring.project import Compiled
    from engine.settings.problems import Problem
    from engine.settings.project import Settings
    from engine.store.database import Connection, Database

T = TypeVar("T")

NOTHING_RUNS = "`sojourn up` isn't running here, and no {what} is named"
UNSET = "SJ250"
"""The problem of a variable that the environment doesn't have."""
NAME_ONE = "run `sojourn up`, or set {variable}"


@dataclass(frozen=True, slots=True)
class Located:
    """A project and what runs of it. `problems`: warnings about sojourn.yaml."""

    folder: Path
    data: Path
    settings: Settings
    running: Running | None
    problems: tuple[Problem, ...] = ()

    @property
    def database_url(self) -> str:
        """The database's URL. Raises Failure where there is none."""
        if self.settings.database_url is not None:
            return self.settings.database_url
        if self.running is not None:
            return self.running.database_url
        raise self._nothing("database", "SOJOURN_DATABASE_URL")

    def on_database(self, act: Callable[[Database], Awaitable[T]], *, pool: int = 1) -> T:
        """What `act` gives on the database, over at most `pool` connections. Raises Failure where there is no database."""
        url = self.database_url

        async def whole() -> T:
            from engine.store.database import connect

            database = connect(url, pool=pool)
            try:
                return await act(database)
            finally:
                await database.dispose()

        return asyncio.run(whole())

    def in_transaction(self, act: Callable[[Connection], Awaitable[T]]) -> T:
        """What `act` gives in one transaction on the database. Raises Failure where there is no database."""

        async def whole(database: Database) -> T:
            from engine.store.database import transaction

            async with transaction(database) as c:
                return await act(c)

        return self.on_database(whole)

    @property
    def temporal_address(self) -> str:
        """host:port of Temporal. Raises Failure where there is none."""
        if self.settings.temporal_address is not None:
            return self.settings.temporal_address
        if self.running is not None:
            return self.running.temporal_address
        raise self._nothing("Temporal server", "SOJOURN_TEMPORAL_ADDRESS")

    def _nothing(self, what: str, variable: str) -> Failure:
        from engine.app.supervise import left_over

        if left := left_over(self.data):
            numbers = ", ".join(map(str, sorted(left)))
            said = f"the `sojourn up` that ran here was killed, and its processes go on without it: {numbers}"
            return Failure(said, "`sojourn up` takes their place", Code.UNREACHABLE)
        return Failure(NOTHING_RUNS.format(what=what), NAME_ONE.format(variable=variable), Code.UNREACHABLE)


def locate(folder: Path, data: Path | None = None, *, lenient: bool = False) -> Located:
    """The project in `folder`. Raises SettingsError, or Failure where there is no such folder.

    `lenient`: secrets that aren't in the environment are warnings, for commands that use none of them."""
    from engine.app.supervise import find_running
    from engine.settings.project import load_settings

    if not folder.is_dir():
        raise Failure(f"there is no folder {folder}", "`sojourn init DIR` makes a project")
    folder = folder.resolve()
    where = folder / ".sojourn" if data is None else data.resolve()
    if (file := next((path for path in (where, *where.parents) if path.is_file()), None)) is not None:
        raise Failure(f"{file} is a file", "--data names the folder in which `sojourn up` keeps its data")
    problems: tuple[Problem, ...] = ()
    if lenient:
        settings, problems = _without_secrets(folder)
    else:
        settings = load_settings(folder, os.environ)
    return Located(folder, where, settings, find_running(where), problems)


def compile_project(located: Located) -> Compiled:
    """The project compiled, with the warnings about sojourn.yaml first. Raises AuthoringError."""
    from engine.authoring.project import AuthoringError, load_project

    # Where a secret has only a name in its place, an adapter can't judge its settings.
    wrong_channels = [] if located.problems else channel_problems(located)
    try:
        compiled = load_project(located.folder, located.settings.channels)
    except AuthoringError as wrong:
        raise AuthoringError([*located.problems, *wrong_channels, *wrong.problems]) from None
    if wrong_channels:
        raise AuthoringError([*wrong_channels, *compiled.problems])
    return replace(compiled, problems=[*located.problems, *compiled.problems])


def channel_problems(located: Located) -> list[Problem]:
    """Channels and receivers of tasks in sojourn.yaml whose adapter isn't there or refuses its settings. None is connected to."""
    from engine.delivery.channel import ChannelError, load_channel
    from engine.settings.problems import Problem
    from engine.settings.project import UNUSABLE_CHANNEL

    stand_in(located.folder)
    found = []
    for name, config in located.settings.adapters().items():
        try:
            load_channel(name, config)
        except ChannelError as wrong:
            message = f"channel {name!r}: {wrong.what}"
            found.append(Problem("sojourn.yaml", 0, 0, UNUSABLE_CHANNEL, 0, message, wrong.mend))
    return found


def stand_in(folder: Path) -> None:
    """Adapters of the project's own are found in its folder, after everything else."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


class _Assumed(Mapping[str, str]):
    """The environment, in which every variable is set."""

    def __getitem__(self, name: str) -> str:
        return os.environ.get(name, f"<{name}>")

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]  # no second overload needed
        """Real where it is set; a default where one is written; else a name in its place."""
        found = os.environ.get(name)
        return found if found is not None or default is None else f"<{name}>"

    def __iter__(self) -> Iterator[str]:
        return iter(os.environ)

    def __len__(self) -> int:
        return len(os.environ)


def _without_secrets(folder: Path) -> tuple[Settings, tuple[Problem, ...]]:
    """The settings with a name in place of each variable that isn't set, which is a warning. Raises SettingsError for the
    rest."""
    from engine.settings.project import SettingsError, load_settings

    try:
        return load_settings(folder, os.environ), ()
    except SettingsError as wrong:
        unset = tuple(replace(p, level="warning") for p in wrong.problems if p.code == UNSET)
        if not unset:
            raise
    return load_settings(folder, _Assumed()), unset
