"""Both embedded servers with their data in one folder, or the servers that the operator names instead of them.

    data/postgres/   the database      data/temporal/   Temporal's file      data/logs/   what children say

The folder is ours; running as root, others may pass through it (mode 0711), because an unprivileged account runs PostgreSQL.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from engine.app.postgres import Postgres
from engine.app.temporal_server import TemporalServer


@dataclass(slots=True)
class Embedded:
    """What runs. `postgres` and `temporal` are None where the operator's own servers are used."""

    data: Path
    database_url: str = field(repr=False)
    temporal_address: str
    postgres: Postgres | None
    temporal: TemporalServer | None
    exact_timers: bool
    say: Callable[[str], None]

    @classmethod
    def start(
        cls,
        data: Path,
        *,
        database_url: str | None = None,
        temporal_address: str | None = None,
        ui_port: int | None = 0,
        exact_timers: bool = False,
        durable: bool = True,
        say: Callable[[str], None] = lambda _: None,
    ) -> Embedded:
        """Start, with data in the folder `data`, the servers that aren't given; returns when they answer.

        `ui_port`: of Temporal's web interface, 0 any, None without one. `exact_timers`: within 10 ms instead of a second, for a
        `time_scale`. `durable=False`: throw-away data, Temporal's in memory. `say` hears of what takes long. Raises
        ServerError; nothing runs then.
        """
        make_folder(data)
        database: Postgres | None = None
        temporal: TemporalServer | None = None
        try:
            if database_url is None:
                database = Postgres.start(data / "postgres", durable=durable, say=say)
                database_url = database.url
            if temporal_address is None:
                temporal = (
                    TemporalServer.start(data / "temporal", ui_port=ui_port, exact_timers=exact_timers)
                    if durable
                    else TemporalServer.start(None, ui_port=ui_port, exact_timers=exact_timers, log=data / "temporal.log")
                )
                temporal_address = temporal.address
        except BaseException:
            if database is not None:
                database.stop()
            raise
        return cls(data, database_url, temporal_address, database, temporal, exact_timers, say)

    def restart_dead(self) -> list[str]:
        """Start again, on the same port and data, whichever of our servers has died; their names. Raises ServerError."""
        names: list[str] = []
        if self.postgres is not None and not self.postgres.running():
            self.postgres.stop()
            self.postgres = Postgres.start(self.data / "postgres", self.postgres.port, say=self.say)
            names.append("PostgreSQL")
        if self.temporal is not None and not self.temporal.running():
            was = self.temporal
            was.stop()
            self.temporal = TemporalServer.start(
                self.data / "temporal", was.port, was.ui_port or None, exact_timers=self.exact_timers
            )
            names.append("Temporal")
        return names

    def stop(self) -> None:
        """Stop ours, Temporal first. PostgreSQL is stopped even when Temporal doesn't want to."""
        try:
            if self.temporal is not None:
                self.temporal.stop()
        finally:
            if self.postgres is not None:
                self.postgres.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def make_folder(data: Path) -> None:
    """Make the folder `data`, so that PostgreSQL's account may pass through it. One that holds other things stays as it is."""
    ours = not data.exists() or not any(data.iterdir()) or (data / "lock").exists()
    data.mkdir(parents=True, exist_ok=True)
    if ours and os.geteuid() == 0 and data.stat().st_uid == 0:
        data.chmod(stat.S_IMODE(data.stat().st_mode) | 0o011)
