"""The report of an import: a CSV beside the file with the number of each bad row, where in it, what is wrong, and how to mend it.

It holds nothing of the rows but the few characters that a problem quotes. It is written before the rows' transaction commits, and
what a crash left in it of rows that will be read again is taken out at the next start.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.app.import_file import Unreadable
from engine.app.import_rows import BadRow

COLUMNS = ("row", "column", "problem", "mend")


@dataclass(slots=True)
class Report:
    """`size`: bytes that stay, whatever becomes of the transaction. There is no file as long as no row is bad."""

    path: Path
    size: int = 0

    @classmethod
    @contextmanager
    def opened(cls, path: Path, before: int) -> Iterator[Report]:
        """The report, with what an earlier run wrote of rows whose number is less than `before`. Raises Unreadable where
        something else is there."""
        kept = [line for line in _read(path) if int(line[0]) < before]
        if not kept:
            path.unlink(missing_ok=True)
            yield cls(path)
            return
        text = _csv([COLUMNS, *kept])
        path.write_bytes(text)
        yield cls(path, len(text))

    def write(self, found: Sequence[tuple[int, BadRow]]) -> None:
        """Add these, in place of what was added since `keep`."""
        lines = [(str(number), bad.column, bad.problem, bad.mend) for number, bad in found]
        if not lines:
            if self.size:
                with self.path.open("r+b") as file:
                    file.truncate(self.size)
            else:
                self.path.unlink(missing_ok=True)
            return
        with self.path.open("r+b" if self.size else "wb") as file:
            file.truncate(self.size)
            file.seek(self.size)
            file.write(_csv(lines if self.size else [COLUMNS, *lines]))

    def keep(self) -> None:
        """What was written is true."""
        self.size = self.path.stat().st_size if self.path.exists() else 0


def _csv(lines: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode("utf-8", "replace")


def _read(path: Path) -> list[list[str]]:
    """The lines of a report that is there already. Raises Unreadable where it is no report."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error):
        lines = []
    whole = [line for line in lines[1:] if len(line) == len(COLUMNS) and line[0].isdigit()]  # a crash may have cut the last one
    if not lines or tuple(lines[0]) != COLUMNS:
        raise Unreadable(f"{path} is there already and is no report of an import", "move it away, or name another with --report")
    return whole
