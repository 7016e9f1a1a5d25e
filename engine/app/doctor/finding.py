"""What `sojourn doctor` finds, and what it looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from engine.settings.problems import Problem
from engine.settings.project import Settings

PATIENCE = 5.0
"""Seconds that whatever is asked gets to answer."""

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `says` what it is and means, in a line; `do`: what to do about it, "" where there is nothing to."""

    check: str
    status: Status
    says: str
    do: str = ""


class Texts(Protocol):
    """Asks DNS."""

    async def __call__(self, name: str) -> Sequence[str]:
        """The TXT records of `name`, none where there are none. Raises OSError where nobody answers."""
        ...


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at. `database_url` and `temporal_address` are None where nothing names or runs them; `unset`: variables that
    sojourn.yaml names and the environment doesn't have. `embedded`: whether the servers' data lie in `data`."""

    settings: Settings
    folder: Path
    data: Path
    database_url: str | None = field(repr=False)
    temporal_address: str | None
    texts: Texts
    unset: Sequence[Problem] = ()
    embedded: bool = False
    prefix: str = "sojourn"
    senders: Mapping[str, str] = field(default_factory=dict)
    """Channel → the address that policy.yaml sends from, where it isn't known from the deployment."""
