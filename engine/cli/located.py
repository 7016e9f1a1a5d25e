"""Which project, which servers: a command's folder, its settings, and the running system whose servers it may use.

Settings and the environment win; where they say "embedded", the servers are those of `sojourn up` on the same data.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.terminal import Code, Failure

if TYPE_CHECKING:
    from engine.app.supervise import Running
    from engine.authoring.project import Compiled
    from engine.settings.problems import Problem
    from engine.settings.project import Settings

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
        raise Failure(
            NOTHING_RUNS.format(what="database"), NAME_ONE.format(variable="SOJOURN_DATABASE_URL"), code=Code.UNREACHABLE
        )

    @property
    def temporal_address(self) -> str:
        """host:port of Temporal. Raises Failure where there is none."""
        if self.settings.temporal_address is not None:
            return self.settings.temporal_address
        if self.running is not None:
            return self.running.temporal_address
        raise Failure(
            NOTHING_RUNS.format(what="Temporal server"),
            NAME_ONE.format(variable="SOJOURN_TEMPORAL_ADDRESS"),
            code=Code.UNREACHABLE,
        )


def locate(folder: Path, data: Path | None = None, *, lenient: bool = False) -> Located:
    """The project in `folder`. Raises SettingsError, or Failure where there is no such folder.

    `lenient`: secrets that aren't in the environment are warnings, for commands that use none of them."""
    from engine.app.supervise import find_running
    from engine.settings.project import load_settings

    if not folder.is_dir():
        raise Failure(f"there is no folder {folder}", "sojourn init makes a project")
    folder = folder.resolve()
    where = folder / ".sojourn" if data is None else data.resolve()
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
    """Channels of sojourn.yaml whose adapter isn't there or refuses its settings. Nothing is connected to."""
    from engine.delivery.channel import ChannelError, load_channel
    from engine.settings.problems import Problem
    from engine.settings.project import UNUSABLE_CHANNEL

    stand_in(located.folder)
    found = []
    for name, channel in located.settings.channels.items():
        try:
            load_channel(name, channel.config())
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
