"""The quarantine's rows as `quarantine list` and its like show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from engine.cli.shown import listing, when
from engine.cli.terminal import show_table

if TYPE_CHECKING:
    from sqlalchemy.engine import Row


def show_rows(found: Sequence[Row[Any]]) -> None:
    """A table of rows of `store.quarantine.listing`. Moments are UTC; only reasons are folded."""
    table = listing("number", "came (UTC)", "source", "what", "reason", folds=("reason",))
    for r in found:
        what = " ".join(word for word in (r.kind, r.name) if word)
        became = "" if r.released_at is None and r.dropped_at is None else f" ({state(r)})"
        reason = Text(f"{' '.join(r.reason.split())}{' (mended)' if r.mended else ''}{became}", "dim")
        table.add_row(Text(str(r.id)), Text(when(r.at)), Text(r.source), Text(what), reason)
    show_table(table)


def state(r: Row[Any]) -> str:
    """What became of it."""
    return "released" if r.released_at is not None else "dropped" if r.dropped_at is not None else "waits"
