"""Rows of the store as commands show them: tables for people, plain values for machines. Moments are in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from sqlalchemy.engine import Row


def listing(*names: str, folds: Sequence[str] = (), right: Sequence[str] = ()) -> Table:
    """An empty table with these columns. Only those that are named in `folds` may take several lines; numbers stand `right`."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        justify: Any = "right" if name in right else "left"
        if name in folds:
            table.add_column(name, justify=justify, overflow="fold")
        else:
            table.add_column(name, justify=justify, no_wrap=True)
    return table


def when(moment: datetime | str | None) -> str:
    """For people, to the minute; "" for none. Text: as `iso` gave it."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def iso(moment: datetime | None) -> str | None:
    """For machines."""
    return None if moment is None else moment.astimezone(UTC).isoformat()


def plain(row: Row[Any]) -> dict[str, Any]:
    """A row for machines."""
    return {name: iso(value) if isinstance(value, datetime) else value for name, value in row._mapping.items()}
